//! What the driver's shell and the simulation ask. Nothing here changes what is decided.

use std::collections::BTreeMap;

use firesteel_common::{ExecutorId, JobId, RddId, StageId};
use firesteel_events::AppEvent;
use firesteel_protocol::DecommissionExecutor;

use super::DriverCore;
use crate::{
    places::{BlockPeer, Places, addresses},
    status::{JobStatus, StageStatus},
    tasks::executor::Executor,
};

impl DriverCore {
    /// Jobs that are not over.
    pub fn active_jobs(&self) -> usize {
        self.dag.active_jobs()
    }

    /// Jobs that are not over, ascending.
    pub fn active_job_ids(&self) -> Vec<JobId> {
        self.dag.active_job_ids()
    }

    /// Stages whose tasks are offered slots, ascending.
    pub fn active_stage_ids(&self) -> Vec<StageId> {
        self.dag.active_stage_ids()
    }

    /// Jobs of a group, or those in none, that run or are remembered, ascending.
    pub fn jobs_of_group(&self, group: Option<&str>) -> Vec<JobId> {
        self.dag.jobs_of_group(group)
    }

    /// How a job stands; None when it is not known, or any more.
    pub fn job_status(&self, job: JobId) -> Option<JobStatus> {
        self.dag.job_status(job)
    }

    /// How the latest attempt of a stage stands; None when none was started, or it is not known any more.
    pub fn stage_status(&self, stage: StageId) -> Option<StageStatus> {
        self.dag.stage_status(stage, &self.tasks)
    }

    /// Tells of what happens from now on, or not any more. `epoch` is the wall clock at `Tick::ZERO`, in milliseconds
    /// since 1970.
    pub fn listen(&mut self, on: bool, epoch: u64) {
        self.news.listen(on, epoch);
    }

    /// Whether what happens is told.
    pub fn is_listened_to(&self) -> bool {
        self.news.is_on()
    }

    /// What happened since this was last called, in order; nothing while nobody listens.
    pub fn take_news(&mut self) -> Vec<AppEvent> {
        self.news.take()
    }

    /// The executors that are known to hold a cached partition and have not been lost.
    pub fn holders_of(&self, rdd: RddId, partition: u32) -> Vec<BlockPeer> {
        self.places().holders_of(rdd, partition)
    }

    /// The executors that stay and can keep copies for `executor`, best first: those of other hosts come first, and which is the
    /// first turns with `turn`.
    pub fn peers_of(&self, executor: ExecutorId, turn: u32) -> Vec<BlockPeer> {
        self.places().peers_of(executor, turn)
    }

    /// The partitions of an RDD that are held somewhere.
    pub fn cached_partitions(&self, rdd: RddId) -> Vec<u32> {
        self.blocks.partitions(rdd)
    }

    /// The connected executors that leave.
    pub fn leaving(&self) -> Vec<ExecutorId> {
        self.tasks.executors().leaving()
    }

    /// Whether what an executor that leaves has written is out of reach from its end on: nobody else serves it, or who does
    /// leaves as well.
    pub fn outputs_leave_with(&self, executor: ExecutorId) -> bool {
        let known = self.tasks.executor(executor);
        self.outputs.service_of(executor).is_none() || known.is_some_and(Executor::leaves_with_worker)
    }

    /// What each executor that leaves is to do now.
    pub(super) fn orders(&self) -> BTreeMap<ExecutorId, DecommissionExecutor> {
        let orders = |executor: ExecutorId| DecommissionExecutor {
            peers: addresses(&self.peers_of(executor, executor.0)),
            map_outputs: self.outputs_leave_with(executor),
        };
        self.leaving().into_iter().map(|executor| (executor, orders(executor))).collect()
    }

    fn places(&self) -> Places<'_> {
        Places { executors: self.tasks.executors(), blocks: &self.blocks }
    }
}
