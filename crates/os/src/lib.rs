//! What the operating system does for a cluster: processes that end with their owner, descriptors handed to a child,
//! and facts about this host. One of the two crates that may hold unsafe code.
//!
//! ```text
//!  lifeline   a child ends when its owner does, even by kill -9          process  start, wait for, kill process groups
//!  memfd      bytes handed to a child without a file                     tail     the end of a log
//!  memory_record  what a process notes of its memory, for who outlives it
//!  elf        can this host run that file?                               host     boot id, name, address, cores, memory
//!  descriptors  room for open files                            orphans  what children leave running ends
//! ```
//!
//! Callers: the worker (starts executors), the executor (lifeline, descriptors), the bootstrap (elf), `local-cluster`. Linux only.

pub mod clock;
pub mod descriptors;
pub mod elf;
pub mod host;
pub mod lifeline;
pub mod memfd;
pub mod memory_record;
pub mod orphans;
pub mod process;
pub mod tail;

pub use lifeline::Lifeline;
pub use process::{Child, ProcessEnd, kill_group, spawn, terminate_group};
pub use tail::{STDERR_TAIL_BYTES, tail};
