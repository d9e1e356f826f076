//! DriverCore: the driver's schedulers together. The driver's shell and the simulation call it, one event at a time; it owns
//! the parts, which do not know it, and lends to each what it needs.
//!
//! | file | what |
//! |---|---|
//! | `mod` | events go to the part that they are for; what is due is done after them |
//! | `allocating` | dynamic allocation is told of the load |
//! | `questions` | what the shell may ask |
//! | `invariants` | what must hold |

mod allocating;
mod invariants;
mod questions;

use firesteel_common::{ExecutorId, Tick};
use firesteel_events::AppEvent;
use firesteel_machine::Machine;
use firesteel_protocol::ToDriver;

use crate::{
    allocation::ExecutorAllocation,
    barrier::Barriers,
    block_locations::BlockLocations,
    config::SchedulerConfig,
    dag::{dag_scheduler::DagScheduler, handler::DagHandler, job::WantedJob},
    deadline::min_some,
    effect::DriverEffect,
    error::JobError,
    event::DriverEvent,
    farewells::Farewells,
    map_outputs::MapOutputTracker,
    news::News,
    places::Places,
    replication::Replication,
    tasks::task_scheduler::TaskScheduler,
};

/// DAGScheduler, TaskScheduler, MapOutputTracker and block locations of one Context.
#[derive(Debug)]
pub struct DriverCore {
    config: SchedulerConfig,
    dag: DagScheduler,
    tasks: TaskScheduler,
    outputs: MapOutputTracker,
    blocks: BlockLocations,
    barriers: Barriers,
    /// What happens, for those who listen.
    news: News,
    farewells: Farewells,
    replication: Replication,
    allocation: Option<ExecutorAllocation>,
}

impl DriverCore {
    /// A driver without jobs and executors.
    pub fn new(config: SchedulerConfig) -> Self {
        DriverCore {
            dag: DagScheduler::default(),
            tasks: TaskScheduler::new(&config),
            outputs: MapOutputTracker::default(),
            blocks: BlockLocations::default(),
            barriers: Barriers::default(),
            news: News::default(),
            farewells: Farewells::default(),
            replication: Replication::new(config.proactive_replication),
            allocation: config.allocation.clone().map(ExecutorAllocation::new),
            config,
        }
    }

    /// Takes events that have all happened by `now`, in order; executors' slots are offered once after them.
    pub fn handle_all(
        &mut self,
        now: Tick,
        events: impl IntoIterator<Item = DriverEvent>,
        out: &mut Vec<DriverEffect>,
    ) {
        self.news.at(now);
        for event in events {
            self.take(now, event, out);
        }
        let mut dag = self.dag();
        dag.take_due(now, out);
        let before = out.len();
        dag.tasks.offer(now, out);
        dag.after_offers(now, before, out);
        self.allocate(now, out);
        if self.tasks.take_changed() {
            self.farewells.tell(self.orders(), out);
            let places = Places { executors: self.tasks.executors(), blocks: &self.blocks };
            self.replication.copy_again(places, out);
        }
    }

    /// The DAGScheduler with all that it works with.
    #[inline]
    fn dag(&mut self) -> DagHandler<'_> {
        DagHandler {
            config: &self.config,
            dag: &mut self.dag,
            tasks: &mut self.tasks,
            outputs: &mut self.outputs,
            blocks: &mut self.blocks,
            barriers: &mut self.barriers,
            replication: &mut self.replication,
            news: &mut self.news,
        }
    }

    fn take(&mut self, now: Tick, event: DriverEvent, out: &mut Vec<DriverEffect>) {
        match event {
            DriverEvent::SubmitJob { job, site, graph, partitions, properties, repeatable } => {
                self.dag().submit_job(now, job, WantedJob { site, graph, partitions, properties, repeatable }, out);
            }
            DriverEvent::CancelJob { job, reason } => self.dag().cancel_job(job, reason, out),
            DriverEvent::CancelJobs { which, reason } => self.dag().cancel_jobs(&which, &reason, out),
            DriverEvent::CancelStage { stage, reason } => {
                self.dag().abort_stage(stage, &JobError::Cancelled { reason }, out);
            }
            DriverEvent::Heard { executor, message } => self.hear(now, executor, message, out),
            DriverEvent::ExecutorDisconnected { executor } => self.dag().executor_disconnected(now, executor),
            DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost } => {
                self.dag().executor_removed(now, executor, &message, by_application, worker_lost, out);
            }
            DriverEvent::ExecutorDecommissioning { executor, worker_leaves, .. } => {
                self.dag().executor_decommissioning(now, executor, worker_leaves, out);
            }
            DriverEvent::WorkerRemoved { executors, message } => {
                self.dag().worker_removed(now, &executors, &message, out)
            }
            DriverEvent::ResultFetched { task, result } => self.dag().result_fetched(now, task, result, out),
            DriverEvent::RddUnpersisted { rdd } => {
                self.news.say(|_| AppEvent::Unpersisted { rdd });
                self.dag().dropping().rdd_unpersisted(rdd, out);
            }
            DriverEvent::RddRemoved { rdd } => {
                self.news.say(|_| AppEvent::Unpersisted { rdd });
                self.dag().dropping().rdd_removed(rdd, out);
            }
            DriverEvent::ShuffleRemoved { shuffle } => self.dag().dropping().shuffle_removed(shuffle, out),
            DriverEvent::ClusterFailed { message } => self.dag().close(JobError::NoExecutors { message }, out),
            DriverEvent::Stop => self.dag().close(JobError::Stopped, out),
            DriverEvent::Wake => {}
        }
    }

    /// An executor said something.
    fn hear(&mut self, now: Tick, executor: ExecutorId, message: ToDriver, out: &mut Vec<DriverEffect>) {
        match message {
            ToDriver::RegisterExecutor(register) => {
                self.dag().executor_registered(executor, &register, out);
                self.dag().decommission_early(now, executor, out);
                self.dag().check_held(now, true, out);
            }
            ToDriver::StatusUpdates(updates) => {
                for update in updates {
                    self.dag().task_updated(now, executor, update, out);
                }
            }
            ToDriver::BlockUpdates(updates) => {
                self.replication.heard(executor, &updates);
                self.dag().kept().updated(executor, None, &updates);
            }
            ToDriver::MapOutputMoved(moved) => self.dag().map_output_moved(executor, moved, out),
            ToDriver::BarrierSync(sync) => self.dag().barrier_sync(now, executor, sync, out),
            // That it is not silent is seen where its messages arrive.
            ToDriver::Heartbeat => {}
        }
    }
}

impl Machine for DriverCore {
    type Event = DriverEvent;
    type Effect = DriverEffect;

    fn handle(&mut self, now: Tick, event: DriverEvent, out: &mut Vec<DriverEffect>) {
        self.handle_all(now, [event], out);
    }

    fn next_deadline(&self) -> Option<Tick> {
        let allocation = self.allocation.as_ref().and_then(ExecutorAllocation::next_deadline);
        let barriers = min_some(self.barriers.next_deadline(), self.dag.next_deadline(&self.config));
        min_some(min_some(self.tasks.next_deadline(), allocation), barriers)
    }

    fn wake() -> DriverEvent {
        DriverEvent::Wake
    }

    /// Takes time in proportion to all that is known.
    fn check_invariants(&self) -> Result<(), String> {
        self.check_parts()
    }
}
