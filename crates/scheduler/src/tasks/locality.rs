//! How far from its data a task may run, and where it would best do.

use std::{sync::Arc, time::Duration};

use firesteel_common::ExecutorId;

/// Where a task would best run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    /// Executors that hold its cached partition.
    pub(crate) executors: Vec<ExecutorId>,
    /// Hosts that hold its input.
    pub(crate) hosts: Vec<Arc<str>>,
    /// Racks of those hosts, as far as they are known.
    pub(crate) racks: Vec<Arc<str>>,
}

/// How far from its data a task may run; the order is from near to far. A task without preference stands between those
/// that run on their host and those that do not, and is never waited with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Locality {
    Process,
    Node,
    NoPreference,
    Rack,
    Any,
}

impl Locality {
    /// The next one to try.
    pub(crate) fn farther(self) -> Option<Self> {
        Some(match self {
            Locality::Process => Locality::Node,
            Locality::Node => Locality::NoPreference,
            Locality::NoPreference => Locality::Rack,
            Locality::Rack => Locality::Any,
            Locality::Any => return None,
        })
    }
}

/// How long a task set holds slots back at each level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalityWaits {
    pub(crate) process: Duration,
    pub(crate) node: Duration,
    pub(crate) rack: Duration,
}
