//! Stages whose tasks are closures of the test, and an executor to run them.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

pub mod cluster;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use firesteel_closure::{AnyNode, CodeRef, DecodeError, Func, Op, Table, TableNode, describe};
use firesteel_common::{ExecutorId, StageAttempt, StageId, TaskFailure, TaskId};
use firesteel_executor::{DecommissionSettings, DriverLink, Executor, ExecutorConfig, ExecutorSettings};
use firesteel_protocol::{
    BlockAddress, DecommissionExecutor, LaunchTasks, Payload, StageBinary, TaskDescription, TaskOutcome, TaskUpdate,
    ToDriver, ToExecutor,
};
use firesteel_rpc::{Role, Transport, proto::executor::StageData};
use firesteel_shuffle::{ShuffleConfig, ShuffleManager};
use firesteel_storage::{BlockClient, BlockManager, MemoryConfig, MemoryManager};
use firesteel_task::{
    BroadcastValues, ResultBounds, StageTask, StageTaskNode, TaskContext, TaskError, TaskOutput, TaskServices,
};
use prost::Message as _;

type Body = dyn Fn(u32, &Arc<TaskContext>) -> Result<TaskOutput, TaskError> + Send + Sync;

/// A kind of task, with how often its stage was decoded and dropped.
#[derive(Clone)]
pub struct Kind {
    body: Arc<Body>,
    pub decoded: Arc<AtomicU32>,
    pub dropped: Arc<AtomicU32>,
}

static KINDS: Mutex<BTreeMap<String, Kind>> = Mutex::new(BTreeMap::new());

/// Makes `name` a kind of task of this process.
pub fn kind(
    name: &str,
    body: impl Fn(u32, &Arc<TaskContext>) -> Result<TaskOutput, TaskError> + Send + Sync + 'static,
) -> Kind {
    let kind = Kind { body: Arc::new(body), decoded: Arc::default(), dropped: Arc::default() };
    KINDS.lock().unwrap().insert(name.to_owned(), kind.clone());
    kind
}

struct Fake(Kind);

impl StageTask for Fake {
    fn run(&self, partition: u32, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError> {
        (self.0.body)(partition, ctx)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Op for Fake {
    type Func = ();
    fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
        let name: String = firesteel_common::codec::decode(env)?;
        let kind = KINDS.lock().unwrap().get(&name).cloned();
        let kind = kind.ok_or_else(|| DecodeError::Custom(format!("no kind {name}")))?;
        kind.decoded.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(StageTaskNode(Arc::new(Fake(kind)))))
    }
}

/// The encoded data of a stage whose tasks are of the kind `name`.
pub fn stage_data(name: &str) -> Bytes {
    let mut table = Table::default();
    let code = CodeRef::of(describe::<Fake>(&Func::new(()))).unwrap();
    table.push(TableNode { code, parents: vec![], env: firesteel_common::codec::encode(&name.to_owned()).unwrap() });
    let data = StageData {
        lineage: table.encode().unwrap().into(),
        shuffles: vec![],
        files: vec![],
        properties: BTreeMap::new(),
    };
    data.encode_to_vec().into()
}

pub fn inline(bytes: impl Into<Bytes>) -> Payload {
    Payload::Inline(bytes.into())
}

/// The first attempt of a stage.
pub fn attempt(stage: u32) -> StageAttempt {
    StageAttempt { stage: StageId(stage), attempt: 0 }
}

pub fn stage(id: u32, data: Payload) -> StageBinary {
    StageBinary { stage: attempt(id), data }
}

pub fn task(id: u64, stage: u32, partition: u32) -> TaskDescription {
    TaskDescription { task: TaskId(id), stage: attempt(stage), partition, ..Default::default() }
}

/// Tasks `ids` of stage `stage_id`, of the kind `name`; partitions are numbered from 0.
pub fn launch(stage_id: u32, name: &str, ids: impl IntoIterator<Item = u64>) -> ToExecutor {
    let tasks = ids.into_iter().enumerate().map(|(p, id)| task(id, stage_id, p as u32)).collect();
    let stages = vec![stage(stage_id, inline(stage_data(name)))];
    ToExecutor::LaunchTasks(LaunchTasks { stages, tasks, ended: vec![] })
}

pub fn stage_ended(stage: u32) -> ToExecutor {
    ToExecutor::LaunchTasks(LaunchTasks { ended: vec![attempt(stage)], ..LaunchTasks::default() })
}

/// An executor is to leave, and to give what it holds to these.
pub fn leave(executor: &Executor, peers: &[(u32, String)]) {
    let peer = |(id, address): &(u32, String)| BlockAddress { executor: ExecutorId(*id), address: address.clone() };
    let orders = DecommissionExecutor { peers: peers.iter().map(peer).collect(), map_outputs: true };
    executor.handle(ToExecutor::DecommissionExecutor(orders));
}

pub fn result(bytes: &[u8]) -> Result<TaskOutput, TaskError> {
    Ok(TaskOutput::Result(bytes.to_vec()))
}

/// What a task ended with.
#[derive(Debug, PartialEq)]
pub enum End {
    Result(Bytes),
    Block(String, u64),
    Panic(String, String),
    Error(String),
    Killed(String),
    Other(String),
}

pub fn end_of(update: &TaskUpdate) -> Option<End> {
    Some(match update.outcome.clone() {
        TaskOutcome::Running => return None,
        TaskOutcome::Result(bytes) => End::Result(bytes),
        TaskOutcome::ResultInBlock { block_id, size } => End::Block(block_id, size),
        TaskOutcome::Failed(TaskFailure::Exception { message, location, panic: true }) => End::Panic(message, location),
        TaskOutcome::Failed(TaskFailure::Exception { message, .. }) => End::Error(message),
        TaskOutcome::Failed(TaskFailure::Killed { reason }) => End::Killed(reason),
        other => End::Other(format!("{other:?}")),
    })
}

struct Collect(Mutex<mpsc::Sender<ToDriver>>, Mutex<mpsc::Sender<()>>);

impl DriverLink for Collect {
    fn send(&self, message: ToDriver) -> Result<(), String> {
        let sender = self.0.lock().unwrap();
        // The test may be over.
        match message {
            ToDriver::StatusUpdates(updates) => updates.into_iter().for_each(|update| {
                let _ = sender.send(ToDriver::StatusUpdates(vec![update]));
            }),
            other => _ = sender.send(other),
        }
        Ok(())
    }

    fn leave(&self) {
        let _ = self.1.lock().unwrap().send(());
    }
}

/// An executor and what it reports.
pub struct Rig {
    pub executor: Executor,
    pub services: Arc<TaskServices>,
    news: mpsc::Receiver<ToDriver>,
    /// Something comes when it leaves.
    pub left: mpsc::Receiver<()>,
    _dir: tempfile::TempDir,
}

pub fn rig(cores: u32) -> Rig {
    rig_at(cores, "127.0.0.1:1")
}

/// An executor whose blocks others find at `block_address`.
pub fn rig_at(cores: u32, block_address: &str) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let client = BlockClient::new(Transport::default(), "app", Role::Executor);
    let memory = MemoryConfig { total_bytes: 64 << 20, storage_fraction: 0.5 };
    let shuffle = ShuffleConfig::new(vec![dir.path().to_owned()], ExecutorId(3));
    let services = Arc::new(TaskServices {
        blocks: Arc::new(BlockManager::with_disk(MemoryManager::new(memory), &[dir.path().to_owned()])),
        shuffle: Arc::new(ShuffleManager::new(shuffle, client.clone()).unwrap()),
        broadcasts: BroadcastValues::in_process(),
    });
    let config = ExecutorConfig {
        executor: ExecutorId(3),
        cores,
        settings: ExecutorSettings {
            stack_bytes: 64 << 20,
            results: ResultBounds { direct: 1000, total: 80 << 20 },
            reaper: None,
            decommission: DecommissionSettings { cached: true, map_outputs: true, max_failures: 3, threads: 2 },
            heartbeat: None,
        },
        block_address: block_address.to_owned(),
        client,
        services: services.clone(),
    };
    let (tx, news) = mpsc::channel();
    let (leave, left) = mpsc::channel();
    let executor = Executor::new(config, Arc::new(Collect(Mutex::new(tx), Mutex::new(leave))));
    Rig { executor, services, news, left, _dir: dir }
}

impl Rig {
    /// The next message; of news of tasks each is one of its own.
    pub fn next_news(&self) -> ToDriver {
        self.news.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    /// The next news of a task.
    pub fn next_update(&self) -> TaskUpdate {
        loop {
            if let ToDriver::StatusUpdates(mut updates) = self.next_news() {
                return updates.remove(0);
            }
        }
    }

    /// The next news of a task that has ended.
    pub fn next_outcome(&self) -> TaskOutcome {
        loop {
            match self.next_update().outcome {
                TaskOutcome::Running => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether nothing more has been reported.
    pub fn no_update(&self) -> bool {
        self.news.try_recv().is_err()
    }

    /// The next task that ends, and how.
    pub fn next_end(&self) -> (u64, End) {
        loop {
            let update = self.next_update();
            if let Some(end) = end_of(&update) {
                return (update.task.0, end);
            }
        }
    }

    /// Runs one task of a kind alone in a stage.
    pub fn run_one(&self, name: &str) -> End {
        self.executor.handle(launch(900, name, [900]));
        let (id, end) = self.next_end();
        assert_eq!(id, 900);
        self.executor.handle(stage_ended(900));
        end
    }
}
