//! What the DAGScheduler's files work with while an event is handled.

use super::{dag_scheduler::DagScheduler, dropping::Dropping, kept::Kept, telling::Telling};
use crate::{
    barrier::Barriers, block_locations::BlockLocations, config::SchedulerConfig, map_outputs::MapOutputTracker,
    news::News, replication::Replication, tasks::task_scheduler::TaskScheduler,
};

/// The DAGScheduler's own tables, and the parts of the driver's schedulers that it tells what to do, all borrowed for one
/// event. Of those it sees only what their methods show.
#[derive(Debug)]
pub(crate) struct DagHandler<'a> {
    pub(crate) config: &'a SchedulerConfig,
    pub(crate) dag: &'a mut DagScheduler,
    pub(crate) tasks: &'a mut TaskScheduler,
    pub(crate) outputs: &'a mut MapOutputTracker,
    pub(crate) blocks: &'a mut BlockLocations,
    pub(crate) barriers: &'a mut Barriers,
    pub(crate) replication: &'a mut Replication,
    pub(crate) news: &'a mut News,
}

impl DagHandler<'_> {
    /// What listeners are told.
    #[inline]
    pub(crate) fn telling(&mut self) -> Telling<'_> {
        Telling { dag: self.dag, tasks: self.tasks, news: self.news }
    }

    /// The books of kept partitions.
    #[inline]
    pub(crate) fn kept(&mut self) -> Kept<'_> {
        Kept { dag: self.dag, tasks: self.tasks, blocks: self.blocks, news: self.news }
    }

    /// What is let go.
    #[inline]
    pub(crate) fn dropping(&mut self) -> Dropping<'_> {
        Dropping {
            dag: self.dag,
            tasks: self.tasks,
            outputs: self.outputs,
            blocks: self.blocks,
            replication: self.replication,
        }
    }
}
