//! Keys that are not ours: Spark's own without a meaning here, and those that nobody knows, with the nearest known key.

use super::keys;

/// Spark's keys (4.x) that have no meaning here. A name that ends with a dot stands for everything below it.
static SPARK_ONLY: &[&str] = &[
    "spark.acls.enable",
    "spark.admin.acls",
    "spark.admin.acls.groups",
    "spark.api.mode",
    "spark.app.attempt.id",
    "spark.app.id",
    "spark.appStateStore.",
    "spark.archives",
    "spark.block.",
    "spark.broadcast.UDFCompressionThreshold",
    "spark.buffer.",
    "spark.checkpoint.",
    "spark.cleaner.periodicGC.interval",
    "spark.cleaner.referenceTracking",
    "spark.cleaner.referenceTracking.blocking",
    "spark.cleaner.referenceTracking.blocking.shuffle",
    "spark.closure.",
    "spark.connect.",
    "spark.dead.worker.persistence",
    "spark.deploy.appNumberModulo",
    "spark.deploy.appIdPattern",
    "spark.deploy.driverIdPattern",
    "spark.deploy.maxDrivers",
    "spark.deploy.recoveryDirectory",
    "spark.deploy.recoveryCompressionCodec",
    "spark.deploy.recoveryMode",
    "spark.deploy.recoveryMode.factory",
    "spark.deploy.recoveryTimeout",
    "spark.deploy.retainedDrivers",
    "spark.deploy.spreadOutDrivers",
    "spark.deploy.workerSelectionPolicy",
    "spark.deploy.zookeeper.",
    "spark.diskStore.",
    "spark.driver.cores",
    "spark.driver.defaultExtraClassPath",
    "spark.driver.defaultJavaOptions",
    "spark.driver.extraClassPath",
    "spark.driver.extraJavaOptions",
    "spark.driver.extraLibraryPath",
    "spark.driver.log.",
    "spark.driver.memoryOverhead",
    "spark.driver.memoryOverheadFactor",
    "spark.driver.metrics.",
    "spark.driver.minMemoryOverhead",
    "spark.driver.resource.",
    "spark.driver.resourcesFile",
    "spark.driver.supervise",
    "spark.driver.timeout",
    "spark.driver.userClassPathFirst",
    "spark.eventLog.",
    "spark.excludeOnFailure.",
    "spark.blacklist.",
    "spark.executor.allowSyncLogLevel",
    "spark.executor.decommission.",
    "spark.executor.defaultExtraClassPath",
    "spark.executor.defaultJavaOptions",
    "spark.executor.extraClassPath",
    "spark.executor.extraJavaOptions",
    "spark.executor.extraLibraryPath",
    "spark.executor.failuresValidityInterval",
    "spark.executor.heartbeat.",
    "spark.executor.heartbeatMaxFailures",
    "spark.executor.id",
    "spark.executor.isRemoteHostMaxDisconnected",
    "spark.executor.killOnFatalError.",
    "spark.executor.logs.",
    "spark.executor.maxNumFailures",
    "spark.executor.memoryOverhead",
    "spark.executor.memoryOverheadFactor",
    "spark.executor.metrics.",
    "spark.executor.minMemoryOverhead",
    "spark.executor.processTreeMetrics.",
    "spark.executor.pyspark.memory",
    "spark.executor.python.",
    "spark.executor.resource.",
    "spark.executor.syncLogLevel.",
    "spark.executor.userClassPathFirst",
    "spark.executorEnv.",
    "spark.extraListeners",
    "spark.files",
    "spark.files.",
    "spark.graphx.",
    "spark.hadoop.",
    "spark.hadoopRDD.",
    "spark.history.",
    "spark.io.compression.",
    "spark.io.crypto.",
    "spark.io.encryption.",
    "spark.io.warning.",
    "spark.jars",
    "spark.jars.",
    "spark.jobGroup.",
    "spark.kerberos.",
    "spark.kryo.",
    "spark.kryoserializer.",
    "spark.kubernetes.",
    "spark.launcher.",
    "spark.legacy.",
    "spark.listenerBus.",
    "spark.local.connect.",
    "spark.log.",
    "spark.logConf",
    "spark.logLineage",
    "spark.master.",
    "spark.maxRemoteBlockSizeFetchToMem",
    "spark.memory.offHeap.",
    "spark.memory.unmanagedMemoryPollingInterval",
    "spark.mesos.",
    "spark.metrics.",
    "spark.ml.",
    "spark.mllib.",
    "spark.modify.acls",
    "spark.modify.acls.groups",
    "spark.network.crypto.",
    "spark.network.io.",
    "spark.network.remoteReadNioBufferConversion",
    "spark.network.sharedByteBufAllocators.",
    "spark.network.timeoutInterval",
    "spark.pipelines.",
    "spark.plugins",
    "spark.plugins.",
    "spark.proxyUser.",
    "spark.pyspark.",
    "spark.python.",
    "spark.r.",
    "spark.rdd.",
    "spark.reducer.",
    "spark.redaction.",
    "spark.repl.",
    "spark.resourceProfile.",
    "spark.resources.",
    "spark.rpc.",
    "spark.scheduler.",
    "spark.security.",
    "spark.serializer",
    "spark.serializer.",
    "spark.shuffle.",
    "spark.sparkr.",
    "spark.speculation.",
    "spark.sql.",
    "spark.ssl.",
    "spark.stage.ignoreDecommissionFetchFailure",
    "spark.standalone.",
    "spark.stages.",
    "spark.storage.",
    "spark.streaming.",
    "spark.submit.",
    "spark.task.reaper.",
    "spark.task.resource.",
    "spark.task.disableAssociateStackTrace",
    "spark.taskMetrics.",
    "spark.test.",
    "spark.testing",
    "spark.testing.",
    "spark.ui.",
    "spark.unsafe.",
    "spark.unsafe",
    "spark.user.groups.mapping",
    "spark.authenticate.enableSaslEncryption",
    "spark.authenticate.secretBitLength",
    "spark.authenticate.secret.driver.file",
    "spark.authenticate.secret.executor.file",
    "spark.worker.decommission.",
    "spark.worker.driverTerminateTimeout",
    "spark.worker.idPattern",
    "spark.worker.initialRegistrationRetries",
    "spark.worker.preferConfiguredMasterAddress",
    "spark.worker.resource.",
    "spark.worker.resourcesFile",
    "spark.worker.ui.",
    "spark.worker.uiProxy.",
    "spark.yarn.",
    "spark.driver.allowMultipleContexts",
];

/// A name below one of Spark's families is taken for Spark's only when it is farther than this from every key of ours: a
/// misspelt `spark.reducer.maxSizeInFligt` must get its hint.
const CLOSE: usize = 2;

/// Whether Spark knows the key but it has no meaning here.
pub(super) fn is_spark_only(name: &str) -> bool {
    if SPARK_ONLY.contains(&name) {
        return true;
    }
    let below = SPARK_ONLY.iter().any(|known| known.ends_with('.') && name.starts_with(known));
    below && !keys::all().any(|key| distance(key.name(), name) <= CLOSE)
}

/// The known key that looks most like this one, if any comes close.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let limit = (name.len() / 5).clamp(2, 6);
    keys::all()
        .map(|key| key.name())
        .chain(SPARK_ONLY.iter().copied().filter(|known| !known.ends_with('.')))
        .map(|known| (distance(known, name), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Insertions, deletions and replacements between two texts, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_keys_get_their_nearest() {
        assert_eq!(nearest("spark.executor.memroy"), Some("spark.executor.memory"));
        assert_eq!(nearest("spark.task.maxfailure"), Some("spark.task.maxFailures"));
        assert_eq!(nearest("spark.my.own.thing"), None);
        assert!(!is_spark_only("spark.reducer.maxSizeInFligt"));
    }

    #[test]
    fn sparks_keys_without_meaning_are_known() {
        for name in ["spark.sql.shuffle.partitions", "spark.eventLog.enabled", "spark.serializer", "spark.yarn.queue"] {
            assert!(is_spark_only(name), "{name}");
        }
        assert!(!is_spark_only("spark.mycompany.flag"));
    }

    #[test]
    fn no_key_of_ours_is_listed_as_meaningless() {
        for key in keys::all() {
            assert!(!SPARK_ONLY.contains(&key.name()), "{}", key.name());
            assert!(!is_spark_only(key.name()), "{}", key.name());
        }
    }
}
