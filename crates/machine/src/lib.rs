//! State machines without I/O, and what drives them in real time.
//!
//! ```text
//!  machine   trait Machine: an event in, effects out, a deadline; no clock, socket or thread
//!  driven    a machine with a clock                       shell  the one loop of those that wait for events on a runtime
//!  question  what others may ask of it while it is served
//! ```
//!
//! Whatever decides is a [`Machine`], which the simulation plays on a virtual clock and a [`Shell`] serves on the real one.

mod driven;
mod machine;
mod question;
mod shell;

pub use driven::Driven;
pub use machine::Machine;
pub use question::{Asker, Question, Questions, questions};
pub use shell::{Shell, serve, sleep_until, step};
