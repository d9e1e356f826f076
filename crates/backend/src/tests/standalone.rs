//! What a master's messages mean.

use firesteel_common::ExecutorId;
use firesteel_rpc::proto::deploy::{ExecutorAdded, ExecutorState, ExecutorUpdated, WorkerRemoved};

use crate::{Grant, News, standalone};

#[test]
fn a_master_grants_by_worker() {
    let (worker_id, host) = ("w".to_owned(), "h".to_owned());
    let added = ExecutorAdded { executor_id: 3, worker_id, host, cores: 2, memory_mb: 1024 };
    let grant = Grant { executor: ExecutorId(3), node: "w".to_owned(), host: "h".to_owned(), cores: 2 };
    assert_eq!(standalone::added(added), News::Granted(grant));
}

#[test]
fn an_executor_that_lives_is_no_news_unless_its_worker_leaves() {
    let update = |state: ExecutorState| ExecutorUpdated {
        executor_id: 3,
        state: state.into(),
        message: "so".to_owned(),
        ..ExecutorUpdated::default()
    };
    assert_eq!(standalone::updated(update(ExecutorState::Running)), None);
    let leaves = News::NodeLeaves { executor: ExecutorId(3), message: "so".to_owned() };
    assert_eq!(standalone::updated(update(ExecutorState::Decommissioned)), Some(leaves));
    let ended = standalone::updated(update(ExecutorState::Lost));
    assert!(matches!(&ended, Some(News::Ended { executor: ExecutorId(3), loss }) if loss.message == "so"), "{ended:?}");
}

#[test]
fn a_lost_worker_is_a_lost_node() {
    let (worker_id, message) = ("w".to_owned(), "gone".to_owned());
    let lost = News::NodeLost { node: "w".to_owned(), message: "gone".to_owned() };
    assert_eq!(standalone::removed(WorkerRemoved { worker_id, message }), lost);
}
