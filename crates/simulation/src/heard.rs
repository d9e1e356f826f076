//! What a driver's schedulers tell of what happens is heard, and held against what can be.

use firesteel_common::{ExecutorId, TaskFailure};
use firesteel_events::{AppEvent, TaskEnd};

use crate::cluster::Cluster;

/// An executor that is gone, and with it its tasks.
fn gone(event: &AppEvent) -> Option<ExecutorId> {
    match event {
        AppEvent::ExecutorRemoved { executor, .. } => Some(*executor),
        _ => None,
    }
}

impl Cluster {
    /// Hears what a driver's schedulers tell.
    pub(crate) fn hear(&mut self, d: usize) {
        let events = self.drivers[d].core.take_news();
        let heard = &mut self.drivers[d].heard;
        let mut wrong: Vec<String> = events.iter().filter_map(|event| heard.take(event).err()).collect();
        for gone in events.iter().filter_map(gone) {
            heard.executors.remove(&gone);
            let left = heard.tasks.iter().find(|(_, (_, executor))| *executor == gone);
            wrong.extend(left.map(|(task, _)| format!("{task} runs on {gone}, which is gone")));
        }
        let lost = |event: &&AppEvent| {
            matches!(event, AppEvent::TaskEnd { end: TaskEnd::Failed(TaskFailure::ExecutorLost { .. }), .. })
        };
        self.counts.heard += events.len();
        self.counts.heard_lost += events.iter().filter(lost).count();
        wrong.into_iter().for_each(|w| self.violated(format!("driver {d} tells that {w}")));
    }
}
