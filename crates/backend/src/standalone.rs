//! A standalone cluster's words for what becomes of executors.

use firesteel_common::ExecutorId;
use firesteel_rpc::proto::deploy::{ExecutorAdded, ExecutorState, ExecutorUpdated, WorkerRemoved};

use crate::{Grant, News, loss};

/// A master has granted an executor.
pub fn added(ExecutorAdded { executor_id, worker_id, host, cores, .. }: ExecutorAdded) -> News {
    News::Granted(Grant { executor: ExecutorId(executor_id), node: worker_id, host, cores })
}

/// What a driver should know of what an executor has become; nothing while that lives.
pub fn updated(update: ExecutorUpdated) -> Option<News> {
    let executor = ExecutorId(update.executor_id);
    if update.state() == ExecutorState::Decommissioned {
        return Some(News::NodeLeaves { executor, message: update.message });
    }
    Some(News::Ended { executor, loss: loss::of(&update)? })
}

/// A worker is gone for good.
pub fn removed(WorkerRemoved { worker_id, message }: WorkerRemoved) -> News {
    News::NodeLost { node: worker_id, message }
}
