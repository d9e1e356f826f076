//! What an executor process is: the production [`ExecutorCore`], its tasks, and what it keeps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firesteel_common::{AppId, StageAttempt, TaskId, Tick};
use firesteel_executor::core::ExecutorCore;
use firesteel_protocol::TaskDescription;
use firesteel_rpc::proto::deploy::LaunchExecutor;

use crate::state::{
    leaving::Leaving,
    network::{LinkId, Process},
    served::service_address,
    stage::StageInfo,
    store::Store,
};

/// `spark.executor.heartbeatInterval`.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

pub(crate) struct ExecutorNode {
    /// Whose executor it is.
    pub(crate) driver: usize,
    pub(crate) app_id: AppId,
    pub(crate) block_address: String,
    pub(crate) cores: u32,
    pub(crate) memory_mb: u64,
    pub(crate) core: ExecutorCore,
    pub(crate) link: Option<LinkId>,
    pub(crate) tasks: BTreeMap<TaskId, (TaskDescription, Arc<StageInfo>)>,
    /// What came with the stage attempts that it knows.
    pub(crate) stages: BTreeMap<StageAttempt, Arc<StageInfo>>,
    /// Since when tasks wait for a slot.
    pub(crate) waiting: BTreeMap<TaskId, Tick>,
    /// Tasks that were asked to end.
    pub(crate) flagged: BTreeMap<TaskId, String>,
    pub(crate) store: Store,
    /// The shuffle service of its worker, if it serves the executor's files.
    pub(crate) shuffle_service: Option<String>,
    /// Tasks of barrier stages: the calls that they have made, and whether they wait.
    pub(crate) calls: BTreeMap<TaskId, (u32, bool)>,
    /// When the tasks that run began.
    pub(crate) began: BTreeMap<TaskId, Tick>,
    /// It is decommissioned.
    pub(crate) leaving: Option<Leaving>,
    /// Since when nothing keeps it although it is to leave.
    pub(crate) kept_by_nothing: Option<Tick>,
    pub(crate) since: Tick,
}

impl ExecutorNode {
    pub(crate) fn new(process: Process, app_id: AppId, launch: &LaunchExecutor, now: Tick) -> Self {
        let address = launch.application.as_ref().map(|a| a.driver_address.as_str());
        let driver = address.and_then(|a| a.strip_prefix("driver")?.split_once(':')?.0.parse().ok());
        ExecutorNode {
            driver: driver.unwrap_or_default(),
            block_address: format!("host{}:{}", process.worker, 40_000 + process.pid),
            app_id,
            cores: launch.cores,
            memory_mb: launch.memory_mb,
            core: ExecutorCore::new(launch.cores, Some(HEARTBEAT), now),
            link: None,
            tasks: BTreeMap::new(),
            stages: BTreeMap::new(),
            waiting: BTreeMap::new(),
            flagged: BTreeMap::new(),
            store: Store::default(),
            shuffle_service: launch
                .application
                .as_ref()
                .filter(|a| a.shuffle_service)
                .map(|_| service_address(process.worker)),
            calls: BTreeMap::new(),
            began: BTreeMap::new(),
            leaving: None,
            kept_by_nothing: None,
            since: now,
        }
    }
}
