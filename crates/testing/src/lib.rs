//! What the tests of several crates share: waiting for what other threads and processes do, looking at processes, and
//! daemons that end with the test that started them, however it ends.
//!
//! Only tests depend on this crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod daemon;
mod process;
mod waiting;

pub use self::{
    daemon::{Daemon, without_settings},
    process::{Signal, alive, gone, kill, signal},
    waiting::{comes_true, until, until_async, wait_for},
};
