//! What goes into the [`Worker`](crate::Worker) and what comes out of it.

use firesteel_common::{AppId, ExecutorKey};
use firesteel_rpc::{
    master_client::{Attempt, MasterError},
    proto::deploy::{LaunchExecutor, Parting, from_master, to_master},
};

/// How an executor's process ended, or why there was none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExecutorEnd {
    /// Why, for a person.
    pub message: String,
    /// Its exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did. Without signal and exit code it could not be started.
    pub signal: Option<i32>,
    /// The end of its stderr, when it did not end well.
    pub stderr_tail: String,
    /// What it said of its end beforehand.
    pub parting: Parting,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum WorkerEvent {
    /// Begin to look for a master.
    Start,
    /// The stream stands.
    Connected {
        /// The attempt to connect that made it.
        attempt: Attempt,
    },
    /// It does not.
    ConnectFailed {
        /// The attempt to connect that made it.
        attempt: Attempt,
        /// Why, naming the address.
        error: String,
        /// Trying this master again cannot help.
        permanent: bool,
    },
    /// The stream has ended.
    Closed {
        /// The attempt to connect that made it.
        attempt: Attempt,
        /// The reason, in words for people.
        reason: String,
    },
    /// The master said something.
    Received {
        /// On which stream.
        attempt: Attempt,
        /// The message.
        message: from_master::Message,
    },
    /// An executor's driver has accepted it.
    ExecutorRegistered(ExecutorKey),
    /// An executor is gone with its whole process group, or could not be started.
    ExecutorEnded {
        /// Application and executor.
        key: ExecutorKey,
        /// How it ended.
        end: ExecutorEnd,
    },
    /// The worker is to leave the cluster: it takes no executors any more, and ends when it has none.
    Decommission,
    /// The worker is to end: it leaves its master and has its executors killed.
    Stop,
    /// A deadline of [`Worker::next_deadline`](crate::Worker::next_deadline) has come.
    Wake,
}

/// What the shell is to do, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum WorkerEffect {
    /// Open a stream to a master; answer with `Connected` or `ConnectFailed`.
    Connect {
        /// To name it by.
        attempt: Attempt,
        /// host:port of the master.
        address: String,
    },
    /// Drop a stream, whether it stands or not, after what was sent on it.
    Disconnect {
        /// The attempt to connect that made it.
        attempt: Attempt,
    },
    /// Say this to the master, if the stream still stands.
    Send {
        /// On which stream.
        attempt: Attempt,
        /// The message.
        message: to_master::Message,
    },
    /// Start an executor and report its end with [`WorkerEvent::ExecutorEnded`], exactly once.
    StartExecutor {
        /// Application and executor.
        key: ExecutorKey,
        /// As the master said.
        launch: LaunchExecutor,
    },
    /// Kill an executor's process group; its end is reported as usual.
    KillExecutor(ExecutorKey),
    /// No executor of this application is left and none will come: remove what only they needed.
    RemoveApplication {
        /// The application's id.
        app_id: AppId,
    },
    /// It is decommissioned and has no executor left: the worker is to end as after [`WorkerEvent::Stop`]. Said once.
    Leave,
    /// No master will have this worker, or none can be reached, and trying goes on no longer.
    GiveUp {
        /// What to tell the operator.
        error: MasterError,
    },
}
