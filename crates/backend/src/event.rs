//! What happens to a [`crate::Roster`], and what it wants done.

use firesteel_common::ExecutorId;
use firesteel_scheduler::DriverEvent;

/// A stream that an executor has opened; never used again by one driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StreamId(pub u64);

/// An executor that is granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
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
pub struct Loss {
    /// For a person.
    pub message: String,
    /// The application's code ended it: the tasks that ran there count a failure each.
    pub by_application: bool,
    /// Its whole node is gone.
    pub node_lost: bool,
}

/// What a cluster manager says of the application's executors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// There will be an executor, or there is one already. May be said again, also by another master.
    Granted(Grant),
    /// The executor's node is to leave, with all executors there. Said of each of them, and maybe again.
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
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RosterEvent {
    /// The cluster manager has said something.
    Told(News),
    /// An executor of the driver's own build asks to be let in; answered by [`RosterEffect::Admit`] or
    /// [`RosterEffect::Refuse`].
    Registers {
        /// Who it says it is.
        executor: ExecutorId,
        /// Its stream.
        stream: StreamId,
    },
    /// A stream has ended, and all that came on it was handed on.
    StreamEnded {
        /// The stream.
        stream: StreamId,
    },
    /// An executor does not work as it must: it is silent, or says what makes no sense.
    GiveUp {
        /// Its stream.
        stream: StreamId,
        /// What it does not do, in words for people.
        reason: String,
    },
    /// The driver has closed a stream by its own wish: that the executor then ends is not its fault.
    Dropped {
        /// The stream.
        stream: StreamId,
        /// Why, in words for people.
        reason: String,
    },
    /// The driver gives an executor back to the cluster.
    Retire {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Why, in words for people.
        reason: String,
    },
    /// An executor was told to end when it holds nothing any more: that it does is no loss.
    Leaving {
        /// The executor's number within its application.
        executor: ExecutorId,
    },
    /// The deadline has come.
    Wake,
}

/// What is to be done about it. Nothing of it waits.
#[derive(Clone, Debug)]
pub enum RosterEffect {
    /// The stream's executor is in: it is answered, then the schedulers hear of it.
    Admit {
        /// The stream.
        stream: StreamId,
    },
    /// The stream's executor may not come in, and is told so.
    Refuse {
        /// The stream.
        stream: StreamId,
        /// Why, in words for people.
        reason: String,
    },
    /// The stream is to be closed, after what is queued there.
    Close {
        /// The stream.
        stream: StreamId,
        /// Why, in words for people.
        reason: String,
    },
    /// The cluster manager is to end an executor, whatever it does.
    Kill {
        /// The executor's number within its application.
        executor: ExecutorId,
    },
    /// The schedulers are to hear this.
    Tell(DriverEvent),
    /// The schedulers are to hear that a node leaves with these executors: all at once, so that none of them hands over to
    /// another.
    NodeLeaves {
        /// Those of which it is news.
        executors: Vec<ExecutorId>,
        /// What happened, in words for people.
        message: String,
    },
    /// So many cores are granted, without those of nodes that leave.
    Cores(u32),
}
