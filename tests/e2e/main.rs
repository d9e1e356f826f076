//! Whole clusters of real processes on this machine: a master, workers, executors, and this test as the driver. The
//! executors run this very test binary, because the library's entry hook is in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod abort;
mod attack;
mod bad_input;
mod cluster;
mod decommission;
mod examples;
mod faults;
mod hang;
mod jobs;
mod locality;
mod logs;
mod loss;
mod names;
mod private;
mod shuffle_service;
mod strangers;
mod web;
mod workers;
