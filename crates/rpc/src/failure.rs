//! Why a task did not succeed, from and to its message.

use firesteel_common::{BroadcastId, ExecutorId, RddId, ShuffleId, TaskFailure, TaskId};

use crate::{checked::BadField, proto::executor as pb};

/// The message for a failure. The address of a failed fetch is not part of it; set it where it is known.
///
/// `ExecutorLost` is known to the driver alone and never travels; were it sent, it would arrive as an exception.
pub(crate) fn failure_to_proto(failure: TaskFailure) -> pb::TaskFailure {
    use pb::task_failure::Reason;
    let reason = match failure {
        TaskFailure::FetchFailed { shuffle, map_index, map_task, reduce, executor, message } => {
            Reason::FetchFailed(pb::FetchFailed {
                shuffle_id: shuffle.0,
                map_index,
                map_task_id: map_task.0,
                reduce_id: reduce,
                executor_id: executor.0,
                block_address: String::new(),
                message,
            })
        }
        TaskFailure::Exception { message, location, panic } => {
            Reason::Exception(pb::ExceptionFailure { message, location, panic })
        }
        TaskFailure::Killed { reason } => Reason::Killed(pb::TaskKilled { reason }),
        TaskFailure::ResultLost { message } => Reason::ResultLost(pb::ResultLost { message }),
        TaskFailure::BroadcastLost { broadcast, message } => {
            Reason::BroadcastLost(pb::BroadcastLost { broadcast_id: broadcast.0, message })
        }
        TaskFailure::CachedPartitionDamaged { rdd, partition, address, message } => {
            let block_address = address;
            Reason::CachedPartitionDamaged(pb::CachedPartitionDamaged {
                rdd_id: rdd.0,
                partition,
                block_address,
                message,
            })
        }
        TaskFailure::CheckpointUnreadable { rdd, partition, path, message } => {
            Reason::CheckpointUnreadable(pb::CheckpointUnreadable { rdd_id: rdd.0, partition, path, message })
        }
        lost @ TaskFailure::ExecutorLost { .. } => {
            Reason::Exception(pb::ExceptionFailure { message: lost.to_string(), location: String::new(), panic: false })
        }
    };
    pb::TaskFailure { reason: Some(reason) }
}

/// The failure that a message says.
pub(crate) fn failure_from_proto(failure: pb::TaskFailure) -> Result<TaskFailure, BadField> {
    use pb::task_failure::Reason;
    Ok(match failure.reason {
        Some(Reason::FetchFailed(f)) => TaskFailure::FetchFailed {
            shuffle: ShuffleId(f.shuffle_id),
            map_index: f.map_index,
            map_task: TaskId(f.map_task_id),
            reduce: f.reduce_id,
            executor: ExecutorId(f.executor_id),
            message: f.message,
        },
        Some(Reason::Exception(e)) => {
            TaskFailure::Exception { message: e.message, location: e.location, panic: e.panic }
        }
        Some(Reason::Killed(k)) => TaskFailure::Killed { reason: k.reason },
        Some(Reason::ResultLost(r)) => TaskFailure::ResultLost { message: r.message },
        Some(Reason::BroadcastLost(b)) => {
            TaskFailure::BroadcastLost { broadcast: BroadcastId(b.broadcast_id), message: b.message }
        }
        Some(Reason::CachedPartitionDamaged(d)) => TaskFailure::CachedPartitionDamaged {
            rdd: RddId(d.rdd_id),
            partition: d.partition,
            address: d.block_address,
            message: d.message,
        },
        Some(Reason::CheckpointUnreadable(c)) => TaskFailure::CheckpointUnreadable {
            rdd: RddId(c.rdd_id),
            partition: c.partition,
            path: c.path,
            message: c.message,
        },
        None => return Err(BadField::missing("TaskFailure", "reason")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_that_travels_comes_back_the_same() {
        for failure in [
            TaskFailure::FetchFailed {
                shuffle: ShuffleId(1),
                map_index: 2,
                map_task: TaskId(3),
                reduce: 4,
                executor: ExecutorId(5),
                message: "gone".into(),
            },
            TaskFailure::Exception { message: "boom".into(), location: "a.rs:1:2".into(), panic: true },
            TaskFailure::Killed { reason: "cancelled".into() },
            TaskFailure::ResultLost { message: "lost".into() },
            TaskFailure::BroadcastLost { broadcast: BroadcastId(6), message: "no piece".into() },
            TaskFailure::CachedPartitionDamaged {
                rdd: RddId(7),
                partition: 8,
                address: "h:1".into(),
                message: "cut off".into(),
            },
            TaskFailure::CheckpointUnreadable {
                rdd: RddId(9),
                partition: 10,
                path: "/c/part-00010".into(),
                message: "not there".into(),
            },
        ] {
            assert_eq!(failure_from_proto(failure_to_proto(failure.clone())), Ok(failure));
        }
    }

    #[test]
    fn a_failure_without_a_reason_is_an_error() {
        let e = failure_from_proto(pb::TaskFailure { reason: None }).unwrap_err();
        assert_eq!(e.to_string(), "reason of a TaskFailure is not in order: it is missing");
    }
}
