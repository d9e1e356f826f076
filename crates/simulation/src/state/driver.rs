//! What a driver is: its production machines, its connections, and the books that are kept of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use firesteel_backend::Roster;
use firesteel_common::{ExecutorId, JobId, ShuffleId, StageAttempt, StageId, TaskId, Tick};
use firesteel_machine::Machine;
use firesteel_protocol::DecommissionExecutor;
use firesteel_rpc::{MasterClient, master_client::Attempt};
use firesteel_scheduler::{DriverCore, GraphNode, JobError, JobGraph};

use crate::{
    books::Books,
    roster_books::RosterBooks,
    state::{features::Features, heard::Heard, network::LinkId, stage::StageInfo, stream::ExecutorStream},
};

/// A silent executor is given up after this time (`spark.network.timeout`).
pub(crate) const NETWORK_TIMEOUT: Duration = Duration::from_secs(120);

/// A job as the user submitted it.
pub(crate) struct Submitted {
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) partitions: Vec<u32>,
    pub(crate) cancelled: bool,
    /// Its results may be taken back.
    pub(crate) repeatable: bool,
    pub(crate) group: Option<String>,
    pub(crate) at: Tick,
}

pub(crate) struct DriverNode {
    pub(crate) client: MasterClient,
    pub(crate) link: Option<(Attempt, LinkId)>,
    pub(crate) next_beat: Option<Tick>,
    pub(crate) app_id: String,
    pub(crate) token: Vec<u8>,
    pub(crate) next_executor_id: u32,
    pub(crate) core: DriverCore,
    pub(crate) program: Vec<GraphNode>,
    pub(crate) executor_cores: Option<u32>,
    pub(crate) cores_max: Option<u32>,
    pub(crate) features: Features,
    /// Executors that it wants in all; None: as many as it may have.
    pub(crate) executor_limit: Option<u32>,
    /// The limit that its last registration named.
    pub(crate) registered_limit: Option<u32>,
    pub(crate) books: Books,
    pub(crate) heard: Heard,
    /// Executors that its schedulers have had leave.
    pub(crate) decommissioned: BTreeSet<ExecutorId>,
    /// What executors were told last that leave.
    pub(crate) told_to_leave: BTreeMap<ExecutorId, DecommissionExecutor>,
    /// Executors that stayed when it was last looked.
    pub(crate) stayed: BTreeSet<ExecutorId>,
    pub(crate) jobs_to_come: u32,
    pub(crate) stages: BTreeMap<StageAttempt, Arc<StageInfo>>,
    /// Stage attempts that are over, to be told with the next launch.
    pub(crate) ended: Vec<StageAttempt>,
    /// Its event loop's ways to executors.
    pub(crate) executors: BTreeMap<u32, LinkId>,
    /// Streams that executors have opened and that have not ended.
    pub(crate) streams: BTreeMap<LinkId, ExecutorStream>,
    pub(crate) roster: Roster,
    pub(crate) roster_books: RosterBooks,
    pub(crate) jobs: BTreeMap<JobId, Submitted>,
    pub(crate) results: BTreeMap<(JobId, u32), Bytes>,
    pub(crate) over: BTreeMap<JobId, Result<(), JobError>>,
    /// The latest attempt of each stage.
    pub(crate) latest: BTreeMap<StageId, u32>,
    /// Map outputs that a task of a stage's latest attempt could not read.
    pub(crate) unreadable: BTreeMap<(ShuffleId, TaskId, ExecutorId), String>,
    /// Executors that it was told are gone, or that it gave up itself.
    pub(crate) gone: BTreeMap<u32, Tick>,
    /// The master removed the application: the cluster gives nothing more.
    pub(crate) removed: bool,
    /// Its process is gone without a word.
    pub(crate) crashed: bool,
    pub(crate) over_since: Option<Tick>,
}

impl DriverNode {
    pub(crate) fn lives(&self) -> bool {
        self.over_since.is_none()
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        if !self.lives() {
            return None;
        }
        let silent = self.streams.values().filter_map(ExecutorStream::heard).min().map(|heard| heard + NETWORK_TIMEOUT);
        let machines = [self.client.next_deadline(), self.core.next_deadline(), self.roster.next_deadline()];
        machines.into_iter().chain([self.next_beat, silent]).flatten().min()
    }

    /// Whether the executor is connected and was not given back.
    pub(crate) fn has(&self, executor: ExecutorId) -> bool {
        self.executors.contains_key(&executor.0) && !self.books.retired.contains(&executor)
    }
}

/// Whether the job was refused for what its barrier stages need.
pub(crate) fn refused(end: &Result<(), JobError>) -> bool {
    matches!(end, Err(JobError::BarrierUnsupported { .. } | JobError::BarrierSlots { .. }))
}
