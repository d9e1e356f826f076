//! What is done once after all events that have come together: first what is due, so that slots are offered to all that may
//! have them, and after the offers what nobody can run.

use firesteel_common::Tick;

use super::handler::DagHandler;
use crate::effect::DriverEffect;

impl DagHandler<'_> {
    /// Does what the time has come for.
    pub(crate) fn take_due(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        self.kill_leaving(now, out);
        self.remove_overdue(now, out);
        self.dropping().release_due(out);
        self.resubmit_due(now, out);
        self.barriers.expire(now, self.config.barrier_sync_timeout, out);
        self.check_held(now, false, out);
        self.expire_exclusion(now);
    }

    /// Slots were offered, by which the effects from number `before` on launch tasks: tells of these, and fails what can run
    /// nowhere.
    pub(crate) fn after_offers(&mut self, now: Tick, before: usize, out: &mut Vec<DriverEffect>) {
        self.telling().launched(out.get(before..).unwrap_or_default());
        self.fail_unschedulable(now, out);
        self.fail_short_barriers(now, out);
    }
}
