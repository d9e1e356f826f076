//! The settings of an application.

use firesteel_scheduler::SchedulerConfig;

/// An application's settings.
pub(crate) struct Features {
    pub(crate) config: SchedulerConfig,
    /// Its shuffle files are served by the workers, also after the end of the executors that wrote them.
    pub(crate) shuffle_service: bool,
    /// How likely an RDD begins a barrier stage.
    pub(crate) barrier_percent: u64,
}

impl Features {
    /// For the story.
    pub(crate) fn described(&self) -> String {
        let c = &self.config;
        let all = [
            (self.shuffle_service, "shuffle service"),
            (c.allocation.is_some(), "dynamic allocation"),
            (self.barrier_percent > 0, "barriers"),
            (c.exclusion.is_some(), "exclusion"),
            (c.speculation.is_some(), "speculation"),
        ];
        all.iter().filter(|(on, _)| *on).map(|(_, name)| format!(", {name}")).collect()
    }
}
