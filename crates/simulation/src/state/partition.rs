//! A network in two parts, and the machines that lie in them.

use std::collections::BTreeSet;

use firesteel_common::Tick;

/// A machine. What runs on the same one is never parted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Host {
    Master(usize),
    Worker(usize),
    Driver(usize),
}

/// A network in two parts.
pub(crate) struct Partition {
    pub(crate) part: BTreeSet<Host>,
    pub(crate) until: Tick,
}
