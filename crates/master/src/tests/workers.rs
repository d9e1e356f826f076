//! Registration, heartbeats, reconciliation and loss of workers.

use std::time::Duration;

use firesteel_rpc::proto::deploy::{
    ExecutorState, RegisterWorker, WorkerLatestState, from_master::Message as To, to_master,
};

use super::*;

#[test]
fn a_worker_is_told_the_timeout_it_is_held_to() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let heard = c.heard(1);
    assert!(matches!(&heard[..], [To::RegisteredWorker(m)]
        if m.worker_timeout_ms == 60_000 && m.master_url == "spark://m:7077" && !m.duplicate));
    assert_eq!(c.master.workers()["w1"].cores_free(), 4);
}

#[test]
fn a_worker_of_another_protocol_version_is_refused_with_both_versions() {
    let mut c = Cluster::default();
    let m = RegisterWorker {
        protocol_version: 999,
        worker_id: "w".to_owned(),
        cores: 1,
        memory_mb: 1,
        ..Default::default()
    };
    c.say(1, to_master::Message::RegisterWorker(m));
    let heard = c.heard(1);
    assert!(
        matches!(&heard[..], [To::RegisterWorkerFailed(m)] if m.reason.contains("999") && m.reason.contains(&firesteel_rpc::PROTOCOL_VERSION.to_string()))
    );
}

#[test]
fn a_worker_with_nothing_to_offer_is_refused() {
    let mut c = Cluster::default();
    c.worker(1, 0, 1024);
    assert!(says!(c.heard(1), To::RegisterWorkerFailed(_)));
    c.worker(1, 1, 0);
    assert!(says!(c.heard(1), To::RegisterWorkerFailed(_)));
}

#[test]
fn a_worker_that_stays_silent_is_removed_after_the_timeout_and_not_before() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    for _ in 0..5 {
        c.pass(Duration::from_secs(59));
        c.say(1, beat("w1"));
    }
    c.pass(Duration::from_secs(59));
    assert!(c.master.workers().contains_key("w1"));
    c.pass(Duration::from_secs(1));
    assert!(c.master.workers().is_empty());
    assert!(c.said.contains(&MasterEffect::Close { connection: ConnectionId(1) }));
    assert_eq!(c.master.next_deadline(), None);
}

#[test]
fn a_removed_worker_that_beats_is_told_to_register_again() {
    let mut c = Cluster::default();
    c.say(1, beat("w1"));
    assert!(says!(c.heard(1), To::ReconnectWorker(_)));
}

#[test]
fn an_id_in_use_by_a_live_worker_elsewhere_is_refused() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    c.say(2, register_worker("w1", 99, 4, 1024, Vec::new()));
    let heard = c.heard(2);
    assert!(matches!(&heard[..], [To::RegisterWorkerFailed(m)] if m.reason.contains("h:1")));
    assert_eq!(c.master.workers()["w1"].connection, Some(ConnectionId(1)));
}

#[test]
fn two_machines_with_one_address_do_not_take_turns() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    c.application(10, application(None, 512, None));
    for n in 0..5 {
        c.say(2 + n, register_worker("new", 1, 4, 1024, Vec::new()));
        let heard = c.heard(2 + n);
        assert!(
            matches!(&heard[..], [To::RegisterWorkerFailed(m)]
                if m.held && m.reason.contains("live worker w1") && m.reason.contains("h:1")),
            "{heard:?}"
        );
    }
    assert_eq!(c.master.workers()["w1"].connection, Some(ConnectionId(1)));
    assert_eq!(c.master.workers().len(), 1);
}

#[test]
fn another_process_with_the_id_and_address_of_a_live_worker_is_refused() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let thief = |m| match m {
        to_master::Message::RegisterWorker(m) => {
            to_master::Message::RegisterWorker(RegisterWorker { incarnation: b"thief".to_vec(), ..m })
        }
        m => m,
    };
    c.say(2, thief(register_worker("w1", 1, 4, 1024, Vec::new())));
    assert!(matches!(&c.heard(2)[..], [To::RegisterWorkerFailed(m)] if m.held));
    assert_eq!(c.master.workers()["w1"].connection, Some(ConnectionId(1)));
    // Where the old one is gone, it is another worker.
    c.close(1);
    c.say(2, thief(register_worker("w1", 1, 4, 1024, Vec::new())));
    assert!(matches!(&c.heard(2)[..], [To::RegisteredWorker(m)] if !m.duplicate));
}

#[test]
fn who_is_no_worker_may_not_speak_as_one_and_who_is_no_driver_not_as_that() {
    for role in [Role::Client, Role::Driver, Role::Executor] {
        let mut c = Cluster::default();
        c.say_as(role, 1, register_worker("w1", 1, 4, 1024, Vec::new()));
        assert!(c.said.contains(&MasterEffect::Close { connection: ConnectionId(1) }));
        let heard = c.heard(1);
        assert!(
            matches!(&heard[..], [To::RegisterWorkerFailed(m)] if !m.held && m.reason.contains(role.as_str())),
            "{heard:?}"
        );
        assert!(c.master.workers().is_empty());
    }
    for role in [Role::Client, Role::Worker] {
        let mut c = Cluster::default();
        c.say_as(role, 1, register_application(application(None, 512, None), ""));
        assert!(c.said.contains(&MasterEffect::Close { connection: ConnectionId(1) }));
        assert!(says!(c.heard(1), To::RegisterApplicationFailed(_)));
        assert!(c.master.applications().is_empty());
    }
    // A worker's stream that turns to something else is over.
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    c.say_as(Role::Worker, 1, register_application(application(None, 512, None), ""));
    assert_eq!(c.master.workers()["w1"].connection, None);
}

#[test]
fn a_worker_at_the_address_of_one_that_is_gone_replaces_it_and_its_executors_are_lost() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(None, 512, None));
    c.said.clear();
    c.close(1);
    c.say(2, register_worker("new", 1, 4, 1024, Vec::new()));
    assert_eq!(c.master.workers().keys().collect::<Vec<_>>(), ["new"]);
    let said = c.said.clone();
    assert!(matches!(&c.heard(10)[0], To::ExecutorUpdated(m)
        if m.state() == ExecutorState::Lost && m.worker_lost && m.executor_id == 0));
    c.said = said;
    assert_eq!(c.launches(), [(2, 1, 4)]);
    assert_eq!(c.master.applications()[&app].cores_granted, 4);
}

#[test]
fn the_same_worker_over_a_new_stream_keeps_its_executors_and_loses_what_it_does_not_have() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let app = c.application(10, application(Some(2), 512, Some(1)));
    c.state(1, &app, 0, ExecutorState::Running);
    c.said.clear();
    c.close(1);
    c.say(2, register_worker("w1", 1, 4, 4096, vec![described(&app, 0, ExecutorState::Running)]));
    assert!(matches!(&c.said[0], MasterEffect::Send { to, message: To::ExecutorUpdated(m) }
        if to.0 == 10 && m.executor_id == 1 && m.state() == ExecutorState::Lost && !m.worker_lost));
    let heard = c.heard(2);
    assert!(matches!(&heard[0], To::RegisteredWorker(m) if m.duplicate));
    assert_eq!(launch_of(&heard).unwrap().executor_id, 2);
    assert!(!says!(heard, To::KillExecutor(_)));
}

#[test]
fn a_worker_that_comes_back_before_its_old_stream_was_seen_to_close_is_kept() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    c.say(2, register_worker("w1", 1, 4, 4096, Vec::new()));
    assert!(c.said.contains(&MasterEffect::Close { connection: ConnectionId(1) }));
    assert!(matches!(&c.heard(2)[..], [To::RegisteredWorker(m)] if m.duplicate));
    c.close(1);
    c.pass(Duration::from_secs(1));
    assert!(c.master.workers().contains_key("w1"));
}

#[test]
fn a_repeated_registration_changes_nothing() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    c.application(10, application(None, 512, None));
    let before = c.master.clone();
    c.worker(1, 4, 4096);
    assert_eq!(c.master, before);
}

#[test]
fn executors_of_a_worker_whose_stream_closed_are_lost_after_the_grace_and_placed_elsewhere() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    c.application(10, application(Some(4), 512, None));
    c.worker(2, 4, 1024);
    c.said.clear();
    c.close(1);
    assert!(c.said.is_empty());
    c.pass(Duration::from_secs(1));
    assert!(matches!(&c.said[0], MasterEffect::Send { message: To::ExecutorUpdated(m), .. } if m.worker_lost));
    assert_eq!(c.launches(), [(2, 1, 4)]);
}

#[test]
fn drivers_are_told_that_a_worker_is_lost_after_the_news_of_its_executors_and_also_without_any() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(Some(4), 512, None));
    c.application(20, application(Some(4), 512, None));
    c.close(1);
    c.said.clear();
    c.pass(Duration::from_secs(1));
    let said = c.said.clone();
    assert!(matches!(&c.heard(10)[..], [To::ExecutorUpdated(_), To::WorkerRemoved(m)] if m.worker_id == "w1"));
    c.said = said;
    assert!(matches!(&c.heard(20)[..], [To::WorkerRemoved(m)] if m.message.contains("closed its stream")));
    c.worker(2, 4, 1024);
    c.state(2, &app, 1, ExecutorState::Exited);
    c.close(2);
    c.pass(Duration::from_secs(1));
    assert!(says!(c.heard(10), To::WorkerRemoved(_)));
}

#[test]
fn a_worker_without_a_stream_gets_no_executors() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    c.close(1);
    c.application(10, application(None, 512, None));
    assert_eq!(c.launches(), []);
}

#[test]
fn what_a_new_worker_runs_without_the_masters_wish_is_killed() {
    let mut c = Cluster::default();
    c.say(1, register_worker("w1", 1, 4, 1024, vec![described("app-x", 7, ExecutorState::Running)]));
    let heard = c.heard(1);
    assert!(matches!(&heard[1], To::KillExecutor(m) if m.app_id == "app-x" && m.executor_id == 7));
    assert!(says!(heard, To::ApplicationFinished(_)));
}

#[test]
fn what_an_earlier_master_launched_keeps_its_cores_until_it_is_gone() {
    let mut c = Cluster::default();
    let app = c.application(10, application(None, 512, Some(1)));
    c.say(1, register_worker("w1", 1, 4, 1024, vec![described(&app, 7, ExecutorState::Running)]));
    // Memory for two executors, of which one is taken a little of by the stranger.
    assert_eq!(c.launches(), [(1, 8, 1)]);
    c.state(1, &app, 7, ExecutorState::Killed);
    assert_eq!(c.launches(), [(1, 9, 1)]);
    c.say(2, register_worker("w2", 2, 1, 1024, vec![described("app-x", 3, ExecutorState::Running)]));
    assert_eq!(c.launches(), [], "the only core is not free yet");
    c.state(2, "app-x", 3, ExecutorState::Killed);
    assert_eq!(c.launches(), [(2, 10, 1)]);
}

fn latest(executors: Vec<ExecutorDescription>) -> to_master::Message {
    to_master::Message::WorkerLatestState(WorkerLatestState {
        worker_id: "w1".to_owned(),
        executors,
        ..Default::default()
    })
}

#[test]
fn an_executor_missing_from_the_latest_state_is_lost_unless_its_launch_is_recent() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(None, 512, None));
    c.said.clear();
    c.say(1, latest(Vec::new()));
    assert!(c.said.is_empty());
    c.pass(Duration::from_secs(15));
    c.say(1, latest(vec![described(&app, 0, ExecutorState::Running)]));
    assert_eq!(c.master.executors().len(), 1);
    assert!(says!(c.heard(10), To::ExecutorUpdated(_)), "the lost report of its start is made up for");
    c.say(1, latest(Vec::new()));
    // The worker may have got the launch only now, after a pause: its cores are free when it says that it has nothing.
    assert!(says!(c.heard(1), To::KillExecutor(_)));
    c.state(1, &app, 0, ExecutorState::Lost);
    assert_eq!(c.launches(), [(1, 1, 4)]);
}

#[test]
fn a_lost_kill_is_said_again() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(None, 512, None));
    c.close(10);
    c.pass(Duration::from_secs(3));
    c.said.clear();
    c.say(1, latest(vec![described(&app, 0, ExecutorState::Running)]));
    assert!(says!(c.heard(1), To::KillExecutor(_)));
}

#[test]
fn a_worker_that_names_what_cannot_be_is_refused_or_loses_its_stream() {
    for id in ["", "..", "a/b", "w\n1", "w\x1b[31m"] {
        let mut c = Cluster::default();
        c.say(1, register_worker(id, 1, 4, 1024, Vec::new()));
        assert!(matches!(&c.heard(1)[..], [To::RegisterWorkerFailed(m)] if !m.reason.contains('\n')), "{id:?}");
    }
    let running = |app: &str| described(app, 0, ExecutorState::Running);
    let mut c = Cluster::default();
    c.say(1, register_worker("w1", 1, 4, 1024, vec![running("../x")]));
    assert!(says!(c.heard(1), To::RegisterWorkerFailed(_)));
    for (n, message) in [
        (1, ended("../x", 0, ExecutorState::Exited, None, None, true)),
        (
            2,
            to_master::Message::WorkerLatestState(WorkerLatestState {
                worker_id: "w2".to_owned(),
                executors: vec![running("/etc")],
                ..WorkerLatestState::default()
            }),
        ),
    ] {
        c.worker(n, 4, 1024);
        c.said.clear();
        c.say(n.into(), message);
        assert!(c.said.contains(&MasterEffect::Close { connection: ConnectionId(n.into()) }), "{:?}", c.said);
        assert_eq!(c.master.workers()[&*format!("w{n}")].connection, None);
    }
}

#[test]
fn figures_that_no_machine_has_are_refused_and_name_what_to_correct() {
    let mut c = Cluster::default();
    for (cores, memory_mb) in [(u32::MAX, 1024), (4, u64::MAX), (u32::MAX, u64::MAX)] {
        c.say(1, register_worker("w1", 1, cores, memory_mb, Vec::new()));
        assert!(matches!(&c.heard(1)[..], [To::RegisterWorkerFailed(m)] if m.reason.contains("SPARK_WORKER_CORES")));
    }
    c.say(1, register_worker("w1", 70_000, 4, 1024, Vec::new()));
    assert!(says!(c.heard(1), To::RegisterWorkerFailed(_)));
    let endless = described("app-1", u32::MAX, ExecutorState::Running);
    c.say(1, register_worker("w1", 1, 4, 1024, vec![endless]));
    assert!(says!(c.heard(1), To::RegisterWorkerFailed(_)));
    assert!(c.master.workers().is_empty());
}
