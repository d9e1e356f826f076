//! What the coarse-grained backend asks of a cluster manager, and hears from it.

use firesteel_closure::binary::RunningBinary;
use firesteel_common::ExecutorId;

/// The way to a cluster manager, on the session's thread. Executors that it starts connect to the driver by themselves.
/// Spark: `StandaloneAppClient`.
pub(in crate::backend) trait Manager {
    /// The next news; the first is [`News::Registered`] or [`News::Failed`], and after the latter none follows. May be dropped
    /// at any time and called again: nothing is lost.
    async fn next(&mut self) -> News;

    /// Asks for so many executors in all.
    fn request_total(&mut self, total: u32);

    /// Has an executor ended, whatever it does.
    fn kill(&mut self, executor: ExecutorId);

    /// Ends the application, within a bounded time.
    async fn leave(self);
}

/// An application that is to be registered.
pub(in crate::backend) struct Application {
    /// host:port at which the driver waits for executors.
    pub driver_address: String,
    /// host:port of its block server, which has the executable.
    pub block_address: String,
    /// What executors run.
    pub binary: &'static RunningBinary,
    /// Executors that it begins with; `None`: as many as it may have.
    pub executors: Option<u32>,
}

/// What a cluster manager says.
#[derive(Debug)]
pub(in crate::backend) enum News {
    /// It has the application; said again when that was lost meanwhile.
    Registered {
        /// The application's id, always the same.
        app_id: String,
        /// Which attempt of it this is, where there may be several.
        attempt_id: Option<String>,
    },
    /// There will be an executor, or there is one already.
    Granted(Grant),
    /// The executor's node is to leave, with all executors there.
    NodeLeaves {
        /// One of them.
        executor: ExecutorId,
        /// What happened, in words for people.
        message: String,
    },
    /// An executor is gone, or never came.
    Ended {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// How it was lost.
        loss: Loss,
    },
    /// A node is gone for good, with all that it kept of executors that had gone before.
    NodeLost {
        /// Its name, as in [`Grant`].
        node: String,
        /// What happened, in words for people.
        message: String,
    },
    /// The cluster will do nothing more for this application.
    Failed(String),
}

/// An executor that is granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::backend) struct Grant {
    /// Its number; never used again in this application.
    pub executor: ExecutorId,
    /// What starts it; the same name for all that are lost together.
    pub node: String,
    /// For the log.
    pub host: String,
    /// How many tasks it can run at a time, if each takes one core.
    pub cores: u32,
}

/// The end of an executor. Spark: `ExecutorLossReason`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::backend) struct Loss {
    /// For a person.
    pub message: String,
    /// The application's code ended it: the tasks that ran there count a failure each.
    pub by_application: bool,
    /// Its whole node is gone.
    pub node_lost: bool,
}
