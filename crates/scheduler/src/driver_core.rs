//! DriverCore: the driver's schedulers together. The driver's shell and the simulation call it, one event at a time;
//! it calls the parts, and the DAGScheduler's event families (`dag/`) are methods of it.

use firesteel_common::Tick;

use crate::{
    block_locations::BlockLocations,
    config::SchedulerConfig,
    dag::DagScheduler,
    effect::DriverEffect,
    error::JobError,
    event::DriverEvent,
    map_outputs::MapOutputTracker,
    tasks::{TaskScheduler, min_some, task_set::LocalityWaits},
};

/// DAGScheduler, TaskScheduler, MapOutputTracker and block locations of one Context.
#[derive(Debug)]
pub struct DriverCore {
    pub(crate) config: SchedulerConfig,
    pub(crate) dag: DagScheduler,
    pub(crate) tasks: TaskScheduler,
    pub(crate) outputs: MapOutputTracker,
    pub(crate) blocks: BlockLocations,
}

impl DriverCore {
    /// A driver without jobs and executors.
    pub fn new(config: SchedulerConfig) -> Self {
        let waits = LocalityWaits { process: config.locality_wait_process, node: config.locality_wait_node };
        DriverCore {
            dag: DagScheduler::default(),
            tasks: TaskScheduler::new(waits, config.starvation_timeout),
            outputs: MapOutputTracker::default(),
            blocks: BlockLocations::default(),
            config,
        }
    }

    /// Takes one event at the time `now` and appends what is to be done to `out`, in order.
    pub fn handle(&mut self, now: Tick, event: DriverEvent, out: &mut Vec<DriverEffect>) {
        self.handle_all(now, [event], out);
    }

    /// Takes events that have all happened by `now`, in order; executors' slots are offered once after them.
    pub fn handle_all(
        &mut self,
        now: Tick,
        events: impl IntoIterator<Item = DriverEvent>,
        out: &mut Vec<DriverEffect>,
    ) {
        for event in events {
            self.take(now, event, out);
        }
        self.remove_overdue(now, out);
        self.resubmit_due(now, out);
        self.tasks.offer(now, out);
    }

    fn take(&mut self, now: Tick, event: DriverEvent, out: &mut Vec<DriverEffect>) {
        match event {
            DriverEvent::SubmitJob { job, graph, partitions } => self.submit_job(now, job, graph, partitions, out),
            DriverEvent::CancelJob { job, reason } => self.cancel_job(job, reason, out),
            DriverEvent::ExecutorRegistered { executor, host, block_address, cores } => {
                self.executor_registered(executor, &host, &block_address, cores, out);
            }
            DriverEvent::ExecutorDisconnected { executor } => self.executor_disconnected(now, executor),
            DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost: _ } => {
                self.executor_removed(now, executor, &message, by_application, out);
            }
            DriverEvent::TasksUpdated { executor, updates } => {
                for update in updates {
                    self.task_updated(now, executor, update, out);
                }
            }
            DriverEvent::ResultFetched { task, result } => self.result_fetched(now, task, result, out),
            DriverEvent::RddUnpersisted { rdd } => self.rdd_unpersisted(rdd, out),
            DriverEvent::ShuffleRemoved { shuffle } => self.shuffle_removed(shuffle, out),
            DriverEvent::ClusterFailed { message } => self.close(JobError::NoExecutors { message }, out),
            DriverEvent::Stop => self.close(JobError::Stopped, out),
            DriverEvent::Wake => {}
        }
    }

    /// When `handle` must be called at the latest, with [`DriverEvent::Wake`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Tick> {
        min_some(self.tasks.next_deadline(), self.next_resubmission())
    }

    /// Jobs that are not over.
    pub fn active_jobs(&self) -> usize {
        self.dag.jobs.len()
    }
}
