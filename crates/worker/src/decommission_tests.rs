//! A worker that is to leave the cluster.

use super::*;

fn said_that_it_leaves(f: &Fixture) -> usize {
    let said = |e: &&WorkerEffect| matches!(e, WorkerEffect::Send { message: To::WorkerDecommissioning(m), .. } if m.worker_id == "w");
    f.out.iter().filter(said).count()
}

fn leaves(f: &Fixture) -> usize {
    f.out.iter().filter(|e| **e == WorkerEffect::Leave).count()
}

#[test]
fn an_idle_worker_says_that_it_leaves_and_leaves() {
    let mut f = Fixture::registered();
    f.event(WorkerEvent::Decommission);
    assert!(f.worker.is_decommissioning());
    assert!(matches!(
        &f.out[..],
        [WorkerEffect::Send { message: To::WorkerDecommissioning(_), .. }, WorkerEffect::Leave]
    ));
    f.event(WorkerEvent::Decommission);
    f.wait();
    assert_eq!((said_that_it_leaves(&f), leaves(&f)), (1, 1), "once each");
}

#[test]
fn a_worker_leaves_when_its_last_executor_has_ended() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.launch("a", 1);
    f.event(WorkerEvent::Decommission);
    f.end("a", 0, Some(0));
    assert_eq!((said_that_it_leaves(&f), leaves(&f)), (1, 0));
    f.end("a", 1, Some(0));
    let [.., WorkerEffect::Send { message: To::ExecutorStateChanged(end), .. }, WorkerEffect::Leave] = &f.out[..]
    else {
        panic!("first the end, then the leave: {:?}", f.out)
    };
    assert_eq!((end.executor_id, end.state()), (1, ExecutorState::Exited));
}

#[test]
fn a_launch_that_crossed_the_word_is_refused_and_a_repeated_one_ignored() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.event(WorkerEvent::Decommission);
    f.out.clear();
    f.launch("a", 0);
    assert_eq!(f.out, [], "it runs");
    f.launch("a", 1);
    let reported = f.reported();
    assert_eq!(reported.len(), 1);
    assert_eq!((reported[0].executor_id, reported[0].state()), (1, ExecutorState::Lost));
    assert!(reported[0].message.contains("decommissioned"));
    assert_eq!(f.worker.executors().count(), 1);
}

#[test]
fn every_master_that_it_registers_with_is_told() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.event(WorkerEvent::Decommission);
    f.disconnect();
    f.out.clear();
    f.wait();
    f.connect();
    assert!(
        matches!(f.out.last(), Some(WorkerEffect::Send { message: To::RegisterWorker(m), .. }) if m.decommissioning)
    );
    f.hear(accepted());
    assert_eq!((said_that_it_leaves(&f), leaves(&f)), (1, 0));
    let latest = |e: &WorkerEffect| matches!(e, WorkerEffect::Send { message: To::WorkerLatestState(m), .. } if m.decommissioning);
    assert!(f.out.iter().any(latest));
}

#[test]
fn a_word_during_the_registration_is_said_after_it() {
    let mut f = Fixture::new();
    f.event(WorkerEvent::Start);
    f.connect();
    f.event(WorkerEvent::Decommission);
    assert_eq!((said_that_it_leaves(&f), leaves(&f)), (0, 1), "with nothing to run it needs no master");
    f.hear(accepted());
    assert_eq!(said_that_it_leaves(&f), 1);
}

#[test]
fn a_worker_without_a_master_leaves_when_it_is_empty() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.disconnect();
    f.event(WorkerEvent::Decommission);
    assert_eq!(leaves(&f), 0);
    f.end("a", 0, Some(0));
    assert_eq!(leaves(&f), 1);
}
