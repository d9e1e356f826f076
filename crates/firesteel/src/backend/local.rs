//! `local[N]`: one executor on threads of this process. Stages are encoded, decoded and run as on a cluster.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{SystemTime, UNIX_EPOCH},
};

use firesteel_common::{
    ExecutorId,
    conf::{Conf, Environment, keys},
};
use firesteel_executor::{DriverLink, Executor, ExecutorConfig, ExecutorSettings};
use firesteel_protocol::{RegisterExecutor, ToDriver, ToExecutor};
use firesteel_rpc::{PROTOCOL_VERSION, Role, Transport, checked::IN_PROCESS};
use firesteel_shuffle::{ShuffleConfig, ShuffleManager};
use firesteel_storage::{BlockClient, BlockId, BlockManager, LocalDirs, MemoryConfig, MemoryManager};
use firesteel_task::{BroadcastValues, TaskServices};

use super::{Backend, Capabilities, ClusterManager, Start};
use crate::{
    Error, Result,
    driver::{Driver, DriverBlocks, FetchBlock, Link, Message},
    scratch::Scratch,
    setting::get,
};

/// The only executor.
const EXECUTOR: ExecutorId = ExecutorId(0);

/// Tasks run on threads of this process.
#[derive(Debug)]
pub(super) struct Local {
    /// How many at a time.
    pub threads: u32,
    /// Failures of a task that fail its job.
    pub max_failures: u32,
}

impl ClusterManager for Local {
    fn capabilities(&self, _: &Conf) -> Result<Capabilities> {
        let (executor_cores, max_task_failures) = (Some(self.threads), Some(self.max_failures));
        Ok(Capabilities { executor_cores, max_task_failures, elastic: false })
    }

    fn start(self: Box<Self>, start: Start<'_>) -> Result<(Driver, Box<dyn Backend>)> {
        self::start(start, self.threads)
    }
}

/// What `local[N]` holds besides the driver.
struct Held {
    app_id: String,
    services: Option<Arc<TaskServices>>,
    dirs: Arc<LocalDirs>,
    scratch: Vec<Arc<Scratch>>,
}

impl Backend for Held {
    fn app_id(&self) -> String {
        self.app_id.clone()
    }

    fn stop(&mut self) {
        // A task that has not ended yet may hold the services; its files go with the directories.
        self.services = None;
        self.dirs.close();
        self.scratch.clear();
    }
}

/// The executor as the driver reaches it.
struct InProcess(Executor);

impl Link for InProcess {
    fn send(&self, message: ToExecutor) -> Result<(), String> {
        self.0.handle(message);
        Ok(())
    }
}

/// The driver as the executor reaches it.
struct EventLoop(mpsc::Sender<Message>);

impl DriverLink for EventLoop {
    fn send(&self, message: ToDriver) -> std::result::Result<(), String> {
        self.0.send(Message::Heard { executor: EXECUTOR, message }).map_err(|_| "the driver has ended".to_owned())
    }
}

/// Starts the driver and its executor with `threads` slots.
fn start(Start { conf, config, cores, bus }: Start<'_>, threads: u32) -> Result<(Driver, Box<dyn Backend>)> {
    let task_cpus = config.task_cpus.max(1);
    let scratch: Vec<Arc<Scratch>> = Scratch::of_dirs(&local_dirs(conf)?)?.into_iter().map(Arc::new).collect();
    let memory = MemoryConfig::from_conf(conf, get(conf, &keys::DRIVER_MEMORY)?.0);
    let memory = memory.map_err(|e| Error::Start(e.to_string()))?;
    let pool_bytes = memory.total_bytes;
    let dirs = Arc::new(Scratch::local_dirs(&scratch));
    let blocks = Arc::new(BlockManager::within(MemoryManager::new(memory), dirs.clone()));
    let client = BlockClient::new(Transport::default(), "local", Role::Executor);
    let shuffle = shuffle_config(conf, dirs.dirs().to_vec())?.reading(conf, pool_bytes, threads);
    let shuffle = shuffle.map_err(|e| Error::Start(e.to_string()))?;
    let shuffle = Arc::new(ShuffleManager::within(dirs.clone(), shuffle, client.clone()));
    let broadcasts = BroadcastValues::in_process();
    let services = Arc::new(TaskServices { blocks: blocks.clone(), shuffle, broadcasts: broadcasts.clone() });

    let fetch: FetchBlock = Arc::new(move |_, block_id| {
        let id: BlockId = block_id.parse().map_err(|e| format!("{e}"))?;
        blocks.read(&id).map_err(|e| e.to_string())
    });
    // Nothing is too large for a message that never leaves the process.
    let driver_blocks = DriverBlocks {
        manager: Arc::new(BlockManager::new(0)),
        address: None,
        remove_shuffle: Arc::new(|_, _| Ok(())),
        broadcasts,
    };
    let driver =
        Driver::start(config, driver_blocks, fetch, None, bus.clone()).map_err(|e| Error::Start(e.to_string()))?;

    let settings = ExecutorSettings::from_conf(conf).map_err(|e| Error::Start(e.to_string()))?;
    let executor_config = ExecutorConfig {
        executor: EXECUTOR,
        cores: threads / task_cpus,
        settings: ExecutorSettings { heartbeat: None, ..settings },
        block_address: IN_PROCESS.to_owned(),
        client,
        services: services.clone(),
    };
    let executor = Executor::new(executor_config, Arc::new(EventLoop(driver.messages.clone())));
    cores.store(threads, Ordering::Relaxed);
    let register = Box::new(RegisterExecutor {
        protocol_version: PROTOCOL_VERSION,
        executor: EXECUTOR,
        host: "localhost".to_owned(),
        block_address: IN_PROCESS.to_owned(),
        cores: threads,
        pid: std::process::id(),
        ..RegisterExecutor::default()
    });
    let connected = Message::Connected { register, link: Box::new(InProcess(executor)) };
    driver.messages.send(connected).map_err(|_| Error::Stopped)?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let held = Held { app_id: format!("local-{started}"), services: Some(services), dirs, scratch };
    Ok((driver, Box::new(held)))
}

/// `SPARK_LOCAL_DIRS`, or `spark.local.dir`.
pub(super) fn local_dirs(conf: &Conf) -> Result<Vec<PathBuf>> {
    let dirs = match Environment::of_process().get("SPARK_LOCAL_DIRS") {
        Some(dirs) => dirs.to_owned(),
        None => get(conf, &keys::LOCAL_DIR)?,
    };
    Ok(dirs.split(',').map(str::trim).filter(|d| !d.is_empty()).map(PathBuf::from).collect())
}

fn shuffle_config(conf: &Conf, dirs: Vec<PathBuf>) -> Result<ShuffleConfig> {
    ShuffleConfig::from_conf(conf, dirs, EXECUTOR).map_err(|e| Error::Start(e.to_string()))
}
