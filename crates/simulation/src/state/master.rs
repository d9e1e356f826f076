//! What a master is: the production [`Master`] while its process runs.

use firesteel_common::Tick;
use firesteel_machine::Machine;
use firesteel_master::Master;

#[derive(Default)]
pub(crate) struct MasterNode {
    pub(crate) up: bool,
    /// While its process runs.
    pub(crate) machine: Option<Master>,
    /// When its process began, the machine's tick 0.
    pub(crate) began: Tick,
    /// When it was elected last.
    pub(crate) elected: Tick,
}

impl MasterNode {
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        Some(self.began + self.machine.as_ref()?.next_deadline()?.since(Tick::ZERO))
    }
}
