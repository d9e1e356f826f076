//! The driver's event loop: one thread that feeds [`DriverCore`] and carries out what it decides.
//!
//! ```text
//!  actions (any thread) ──Message::Submit──▶ ┌────────────┐ ──LaunchTasks──▶ Link (in-process executor, or its stream)
//!  executors ──Message::Connected, Heard────▶ │ event loop │
//!  backend (master's news) ──Message::Event▶ │ DriverCore │ ──JobEvent──▶ the action's channel
//!  result fetcher ──ResultFetched──────────▶ └────────────┘ ──FetchResult──▶ result fetcher
//! ```
//!
//! The loop's inbox has no length that it is held to, since nobody who fills it can run ahead of it. What executors say answers
//! what the loop has sent: a word when a task begins and one when it ends, for no more tasks than it has launched and not heard of
//! yet, with results up to `spark.task.maxDirectResultSize` (larger ones are named and fetched); a word for each kept partition
//! that a task stores or a leaving executor moves. A thread that calls an action waits for its end, and one that starts actions
//! without waiting holds their futures itself. Heartbeats end at the streams.

mod cleaner;
mod copies;
mod decommission;
mod effects;
mod graph;
mod listening;
mod results;
mod services;
mod stages;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use firesteel_common::{BroadcastId, CallSite, ExecutorId, JobId, ShuffleId, Tick};
use firesteel_events::{AppEvent, Bus};
use firesteel_machine::Machine;
use firesteel_protocol::{RegisterExecutor, ToDriver, ToExecutor};
use firesteel_rdd::{
    node::{AnyRdd, AnyShuffle, EncodedOp},
    runner::{ContextParts, Job, JobEvent},
};
use firesteel_scheduler::{DriverCore, DriverEffect, DriverEvent, JobProperties, SchedulerConfig};
use firesteel_storage::BlockManager;
use firesteel_task::{Accumulators, BroadcastSettings, BroadcastSource, BroadcastValues};

pub use self::listening::since_1970;
use self::{cleaner::EventLoopCleaner, results::ResultFetcher, services::ShuffleServices, stages::Stages};

/// After so long without a job executors are told to drop what they hold for stages that ended. Otherwise they hear of it
/// with their next tasks, which costs no message of its own.
const IDLE: Duration = Duration::from_secs(1);

/// So many more messages are handled together with the first, if they are there.
const MOST_AT_ONCE: usize = 64;

/// The way to one executor.
pub trait Link: Send {
    /// Sends a message without waiting. On an error the executor counts as lost: the backend will say so.
    fn send(&self, message: ToExecutor) -> Result<(), String>;
}

/// What the event loop is told.
pub enum Message {
    /// An action was called.
    Submit {
        /// Its number.
        id: JobId,
        /// What to run.
        job: Job,
        /// Where its news goes.
        events: mpsc::Sender<JobEvent>,
        /// What the submitting thread said of it.
        properties: JobProperties,
    },
    /// An executor registered.
    Connected {
        /// Who it is.
        register: Box<RegisterExecutor>,
        /// The way to it.
        link: Box<dyn Link>,
    },
    /// A registered executor said something.
    Heard {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// The message.
        message: ToDriver,
    },
    /// Anything else that the schedulers should know.
    Event(DriverEvent),
    /// The application has started: what listeners hear first.
    Started(Vec<AppEvent>),
    /// Shows the schedulers to somebody, with the wall clock at their `Tick::ZERO` in milliseconds since 1970.
    Look(Look),
    /// Says which executors are connected.
    Executors {
        /// To whom.
        reply: mpsc::Sender<Vec<ExecutorId>>,
    },
    /// Has executors leave.
    Decommission {
        /// The executors' numbers.
        executors: Vec<ExecutorId>,
        /// Why, for the log.
        reason: String,
        /// Learns which of them are connected, and so will.
        reply: mpsc::Sender<Vec<ExecutorId>>,
    },
    /// A worker is to leave, and its executors with it: all at once, so that none of them hands over to another.
    WorkerLeaves {
        /// Those that are to leave.
        executors: Vec<ExecutorId>,
        /// Why, for the log.
        message: String,
    },
    /// Has executors drop what they hold of a broadcast value.
    DropBroadcast {
        /// The broadcast variable's number.
        broadcast: BroadcastId,
        /// The driver drops its pieces, too.
        everywhere: bool,
    },
    /// Fail what runs, tell the executors to stop, end the loop.
    Stop,
}

/// How the driver's blocks are found by executors.
#[derive(Clone)]
pub struct DriverBlocks {
    /// Stage data and partitions that are too large for a message.
    pub manager: Arc<BlockManager>,
    /// host:port of the driver's block server; `None` where executors are in this process, and nothing is too large.
    pub address: Option<String>,
    /// Has a shuffle service remove the files of a shuffle.
    pub remove_shuffle: RemoveShuffle,
    /// The broadcast values of this process.
    pub broadcasts: Arc<BroadcastValues>,
}

/// Has the shuffle service at the given address remove the files of a shuffle.
pub type RemoveShuffle = Arc<dyn Fn(&str, ShuffleId) -> Result<(), String> + Send + Sync>;

/// Fetches a large result from the executor's block server at the given address.
pub type FetchBlock = Arc<dyn Fn(&str, &str) -> Result<bytes::Bytes, String> + Send + Sync>;

/// A change of the application's executors.
pub enum ExecutorRequest {
    /// So many in all.
    Total(u32),
    /// This one ends by itself, which is no loss.
    Leaving(ExecutorId),
    /// End this one, which has no tasks, or has them for too long.
    Retire {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// The reason, in words for people.
        reason: String,
    },
}

/// Takes requests to the master without waiting.
pub type RequestExecutors = Box<dyn Fn(ExecutorRequest) + Send>;

/// The running event loop.
pub struct Driver {
    /// Where its messages go; an error means that it has ended.
    pub messages: mpsc::Sender<Message>,
    /// The application's.
    pub accumulators: Arc<Accumulators>,
    blocks: DriverBlocks,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts the thread.
    ///
    /// `requests` is `None` where the executors are what they are.
    pub fn start(
        config: SchedulerConfig,
        blocks: DriverBlocks,
        fetch: FetchBlock,
        requests: Option<RequestExecutors>,
        bus: Bus,
    ) -> std::io::Result<Driver> {
        let (messages, inbox) = mpsc::channel();
        let accumulators = Arc::<Accumulators>::default();
        let fetcher = ResultFetcher::new(fetch, messages.clone());
        let state = EventLoop {
            core: DriverCore::new(config),
            origin: Instant::now(),
            epoch: since_1970(),
            bus,
            accumulators: accumulators.clone(),
            held_back: Some(Vec::new()),
            looks: Vec::new(),
            jobs: BTreeMap::new(),
            links: BTreeMap::new(),
            services: ShuffleServices::new(blocks.remove_shuffle.clone()),
            stages: Stages::new(blocks.clone()),
            blocks: blocks.clone(),
            pending: VecDeque::new(),
            fetcher,
            requests,
            blocks_held: false,
        };
        let thread = thread::Builder::new().name("firesteel-driver".into()).spawn(move || state.run(inbox))?;
        Ok(Driver { messages, accumulators, blocks, thread: Some(thread) })
    }

    /// What RDDs and broadcast variables use of the driver.
    pub fn context_parts(&self, settings: BroadcastSettings, clean_checkpoints: bool) -> ContextParts {
        let DriverBlocks { manager: blocks, address, broadcasts: values, .. } = self.blocks.clone();
        ContextParts {
            cleaner: Arc::new(EventLoopCleaner(self.messages.clone())),
            broadcasts: BroadcastSource { settings, blocks, address, values },
            clean_checkpoints,
        }
    }

    /// Ends the loop and waits for it. Running jobs fail.
    pub fn stop(&mut self) {
        // An error means that the loop has ended already.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the driver's event loop panicked");
        }
    }
}

/// What looks at the schedulers.
type Look = Box<dyn FnOnce(&DriverCore, u64) + Send>;

/// A job that runs.
struct RunningJob {
    root: Arc<dyn AnyRdd>,
    output: EncodedOp,
    shuffles: BTreeMap<ShuffleId, Arc<dyn AnyShuffle>>,
    events: mpsc::Sender<JobEvent>,
    site: CallSite,
}

struct EventLoop {
    core: DriverCore,
    origin: Instant,
    /// The wall clock at `origin`, in milliseconds since 1970.
    epoch: u64,
    bus: Bus,
    accumulators: Arc<Accumulators>,
    /// What happened before the application was said to have started.
    held_back: Option<Vec<AppEvent>>,
    /// Who wants to see the schedulers after what has come is handled.
    looks: Vec<Look>,
    jobs: BTreeMap<JobId, RunningJob>,
    links: BTreeMap<ExecutorId, Box<dyn Link>>,
    stages: Stages,
    services: ShuffleServices,
    blocks: DriverBlocks,
    /// Events that carrying out effects gave rise to; handled before the next message.
    pending: VecDeque<DriverEvent>,
    fetcher: ResultFetcher,
    requests: Option<RequestExecutors>,
    /// Executors hold result blocks, which go when they hear of the end of the stage.
    blocks_held: bool,
}

impl EventLoop {
    fn run(mut self, inbox: mpsc::Receiver<Message>) {
        let _logging = crate::logging::on_this_thread();
        let mut effects = Vec::new();
        loop {
            let deadline = self.core.next_deadline().map(|deadline| deadline.since(self.now()));
            let idle = (self.jobs.is_empty() && self.stages.any_ended()).then_some(IDLE);
            let message = match deadline.into_iter().chain(idle).min() {
                None => match inbox.recv() {
                    Ok(message) => Some(message),
                    Err(_) => break,
                },
                Some(wait) => match inbox.recv_timeout(wait) {
                    Ok(message) => Some(message),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                },
            };
            if message.is_none() && idle.is_some() {
                self.tell_ended();
            }
            let mut stop = false;
            let mut events = Vec::new();
            if message.is_none() {
                events.push(DriverEvent::Wake);
            }
            // With all that lies here already, slots are offered once.
            for message in message.into_iter().chain(inbox.try_iter().take(MOST_AT_ONCE)) {
                stop = matches!(message, Message::Stop);
                self.take(message, &mut events);
                if stop {
                    break;
                }
            }
            self.handle(events, &mut effects);
            self.carry_out(&mut effects);
            // Whoever asks sees what was said before.
            for look in std::mem::take(&mut self.looks) {
                look(&self.core, self.epoch);
            }
            if stop {
                break;
            }
        }
        for link in self.links.values() {
            // One that cannot be told has lost its stream, which ends it as well.
            let _ = link.send(ToExecutor::StopExecutor);
        }
    }

    fn now(&self) -> Tick {
        Tick::ZERO + Instant::now().saturating_duration_since(self.origin).max(Duration::from_nanos(1))
    }

    /// Takes a message, and appends what the schedulers are told of it.
    fn take(&mut self, message: Message, events: &mut Vec<DriverEvent>) {
        events.push(match message {
            Message::Submit { id, job, events, properties } => {
                let (graph, shuffles) = graph::of(&job.root);
                let Job { root, output, partitions, site, repeatable } = job;
                self.jobs.insert(id, RunningJob { root, output, shuffles, events, site });
                DriverEvent::SubmitJob { job: id, site, graph, partitions, properties, repeatable }
            }
            Message::Connected { register, link } => {
                let RegisterExecutor { executor, host, block_address, cores, .. } = &*register;
                tracing::info!(executor_id = executor.0, host, cores, "executor registered");
                self.blocks.manager.broadcasts().executor_joined(*executor, block_address);
                self.links.insert(*executor, link);
                self.stages.add_files(&register);
                register.shuffle_service.iter().for_each(|address| self.services.add(address));
                DriverEvent::Heard { executor: *executor, message: ToDriver::RegisterExecutor(register) }
            }
            Message::Heard { executor, message } => DriverEvent::Heard { executor, message },
            Message::Started(first) => return self.tell_started(first),
            Message::Look(look) => return self.looks.push(look),
            Message::Executors { reply } => {
                // Whoever asked may have given up.
                let _ = reply.send(self.links.keys().copied().collect());
                return;
            }
            Message::Decommission { executors, reason, reply } => {
                return self.decommission(executors, &reason, &reply, events);
            }
            Message::WorkerLeaves { executors, message } => {
                let leaves = |executor| {
                    let message = message.clone();
                    DriverEvent::ExecutorDecommissioning { executor, message, worker_leaves: true }
                };
                return events.extend(executors.into_iter().map(leaves));
            }
            Message::Event(event) => {
                match &event {
                    DriverEvent::ExecutorDisconnected { executor } | DriverEvent::ExecutorRemoved { executor, .. } => {
                        self.links.remove(executor);
                        self.stages.forget_executor(*executor);
                        self.blocks.manager.broadcasts().executor_left(*executor);
                    }
                    _ => {}
                }
                event
            }
            Message::DropBroadcast { broadcast, everywhere } => {
                return self.drop_broadcast(broadcast, everywhere);
            }
            Message::Stop => DriverEvent::Stop,
        });
    }

    fn carry_out(&mut self, effects: &mut Vec<DriverEffect>) {
        loop {
            for effect in effects.drain(..) {
                self.carry_out_one(effect);
            }
            match self.pending.pop_front() {
                Some(event) => self.handle(vec![event], effects),
                None => return,
            }
        }
    }
}
