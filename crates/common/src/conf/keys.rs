//! The key table: every configuration key that Firesteel reads, each a typed constant. `docs/configuration.md` is
//! generated from it.

use std::time::Duration;

use super::{
    key::{AnyKey, Key, Origin},
    units::{ByteSize, Unit},
};

const fn spark(since: &'static str) -> Origin {
    Origin::Spark(since)
}

/// The classes by which Spark's configurations name codecs.
const SPARKS_CODECS: &[(&str, &str)] = &[
    ("org.apache.spark.io.LZ4CompressionCodec", "lz4"),
    ("org.apache.spark.io.ZStdCompressionCodec", "zstd"),
    ("org.apache.spark.io.SnappyCompressionCodec", "snappy"),
];

const OURS: Origin = Origin::Firesteel;

macro_rules! table {
    ($( [$group:ident $title:literal] $(
        $(#[doc = $doc:literal])+
        $id:ident: $ty:ty = $name:literal, $default:expr, $origin:expr $(; $method:ident($($arg:expr),*))*
    )+ )+) => {
        $($(
            #[doc = concat!("`", $name, "`:", $($doc),+)]
            pub const $id: Key<$ty> = Key::new($name, $default, $origin, concat!($($doc),+))$(.$method($($arg),*))*;
        )+)+

        /// All keys, in groups with a title, in the order of the documentation.
        pub static GROUPS: &[(&str, &[&dyn AnyKey])] = &[$(($title, &[$(&$id),+])),+];
    };
}

table! {
[application "Application"]
    /// Name of the application, shown by the master and in logs. firesteel-submit sets it to the program's file name
    /// when nobody else does.
    APP_NAME: Option<String> = "spark.app.name", None, spark("0.9.0")
    /// Where the application runs: `local`, `local[N]`, `local[*]`, `local[N,maxFailures]`,
    /// `local-cluster[workers,cores,MiB]` or `spark://host:port[,host2:port]`. Without it, `local[*]`.
    MASTER: Option<String> = "spark.master", None, spark("0.9.0")
    /// Where the driver runs. Only `client` (in the program itself) exists so far.
    SUBMIT_DEPLOY_MODE: String = "spark.submit.deployMode", Some("client"), spark("1.5.0"); one_of(&["client", "cluster"])
    /// Whether a `spark.*` key that nobody knows is an error instead of a warning.
    CONF_STRICT: bool = "spark.conf.strict", Some("false"), OURS
    /// Partitions of `parallelize`, `range` and of shuffles, when the call does not say. Without it, the number of
    /// cores that the application has, but at least 2 on a cluster.
    DEFAULT_PARALLELISM: Option<u32> = "spark.default.parallelism", None, spark("0.5.0"); at_least(1)
    /// Directories for shuffle and spill files, separated by commas. Each application makes its own directories below
    /// and removes them. SPARK_LOCAL_DIRS goes before it. Executors use what their worker was told; a worker that was told
    /// nothing takes its work directory.
    LOCAL_DIR: String = "spark.local.dir", Some("/tmp"), spark("0.5.0")
    /// The largest piece of a file that one partition of `text_file` or `binary_records` reads: `text_file` splits by the total size divided by the
    /// minimum number of partitions, but never into pieces larger than this.
    LOCAL_BLOCK_SIZE: ByteSize = "spark.hadoop.fs.local.block.size", Some("32m"), spark("1.0.0"); unit(Unit::Bytes); at_least(1)
    /// The smallest piece of a text file that is worth a partition of its own.
    SPLIT_MIN_SIZE: ByteSize = "spark.hadoop.mapreduce.input.fileinputformat.split.minsize", Some("1b"), spark("1.0.0"); unit(Unit::Bytes); at_least(1)
    /// With so many bytes a partition of `binary_files` takes no more files.
    FILES_MAX_PARTITION_BYTES: ByteSize = "spark.files.maxPartitionBytes", Some("128m"), spark("2.1.0"); unit(Unit::Bytes); at_least(1)
    /// Whether the files of a checkpoint are deleted when the last handle on its RDD is dropped.
    CLEAN_CHECKPOINTS: bool = "spark.cleaner.referenceTracking.cleanCheckpoints", Some("false"), spark("1.4.0")
    /// For how many bytes more than it has each file counts when `binary_files` fills partitions, as opening it takes time.
    FILES_OPEN_COST: ByteSize = "spark.files.openCostInBytes", Some("4m"), spark("2.1.0"); unit(Unit::Bytes)

[driver "Driver"]
    /// Memory that the driver may plan with. The driver is the user's own program and is not limited by it.
    DRIVER_MEMORY: ByteSize = "spark.driver.memory", Some("1g"), spark("1.1.1"); unit(Unit::MiB); at_least(1 << 20)
    /// Host name or address under which executors reach the driver. Without it, SPARK_LOCAL_IP; else 127.0.0.1 when the
    /// master is on this host's loopback address or strangers are not let in; else the address of the default route.
    DRIVER_HOST: Option<String> = "spark.driver.host", None, spark("0.7.0")
    /// Address that the driver listens on. Without it, the same as spark.driver.host.
    DRIVER_BIND_ADDRESS: Option<String> = "spark.driver.bindAddress", None, spark("2.1.0")
    /// Port that the driver listens on for executors; 0 takes a free one.
    DRIVER_PORT: u16 = "spark.driver.port", Some("0"), spark("0.7.0")
    /// Port of the driver's block server; 0 takes a free one. Without it, spark.blockManager.port.
    DRIVER_BLOCK_MANAGER_PORT: Option<u16> = "spark.driver.blockManager.port", None, spark("2.1.0")
    /// Port of each executor's block server; 0 takes a free one.
    BLOCK_MANAGER_PORT: u16 = "spark.blockManager.port", Some("0"), spark("1.1.0")
    /// How many of the ports after a taken one are tried, for ports that are set and not 0.
    PORT_MAX_RETRIES: u32 = "spark.port.maxRetries", Some("16"), spark("1.1.1")
    /// Bound on the sum of the encoded results of one job; 0 means no bound. A job that exceeds it fails.
    DRIVER_MAX_RESULT_SIZE: ByteSize = "spark.driver.maxResultSize", Some("1g"), spark("1.2.0"); unit(Unit::Bytes)
    /// Whether standard error shows a bar for each stage that runs for more than half a second, where it is a terminal.
    SHOW_CONSOLE_PROGRESS: bool = "spark.ui.showConsoleProgress", Some("false"), spark("1.2.1")
    /// How many events wait at most for a listener that is slower than what happens; it loses what is beyond that.
    EVENT_QUEUE_CAPACITY: u32 = "spark.scheduler.listenerbus.eventqueue.capacity", Some("10000"), spark("2.3.0"); at_least(1)

[executors "Executors"]
    /// Memory of each executor. Cached partitions and what tasks collect are bounded by parts of it.
    EXECUTOR_MEMORY: ByteSize = "spark.executor.memory", Some("1g"), spark("0.7.0"); unit(Unit::MiB); at_least(1 << 20)
    /// Cores of each executor, which are the tasks it runs at a time. Without it, an application gets one executor on a
    /// worker, with all the cores it can have there.
    EXECUTOR_CORES: Option<u32> = "spark.executor.cores", None, spark("1.0.0"); at_least(1)
    /// Cores that the application may have over all executors. Without it, spark.deploy.defaultCores of the master.
    CORES_MAX: Option<u32> = "spark.cores.max", None, spark("0.6.0"); at_least(1)
    /// How often an executor tells the driver that it lives. It must be well below spark.network.timeout.
    EXECUTOR_HEARTBEAT_INTERVAL: Duration = "spark.executor.heartbeatInterval", Some("10s"), spark("1.1.0"); unit(Unit::Millis); at_least(1)
    /// How long a peer may be silent before it counts as lost, and how long opening a connection may take.
    NETWORK_TIMEOUT: Duration = "spark.network.timeout", Some("120s"), spark("1.3.0"); unit(Unit::Seconds); at_least(1)
    /// The part of an executor's memory that tasks and cached partitions share, after 300 MiB (a quarter of the memory
    /// when that is less) were set aside for everything else. In `local` it is a part of spark.driver.memory.
    MEMORY_FRACTION: f64 = "spark.memory.fraction", Some("0.6"), spark("1.6.0"); between(0.01, 1.0)
    /// The part of that shared memory in which cached partitions are safe from tasks that need memory.
    MEMORY_STORAGE_FRACTION: f64 = "spark.memory.storageFraction", Some("0.5"), spark("1.6.0"); between(0.0, 1.0)
    /// Whether copies of cached partitions that an executor took with it are made again, from those that are left.
    STORAGE_REPLICATION_PROACTIVE: bool = "spark.storage.replication.proactive", Some("true"), spark("2.2.0")
    /// Stack of each task thread. Only pages that a task touches cost memory.
    TASK_STACK_SIZE: ByteSize = "spark.firesteel.taskStackSize", Some("256m"), OURS; unit(Unit::Bytes); at_least(1 << 20)

[scheduling "Scheduling"]
    /// Whether jobs that run at the same time get slots one after the other (FIFO), or side by side from pools (FAIR).
    SCHEDULER_MODE: String = "spark.scheduler.mode", Some("FIFO"), spark("0.8.0"); one_of(&["fifo", "fair"])
    /// The file that declares the pools of FAIR. Without it, `fairscheduler.xml` of the configuration directory, if it is
    /// there. Jobs choose a pool by the local property `spark.scheduler.pool`.
    SCHEDULER_ALLOCATION_FILE: Option<String> = "spark.scheduler.allocation.file", None, spark("0.8.1")
    /// How long tasks wait without any launch before the user is warned.
    STARVATION_TIMEOUT: Duration = "spark.starvation.timeout", Some("15s"), spark("1.0.0"); unit(Unit::Millis); at_least(1)
    /// Whether a task that takes much longer than the others of its stage is run a second time on another executor.
    SPECULATION: bool = "spark.speculation", Some("false"), spark("0.6.0")
    /// How often it is looked for slow tasks.
    SPECULATION_INTERVAL: Duration = "spark.speculation.interval", Some("100ms"), spark("0.6.0"); unit(Unit::Millis); at_least(1)
    /// A task is slow when it runs for this many times the median of the successful ones.
    SPECULATION_MULTIPLIER: f64 = "spark.speculation.multiplier", Some("3"), spark("0.6.0"); between(0.0, 1000000.0)
    /// The part of a stage's tasks that must have ended before others count as slow.
    SPECULATION_QUANTILE: f64 = "spark.speculation.quantile", Some("0.9"), spark("0.6.0"); between(0.0, 1.0)
    /// No task that has run for less than this counts as slow.
    SPECULATION_MIN_TASK_RUNTIME: Duration = "spark.speculation.minTaskRuntime", Some("100ms"), spark("3.2.0"); unit(Unit::Millis)
    /// A task of a stage with no more tasks than one executor has slots counts as slow after this time, however few have
    /// ended.
    SPECULATION_DURATION_THRESHOLD: Option<Duration> = "spark.speculation.task.duration.threshold", None, spark("3.0.0"); unit(Unit::Millis); at_least(1)
    /// Whether executors and hosts on which tasks fail get no more of them.
    EXCLUDE_ON_FAILURE: bool = "spark.excludeOnFailure.enabled", Some("false"), spark("2.1.0")
    /// How long the application avoids an executor or a host.
    EXCLUDE_TIMEOUT: Duration = "spark.excludeOnFailure.timeout", Some("1h"), spark("2.1.0"); unit(Unit::Millis); at_least(1)
    /// Failures of a task on an executor after which it does not run there again.
    EXCLUDE_TASK_ATTEMPTS_EXECUTOR: u32 = "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor", Some("1"), spark("2.1.0"); at_least(1)
    /// Failures of a task on a host after which it does not run there again.
    EXCLUDE_TASK_ATTEMPTS_NODE: u32 = "spark.excludeOnFailure.task.maxTaskAttemptsPerNode", Some("2"), spark("2.1.0"); at_least(1)
    /// Tasks of a stage that failed on an executor after which nothing of the stage runs there.
    EXCLUDE_STAGE_TASKS_EXECUTOR: u32 = "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor", Some("2"), spark("2.1.0"); at_least(1)
    /// Executors of a host that a stage avoids after which it avoids the host.
    EXCLUDE_STAGE_EXECUTORS_NODE: u32 = "spark.excludeOnFailure.stage.maxFailedExecutorsPerNode", Some("2"), spark("2.1.0"); at_least(1)
    /// Tasks that failed on an executor, in stages that succeeded all the same, after which the application avoids it.
    EXCLUDE_APPLICATION_TASKS_EXECUTOR: u32 = "spark.excludeOnFailure.application.maxFailedTasksPerExecutor", Some("2"), spark("2.2.0"); at_least(1)
    /// Executors of a host that the application avoids after which it avoids the host.
    EXCLUDE_APPLICATION_EXECUTORS_NODE: u32 = "spark.excludeOnFailure.application.maxFailedExecutorsPerNode", Some("2"), spark("2.2.0"); at_least(1)
    /// Whether executors that the application avoids are ended, so that others take their place.
    EXCLUDE_KILL: bool = "spark.excludeOnFailure.killExcludedExecutors", Some("false"), spark("2.2.0")
    /// Whether the application avoids an executor at once whose shuffle output could not be fetched.
    EXCLUDE_FETCH_FAILURE: bool = "spark.excludeOnFailure.application.fetchFailure.enabled", Some("false"), spark("2.3.0")
    /// How long tasks that are excluded everywhere wait where other executors may come; elsewhere their job fails at once.
    EXCLUDE_UNSCHEDULABLE_TIMEOUT: Duration = "spark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout", Some("120s"), spark("2.4.1"); unit(Unit::Seconds); at_least(1)
    /// How long tasks of a barrier stage wait for one another at a call.
    BARRIER_SYNC_TIMEOUT: Duration = "spark.barrier.sync.timeout", Some("365d"), spark("2.4.0"); unit(Unit::Seconds); at_least(1)
    /// How often it is looked whether there are enough slots for a barrier stage of a new job. It is looked, too, whenever an
    /// executor registers.
    BARRIER_CHECK_INTERVAL: Duration = "spark.scheduler.barrier.maxConcurrentTasksCheck.interval", Some("15s"), spark("2.4.0"); unit(Unit::Seconds); at_least(1)
    /// Looks without enough slots that a job with a barrier stage survives; with the next one it fails.
    BARRIER_CHECK_FAILURES: u32 = "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures", Some("40"), spark("2.4.0"); at_least(1)
    /// Whether an executor watches over tasks that were killed until they have ended.
    REAPER: bool = "spark.task.reaper.enabled", Some("false"), spark("2.0.3")
    /// How often a killed task that still runs is logged.
    REAPER_POLLING_INTERVAL: Duration = "spark.task.reaper.pollingInterval", Some("10s"), spark("2.0.3"); unit(Unit::Millis); at_least(1)
    /// How long a killed task may go on before its executor's process ends itself. Without it, for ever.
    REAPER_KILL_TIMEOUT: Option<Duration> = "spark.task.reaper.killTimeout", None, spark("2.0.3"); unit(Unit::Millis); at_least(1)
    /// Cores that a task occupies.
    TASK_CPUS: u32 = "spark.task.cpus", Some("1"), spark("0.5.0"); at_least(1)
    /// Failures of one task after which its job fails. `local[N]` counts as 1, `local[N,F]` as F.
    TASK_MAX_FAILURES: u32 = "spark.task.maxFailures", Some("4"), spark("0.8.0"); at_least(1)
    /// The largest encoded result that a task sends with its status; larger ones are fetched as a block. Values above
    /// 1 MiB count as 1 MiB, so that a result always fits a message.
    TASK_MAX_DIRECT_RESULT_SIZE: ByteSize = "spark.task.maxDirectResultSize", Some("1m"), spark("2.0.0"); unit(Unit::Bytes)
    /// Attempts of one stage in a row that may end by a failed fetch before the job fails.
    STAGE_MAX_CONSECUTIVE_ATTEMPTS: u32 = "spark.stage.maxConsecutiveAttempts", Some("4"), spark("2.2.0"); at_least(1)
    /// How long a task waits for a place near its data before it takes a worse one.
    LOCALITY_WAIT: Duration = "spark.locality.wait", Some("3s"), spark("0.5.0"); unit(Unit::Millis)
    /// The wait for the executor that has the data. Without it, spark.locality.wait.
    LOCALITY_WAIT_PROCESS: Option<Duration> = "spark.locality.wait.process", None, spark("0.8.0"); unit(Unit::Millis)
    /// The wait for the host that has the data. Without it, spark.locality.wait.
    LOCALITY_WAIT_NODE: Option<Duration> = "spark.locality.wait.node", None, spark("0.8.0"); unit(Unit::Millis)
    /// The wait for a host in the rack of one that has the data. Without it, spark.locality.wait.
    LOCALITY_WAIT_RACK: Option<Duration> = "spark.locality.wait.rack", None, spark("0.8.0"); unit(Unit::Millis)
    /// A file with a host and the name of its rack on each line, for spark.locality.wait.rack. Without it, no rack is
    /// known.
    TOPOLOGY_FILE: Option<String> = "spark.firesteel.topologyFile", None, OURS
    /// How long failed fetches are gathered before the lost shuffle outputs are computed again.
    RESUBMIT_DELAY: Duration = "spark.firesteel.resubmitDelay", Some("100ms"), OURS; unit(Unit::Millis)
    /// How long the driver waits for the worker's report of why an executor's connection has closed.
    LOSS_REASON_WAIT: Duration = "spark.firesteel.lossReasonWait", Some("2s"), OURS; unit(Unit::Millis)

[allocation "Dynamic allocation"]
    /// Whether the number of executors follows the work: more are asked for while tasks wait, idle ones are given back.
    DYNAMIC_ALLOCATION: bool = "spark.dynamicAllocation.enabled", Some("false"), spark("1.2.0")
    /// Executors that the application keeps at least.
    DYNAMIC_ALLOCATION_MIN: u32 = "spark.dynamicAllocation.minExecutors", Some("0"), spark("1.2.0")
    /// Executors that the application has at most. Without it, as many as its tasks can use.
    DYNAMIC_ALLOCATION_MAX: Option<u32> = "spark.dynamicAllocation.maxExecutors", None, spark("1.2.0"); at_least(1)
    /// Executors that the application begins with. Without it, spark.dynamicAllocation.minExecutors.
    DYNAMIC_ALLOCATION_INITIAL: Option<u32> = "spark.dynamicAllocation.initialExecutors", None, spark("1.3.0")
    /// With dynamic allocation: executors that the application begins with, when it is more than the initial number.
    EXECUTOR_INSTANCES: Option<u32> = "spark.executor.instances", None, spark("1.0.0")
    /// How long tasks wait before the first executors are asked for.
    DYNAMIC_ALLOCATION_BACKLOG: Duration = "spark.dynamicAllocation.schedulerBacklogTimeout", Some("1s"), spark("1.2.0"); unit(Unit::Seconds)
    /// How long they wait before each further request, which is twice the last. Without it, schedulerBacklogTimeout.
    DYNAMIC_ALLOCATION_SUSTAINED: Option<Duration> = "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout", None, spark("1.2.0"); unit(Unit::Seconds)
    /// An executor without tasks is given back after this time.
    DYNAMIC_ALLOCATION_IDLE: Duration = "spark.dynamicAllocation.executorIdleTimeout", Some("60s"), spark("1.2.0"); unit(Unit::Seconds)
    /// The same for an executor that holds cached partitions. Without it, such executors stay.
    DYNAMIC_ALLOCATION_CACHED_IDLE: Option<Duration> = "spark.dynamicAllocation.cachedExecutorIdleTimeout", None, spark("1.4.0"); unit(Unit::Seconds)
    /// Whether an executor stays whose shuffle files may be read again. Not needed with the external shuffle service.
    DYNAMIC_ALLOCATION_SHUFFLE_TRACKING: bool = "spark.dynamicAllocation.shuffleTracking.enabled", Some("true"), spark("3.0.0")
    /// How long such an executor stays. Without it, as long as the shuffle is referenced.
    DYNAMIC_ALLOCATION_SHUFFLE_TIMEOUT: Option<Duration> = "spark.dynamicAllocation.shuffleTracking.timeout", None, spark("3.0.0"); unit(Unit::Millis)
    /// Executors are asked for only for this part of the tasks.
    DYNAMIC_ALLOCATION_RATIO: f64 = "spark.dynamicAllocation.executorAllocationRatio", Some("1.0"), spark("2.4.0"); between(0.01, 1.0)

[decommission "Decommissioning"]
    /// Whether workers may be decommissioned (SIGPWR, sbin/decommission-worker.sh), and executors by their application: they
    /// get no more work, have others take what they hold, and end when nothing is left. Without it a worker only logs the
    /// signal.
    DECOMMISSION_ENABLED: bool = "spark.decommission.enabled", Some("false"), spark("3.1.0")
    /// An executor that is being decommissioned is ended after this time, whatever it still runs or holds. Without it, it
    /// has as long as it needs.
    EXECUTOR_DECOMMISSION_FORCE_KILL_TIMEOUT: Option<Duration> = "spark.executor.decommission.forceKillTimeout", None, spark("3.2.0"); unit(Unit::Seconds)
    /// Whether an executor that is being decommissioned has other executors fetch what it holds. Otherwise it ends as soon
    /// as its tasks have, and what is needed again is computed again. Spark's default is false.
    STORAGE_DECOMMISSION_ENABLED: bool = "spark.storage.decommission.enabled", Some("true"), spark("3.1.0")
    /// Whether kept partitions are among it.
    STORAGE_DECOMMISSION_RDD_BLOCKS: bool = "spark.storage.decommission.rddBlocks.enabled", Some("true"), spark("3.1.0")
    /// Whether map outputs are among it.
    STORAGE_DECOMMISSION_SHUFFLE_BLOCKS: bool = "spark.storage.decommission.shuffleBlocks.enabled", Some("true"), spark("3.1.0")
    /// Map outputs that are moved at the same time.
    STORAGE_DECOMMISSION_SHUFFLE_THREADS: u32 = "spark.storage.decommission.shuffleBlocks.maxThreads", Some("8"), spark("3.1.0"); at_least(1)
    /// A partition or map output that could not be moved this often is given up and lost with its executor.
    STORAGE_DECOMMISSION_MAX_FAILURES: u32 = "spark.storage.decommission.maxReplicationFailuresPerBlock", Some("3"), spark("3.1.0"); at_least(1)

[shuffle "Shuffle"]
    /// Whether map outputs are compressed.
    SHUFFLE_COMPRESS: bool = "spark.shuffle.compress", Some("true"), spark("0.6.0")
    /// Whether what is spilled by sorts, joins and aggregations is compressed.
    SHUFFLE_SPILL_COMPRESS: bool = "spark.shuffle.spill.compress", Some("true"), spark("0.9.0")
    /// How shuffle files and spilled data are compressed.
    IO_COMPRESSION_CODEC: String = "spark.io.compression.codec", Some("lz4"), spark("0.8.0"); one_of(&["lz4", "zstd", "snappy", "none"]); also(SPARKS_CODECS)
    /// Level of zstd: higher ones compress more and take longer.
    IO_COMPRESSION_ZSTD_LEVEL: u32 = "spark.io.compression.zstd.level", Some("1"), spark("2.3.0"); at_least(1)
    /// Bytes that are gathered in memory before they are written to a shuffle or spill file. Below 240k counts as 240k.
    SHUFFLE_FILE_BUFFER: ByteSize = "spark.shuffle.file.buffer", Some("32k"), spark("1.4.0"); unit(Unit::KiB); at_least(1024)
    /// Up to so many reducers, a map task keeps a buffer for each; with more, it sorts its records by reducer.
    SHUFFLE_BYPASS_MERGE_THRESHOLD: u32 = "spark.shuffle.sort.bypassMergeThreshold", Some("200"), spark("1.1.1")
    /// Map outputs of which an executor, or a shuffle service, keeps the files open for the next reader: two descriptors
    /// each, and together at most a quarter of those that the process may have.
    SHUFFLE_OPEN_OUTPUTS: u32 = "spark.firesteel.shuffle.openOutputs", Some("1024"), OURS; at_least(1)
    /// Memory in which an executor, or a shuffle service, reads small blocks of map outputs ahead, for the reducers that
    /// come next. An executor takes at most a sixteenth of its memory.
    SHUFFLE_READ_AHEAD: ByteSize = "spark.firesteel.shuffle.readAhead", Some("32m"), OURS; unit(Unit::Bytes)
    /// Whether shuffle files outlive their executor: each worker then serves the files of all executors that it started,
    /// until the application ends or the shuffle is no longer used. Set it for the workers and for the application.
    SHUFFLE_SERVICE_ENABLED: bool = "spark.shuffle.service.enabled", Some("false"), spark("1.2.0")
    /// Port of a worker's shuffle service; 0 takes a free one, as two workers on one host need.
    SHUFFLE_SERVICE_PORT: u16 = "spark.shuffle.service.port", Some("7337"), spark("1.2.0")
    /// Whether a failed fetch takes all map outputs at that address off the books, and not only those of the executor
    /// that wrote what was asked for.
    FETCH_FAILURE_UNREGISTER_OUTPUT_ON_HOST: bool = "spark.files.fetchFailure.unRegisterOutputOnHost", Some("false"), spark("2.3.0")
    /// How often a fetch of blocks is tried again after a failure that may pass, such as a connection that broke. A port
    /// where nobody listens is none: the process that served there is gone.
    SHUFFLE_IO_MAX_RETRIES: u32 = "spark.shuffle.io.maxRetries", Some("3"), spark("1.2.0")
    /// How long a fetch waits before each of these tries.
    SHUFFLE_IO_RETRY_WAIT: Duration = "spark.shuffle.io.retryWait", Some("5s"), spark("1.2.0"); unit(Unit::Seconds)
    /// Whether map outputs of other executors on the same host are read from its disk instead of being fetched.
    SHUFFLE_READ_HOST_LOCAL_DISK: bool = "spark.shuffle.readHostLocalDisk", Some("true"), spark("3.0.0")
    /// A block of more bytes is not held in memory: it is fetched to disk, or read from its file piece by piece. Where an
    /// executor has little memory, an eighth of what each of its tasks may have counts if it is less.
    MAX_REMOTE_BLOCK_SIZE_FETCH_TO_MEM: ByteSize = "spark.network.maxRemoteBlockSizeFetchToMem", Some("200m"), spark("3.0.0"); unit(Unit::Bytes); at_least(1)
    /// Bytes of map outputs that a reduce task may have asked for and not yet read.
    REDUCER_MAX_SIZE_IN_FLIGHT: ByteSize = "spark.reducer.maxSizeInFlight", Some("48m"), spark("1.4.0"); unit(Unit::MiB); at_least(1)

[broadcast "Broadcast variables"]
    /// Whether pieces are compressed (lz4). They stay plain where a sample does not shrink to half: compressing would take
    /// longer than sending.
    BROADCAST_COMPRESS: bool = "spark.broadcast.compress", Some("true"), spark("0.6.0")
    /// Whether pieces carry a checksum, which every receiver checks.
    BROADCAST_CHECKSUM: bool = "spark.broadcast.checksum", Some("true"), spark("2.1.1")
    /// Bytes of the pieces in which broadcast values travel.
    BROADCAST_BLOCK_SIZE: ByteSize = "spark.broadcast.blockSize", Some("4m"), spark("0.5.0"); unit(Unit::KiB); at_least(1 << 10)

[deploy "Master and worker"]
    /// How long the master waits for a silent worker. The worker beats at a quarter of it.
    WORKER_TIMEOUT: Duration = "spark.worker.timeout", Some("60s"), spark("0.6.2"); unit(Unit::Seconds); at_least(1)
    /// How often a worker tries all its masters anew, at its start and after each loss, before it gives up and ends. The
    /// waits grow from half a second to a minute, about ten minutes in all.
    WORKER_MAX_REGISTRATION_RETRIES: u32 = "spark.worker.maxRegistrationRetries", Some("16"), spark("4.0.0"); at_least(1)
    /// Cores of an application that does not set spark.cores.max. Without it, no limit.
    DEPLOY_DEFAULT_CORES: Option<u32> = "spark.deploy.defaultCores", None, spark("0.9.0"); at_least(1)
    /// Whether an application's executors are spread over many workers (true) or packed onto few (false).
    DEPLOY_SPREAD_OUT_APPS: bool = "spark.deploy.spreadOutApps", Some("true"), spark("0.6.1"); formerly("spark.deploy.spreadOut")
    /// Failures of executors in a row after which the master removes an application that has no running executor;
    /// -1 never removes it.
    DEPLOY_MAX_EXECUTOR_RETRIES: i32 = "spark.deploy.maxExecutorRetries", Some("10"), spark("1.6.3"); between(-1.0, 2147483647.0)
    /// Port on which the master shows its state over HTTP (`/json`), on the same address as its own; 0 takes a free one. Where
    /// it is taken, the next ones are tried (spark.port.maxRetries). `--webui-port`, then SPARK_MASTER_WEBUI_PORT go before it.
    MASTER_UI_PORT: u16 = "spark.master.ui.port", Some("8080"), spark("1.1.0")
    /// The same of a worker; `--webui-port`, then SPARK_WORKER_WEBUI_PORT go before it.
    WORKER_UI_PORT: u16 = "spark.worker.ui.port", Some("8081"), spark("1.1.0")
    /// Applications that are over which the master still shows.
    DEPLOY_RETAINED_APPLICATIONS: u32 = "spark.deploy.retainedApplications", Some("200"), spark("0.8.0")
    /// Whether a worker removes the directories with the output of applications that are over, by the next three keys.
    WORKER_CLEANUP_ENABLED: bool = "spark.worker.cleanup.enabled", Some("true"), spark("1.0.0")
    /// How often a worker looks for output that is too old. What is too much is looked for at the end of each application.
    WORKER_CLEANUP_INTERVAL: Duration = "spark.worker.cleanup.interval", Some("1800s"), spark("1.0.0"); unit(Unit::Seconds); at_least(1)
    /// How long the output of an application stays in the work directory after its end; 7 days without a word.
    WORKER_CLEANUP_APP_DATA_TTL: Duration = "spark.worker.cleanup.appDataTtl", Some("604800s"), spark("1.0.0"); unit(Unit::Seconds)
    /// Executors of applications that are over of which a worker keeps the output; that of the oldest applications goes
    /// first. It shows no more of those that have ended.
    WORKER_RETAINED_EXECUTORS: u32 = "spark.worker.ui.retainedExecutors", Some("1000"), spark("1.5.0")
    /// Whether a worker removes an executor's files when it ends, but for map outputs that a shuffle service serves; if not,
    /// they go with the application.
    STORAGE_CLEANUP_FILES_AFTER_EXECUTOR_EXIT: bool = "spark.storage.cleanupFilesAfterExecutorExit", Some("true"), spark("2.4.0")
    /// Bound on the application binaries that a worker keeps after it fetched them from drivers on other hosts.
    BINARY_CACHE_SIZE: ByteSize = "spark.firesteel.binaryCacheSize", Some("4g"), OURS; unit(Unit::Bytes); at_least(1 << 20)

[security "Security"]
    /// Whether peers must prove that they know the secret. Without it: true when a secret is set; otherwise false, and
    /// then the daemons listen on the loopback address only. `false` said explicitly lets them listen anywhere.
    AUTHENTICATE: Option<bool> = "spark.authenticate", None, spark("1.0.0")
    /// The secret that all processes of the cluster share, 16 random bytes or more: who can pretend to be a master gets
    /// something to try guesses against. A file is safer, see spark.authenticate.secret.file.
    AUTHENTICATE_SECRET: Option<String> = "spark.authenticate.secret", None, spark("1.0.0")
    /// A file that holds the secret and that only its owner may read (mode 600); blanks at its end do not count.
    /// spark.authenticate.secret goes before it.
    AUTHENTICATE_SECRET_FILE: Option<String> = "spark.authenticate.secret.file", None, spark("3.0.0")
}

/// All keys in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static dyn AnyKey> {
    GROUPS.iter().flat_map(|(_, keys)| keys.iter().copied())
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static dyn AnyKey> {
    all().find(|key| key.name() == name || key.former_name() == Some(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_key() {
        for key in all() {
            if let Some(text) = key.default_text() {
                assert_eq!(key.check(text), Ok(()), "{}", key.name());
            }
        }
    }

    #[test]
    fn names_are_unique_and_documented() {
        let names: BTreeSet<_> = all().map(AnyKey::name).collect();
        assert_eq!(names.len(), all().count());
        for key in all() {
            assert!(key.name().starts_with("spark."), "{}", key.name());
            assert!(key.doc().trim().ends_with('.'), "{}: {}", key.name(), key.doc());
        }
    }

    #[test]
    fn bounds_and_choices_are_kept() {
        for (key, bad) in [
            ("spark.executor.cores", "0"),
            ("spark.cores.max", "0"),
            ("spark.cores.max", "-1"),
            ("spark.executor.memory", "1k"),
            ("spark.memory.fraction", "1.5"),
            ("spark.memory.fraction", "NaN"),
            ("spark.io.compression.codec", "zip"),
            ("spark.io.compression.codec", "org.apache.spark.io.LZFCompressionCodec"),
            ("spark.scheduler.mode", "NONE"),
            ("spark.authenticate", "yes"),
            ("spark.deploy.maxExecutorRetries", "-2"),
            ("spark.driver.port", "70000"),
        ] {
            assert!(find(key).unwrap().check(bad).is_err(), "{key}={bad}");
        }
        assert_eq!(IO_COMPRESSION_CODEC.parse("zip"), Err("write one of lz4, zstd, snappy, none".to_owned()));
        for (text, choice) in [
            ("LZ4", "lz4"),
            (" zstd ", "zstd"),
            ("org.apache.spark.io.LZ4CompressionCodec", "lz4"),
            ("org.apache.spark.io.ZStdCompressionCodec", "zstd"),
            ("org.apache.spark.io.SnappyCompressionCodec", "snappy"),
        ] {
            assert_eq!(IO_COMPRESSION_CODEC.parse(text).as_deref(), Ok(choice));
        }
        assert_eq!(SCHEDULER_MODE.parse("Fair").as_deref(), Ok("fair"));
        assert_eq!(SUBMIT_DEPLOY_MODE.parse("Client").as_deref(), Ok("client"));
        assert_eq!(EXECUTOR_MEMORY.parse("1k"), Err("it must be at least 1m".to_owned()));
    }
}
