//! An executor process: what [`closure::enter!`](firesteel_closure::enter) runs instead of the application's `main`.
//!
//! ```text
//!  descriptors ─▶ lifeline watched ─▶ launch message read ─▶ block server's port bound ─▶ stream to the driver
//!    ─▶ RegisterExecutor (with the hash of /proc/self/exe) ─▶ RegisteredExecutor (settings) ─▶ tasks, heartbeats
//!    ─▶ the stream closes, StopExecutor, or all is done after DecommissionExecutor ─▶ exit
//! ```
//!
//! Standard error is what the worker shows of an executor that did not end well, so errors go there.

use std::{
    collections::BTreeMap, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, sync::Arc, time::Duration,
};

use firesteel_closure::{binary::running_binary, entry::take_descriptors};
use firesteel_common::{
    ExecutorId,
    conf::{Conf, Source, keys},
    logging, say,
};
use firesteel_os::memory_record::MemoryRecord;
use firesteel_protocol::{RegisterExecutor, ToDriver, ToExecutor};
use firesteel_rpc::{
    Duplex, PROTOCOL_VERSION, Role, Security, Transport,
    bind::host_port,
    checked::decode,
    proto::{
        deploy::{ExecutorLaunch, Parting},
        executor as proto,
    },
};
use firesteel_shuffle::{ShuffleConfig, ShuffleError, ShuffleManager};
use firesteel_storage::{
    BlockClient, BlockManager, BlockNetwork, BlockServer, BroadcastFetcher, ClientConfig, LocalDirs, MemoryConfig,
    MemoryManager, Served, local_dirs::make_private,
};
use firesteel_task::{BroadcastValues, TaskServices};

use crate::{
    config::{ExecutorConfig, ExecutorSettings},
    driver_stream::{DriverStream, StreamEnd},
    error::ExecutorError,
    executor::Executor,
};

/// For the connection to the driver and for its answer to the registration; the settings are not known yet.
const REGISTRATION: Duration = Duration::from_secs(60);

/// Tells the worker that the driver has accepted this executor; what happens from then on is the application's doing.
const REGISTERED: u8 = b'\n';

/// The last parts of a local directory are the worker's, the application's and the executor's: all this user's.
const OWN_DIRS: usize = 3;

/// Threads for messages. Tasks have their own, so the driver is heard and answered however busy they are.
const MESSAGE_THREADS: usize = 2;

/// Between two looks at who holds memory.
const MEMORY_NOTES: Duration = Duration::from_millis(200);

/// What is left of a stream that the executor ended to abort may take this long.
const ABORT: Duration = Duration::from_secs(10);

/// Runs an executor process to its end; the result is its exit status.
pub fn run() -> i32 {
    if let Err(error) = firesteel_os::process::outlive_file_size_limit() {
        say!("firesteel executor: cannot set how SIGXFSZ is handled: {error}");
    }
    init_logging();
    match launch().and_then(serve) {
        Ok(status) => status,
        Err(error) => {
            say!("firesteel executor: {error}");
            1
        }
    }
}

/// To standard error; `FIRESTEEL_LOG` chooses what, as for the daemons.
fn init_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FIRESTEEL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    if let Err(error) = logging::to_stderr(filter).try_init() {
        say!("firesteel executor: something else has set up logging already: {error}");
    }
}

/// Watches the lifeline, then reads the launch message.
fn launch() -> Result<ExecutorLaunch, ExecutorError> {
    let (config, lifeline) = take_descriptors().ok_or(ExecutorError::NotLaunched)?;
    firesteel_os::lifeline::watch(lifeline).map_err(ExecutorError::io("watch the lifeline"))?;
    let bytes = firesteel_os::memfd::read_all(config).map_err(ExecutorError::io("read the launch message"))?;
    decode(bytes.as_slice()).map_err(|e| ExecutorError::Launch { reason: e.to_string() })
}

fn serve(launch: ExecutorLaunch) -> Result<i32, ExecutorError> {
    if let Err(error) = firesteel_os::descriptors::raise_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    // Meanwhile the driver is called.
    let room = || {
        if let Err(error) = firesteel_os::descriptors::make_room() {
            tracing::debug!(%error, "no room for many open files");
        }
    };
    std::thread::Builder::new().name("descriptors".into()).spawn(room).map_err(ExecutorError::io("start a thread"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(MESSAGE_THREADS)
        .thread_name("executor-rpc")
        .enable_all()
        .build()
        .map_err(ExecutorError::io("start the threads for messages"))?;
    let status = runtime.block_on(run_executor(launch));
    // Tasks may still run; the process ends with them.
    runtime.shutdown_background();
    status
}

/// A registered executor of a process.
struct Registered {
    executor: Executor,
    stream: Duplex<proto::ToExecutor, proto::ToDriver>,
    end: StreamEnd,
    _blocks: BlockServer,
}

async fn run_executor(launch: ExecutorLaunch) -> Result<i32, ExecutorError> {
    let (app_id, executor_id, driver) = (launch.app_id.clone(), launch.executor_id, launch.driver_address.clone());
    let (registered_path, memory_record_path) = (launch.registered_path.clone(), launch.memory_record_path.clone());
    let mut registered = register(launch).await?;
    let executor = Arc::new(registered.executor);
    note_memory(&memory_record_path, &executor);
    // Before the first task runs, which may end this process at once.
    tell_worker(&registered_path, REGISTERED);
    tracing::info!(app_id, executor_id, driver, "registered with the driver");
    let stopped = receive(&executor, &mut registered.stream).await;
    if stopped {
        tracing::info!(app_id, executor_id, "the driver stopped the executor");
        tell_worker(&registered_path, Parting::InOrder as u8);
        return Ok(0);
    }
    if registered.end.has_left() {
        tracing::info!(app_id, executor_id, "decommissioned: this executor holds nothing any more");
        tell_worker(&registered_path, Parting::InOrder as u8);
        return Ok(0);
    }
    if registered.end.reached() {
        // A panicking task waits for just this, and its thread is about to abort the process.
        tokio::time::sleep(ABORT).await;
    }
    let reason = registered.stream.tx.close_reason().unwrap_or_default();
    tell_worker(&registered_path, Parting::DriverLost as u8);
    say!("firesteel executor: the connection to the driver at {driver} is closed: {reason}");
    Ok(1)
}

/// Notes from now on, some times a second, who holds this process's memory, for the worker to read after an end for lack
/// of it: that comes too suddenly to be told by whom it meets.
fn note_memory(path: &str, executor: &Arc<Executor>) {
    if path.is_empty() {
        return;
    }
    let (watched, path) = (Arc::downgrade(executor), PathBuf::from(path));
    let note = move || -> std::io::Result<()> {
        let mut record = MemoryRecord::open(&path)?;
        let mut last = String::new();
        while let Some(executor) = watched.upgrade() {
            let text = executor.memory_text();
            drop(executor);
            if text != last {
                record.note(&text)?;
                last = text;
            }
            std::thread::park_timeout(MEMORY_NOTES);
        }
        Ok(())
    };
    let noting = move || {
        if let Err(error) = note() {
            tracing::warn!(%error, "who holds memory cannot be noted: an end for lack of it will not say");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("memory-record".to_owned()).spawn(noting) {
        tracing::warn!(%error, "no thread to note who holds memory");
    }
}

/// One byte into the worker's FIFO, [`REGISTERED`] or a [`Parting`]. The worker has it open since before this process
/// began; without one, which ends this process anyway, there is no waiting.
fn tell_worker(fifo: &str, byte: u8) {
    if fifo.is_empty() {
        return;
    }
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo);
    let written = opened.and_then(|mut f| f.write_all(&[byte]));
    if let Err(error) = written {
        tracing::warn!(fifo, byte, %error, "the worker does not hear what this executor has to say");
    }
}

/// Everything from the bound port to the driver's answer.
async fn register(launch: ExecutorLaunch) -> Result<Registered, ExecutorError> {
    let transport = Transport::new(Security::handed_down(&launch.app_key));
    let port = u16::try_from(launch.block_manager_port).unwrap_or_default();
    let listener = transport.bind_one_of(&launch.bind_host, port, launch.port_max_retries)?;
    let port = listener.local_addr().map_err(ExecutorError::io("find the block server's port"))?.port();
    let block_address = host_port(&launch.host, port);
    let binary = running_binary()?;
    let driver = launch.driver_address.clone();
    let mut stream = transport.clone().connecting_within(REGISTRATION).connect_driver(&driver, &launch.app_id).await?;
    let closed = |reason: String| ExecutorError::Closed { driver: driver.clone(), reason };
    let register = RegisterExecutor {
        protocol_version: PROTOCOL_VERSION,
        executor: ExecutorId(launch.executor_id),
        host: launch.host.clone(),
        block_address: block_address.clone(),
        cores: launch.cores,
        build_hash: binary.hash.0.to_vec(),
        pid: std::process::id(),
        shuffle_service: Some(launch.shuffle_service_address.clone()).filter(|service| !service.is_empty()),
        boot_id: crate::this_host::boot_id(),
        local_dirs: launch.local_dirs.clone(),
    };
    let register = ToDriver::RegisterExecutor(Box::new(register));
    stream.tx.send(register.into()).map_err(|e| closed(e.to_string()))?;
    let answer = tokio::time::timeout(REGISTRATION, stream.rx.recv()).await;
    let conf = match answer.map(|answer| answer.map(ToExecutor::try_from)) {
        Ok(Some(Ok(ToExecutor::RegisteredExecutor(conf)))) => conf,
        Ok(Some(Ok(ToExecutor::RegisterExecutorFailed(reason)))) => {
            let executor_id = launch.executor_id;
            return Err(ExecutorError::Refused { driver, executor_id, reason });
        }
        Ok(Some(Ok(_))) => return Err(closed("it answered the registration with something else".to_owned())),
        Ok(Some(Err(bad))) => return Err(closed(bad.to_string())),
        Ok(None) => return Err(closed(stream.tx.close_reason().unwrap_or_default())),
        Err(_) => return Err(closed(format!("it did not answer within {REGISTRATION:?}"))),
    };
    let end = StreamEnd::default();
    let sink = Arc::new(DriverStream::new(stream.tx.clone(), launch.executor_id, end.clone()));
    let config = configure(&launch, conf, &transport, block_address)?;
    let served = Served::by_executor(&config.services.blocks, config.services.shuffle.clone());
    let blocks = BlockServer::start(listener, served, transport, launch.app_id)
        .map_err(ExecutorError::io("start the block server"))?;
    Ok(Registered { executor: Executor::new(config, sink), stream, end, _blocks: blocks })
}

/// The executor that launch message and driver's settings ask for.
fn configure(
    launch: &ExecutorLaunch,
    conf: BTreeMap<String, String>,
    transport: &Transport,
    block_address: String,
) -> Result<ExecutorConfig, ExecutorError> {
    let conf = Conf::from_pairs(conf, Source::Driver);
    let executor = ExecutorId(launch.executor_id);
    // Who fetches a broadcast value has other peers to ask.
    let impatient = BlockClient::new(transport.clone(), launch.app_id.as_str(), Role::Executor);
    let patient = transport.clone().configured(&conf)?;
    let client =
        BlockClient::with_config(patient, launch.app_id.as_str(), Role::Executor, ClientConfig::from_conf(&conf)?);
    let memory = MemoryConfig::from_conf(&conf, launch.memory_mb << 20)?;
    let shuffle = shuffle_config(launch, &conf)?.reading(&conf, memory.total_bytes, launch.cores)?;
    let dirs = LocalDirs::made_by(shuffle.dirs.clone(), |dir| make_private(dir, OWN_DIRS)).open::<ShuffleError>()?;
    let shuffle = Arc::new(ShuffleManager::within(dirs.clone(), shuffle, client.clone()));
    let blocks = Arc::new(BlockManager::within(MemoryManager::new(memory), dirs));
    // A kept partition can be computed, so nobody waits for it either.
    blocks.set_network(BlockNetwork::new(impatient.clone(), block_address.clone()));
    blocks.set_shuffle_source(shuffle.clone());
    let fetcher = BroadcastFetcher::new(impatient, blocks.clone(), executor);
    let broadcasts = BroadcastValues::fetched_by(fetcher);
    Ok(ExecutorConfig {
        executor,
        cores: launch.cores / conf.get(&keys::TASK_CPUS)?,
        settings: ExecutorSettings::from_conf(&conf)?,
        block_address,
        client,
        services: Arc::new(TaskServices { blocks, shuffle, broadcasts }),
    })
}

fn shuffle_config(launch: &ExecutorLaunch, conf: &Conf) -> Result<ShuffleConfig, ExecutorError> {
    let dirs = launch.local_dirs.iter().map(PathBuf::from).collect();
    let config = ShuffleConfig::from_conf(conf, dirs, ExecutorId(launch.executor_id))?;
    Ok(ShuffleConfig { outlived_by_files: !launch.shuffle_service_address.is_empty(), ..config })
}

/// Hands messages to the executor until the stream ends (false) or the driver stops it (true).
async fn receive(executor: &Executor, stream: &mut Duplex<proto::ToExecutor, proto::ToDriver>) -> bool {
    loop {
        let wake = executor.next_wake();
        let received = tokio::select! {
            received = stream.rx.recv() => received,
            () = tokio::time::sleep(wake.unwrap_or(Duration::MAX)), if wake.is_some() => {
                executor.wake();
                continue;
            }
        };
        match received.map(ToExecutor::try_from) {
            Some(Ok(message)) => {
                let stop = matches!(message, ToExecutor::StopExecutor);
                executor.handle(message);
                if stop {
                    return true;
                }
            }
            Some(Err(bad)) => {
                stream.tx.close(&format!("the driver sent what makes no sense: {bad}"));
                return false;
            }
            None => return false,
        }
    }
}
