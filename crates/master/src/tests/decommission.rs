//! Workers that are to leave.

use std::time::Duration;

use firesteel_rpc::proto::deploy::{
    ExecutorState, ExecutorUpdated, RegisterWorker, RequestExecutors, WorkerLatestState, from_master::Message as To,
    to_master,
};

use super::*;
use crate::WorkerState;

/// A registration of worker `w<n>` that says that it is to leave.
fn register_leaving(n: u32, executors: Vec<ExecutorDescription>) -> to_master::Message {
    let to_master::Message::RegisterWorker(m) = register_worker(&format!("w{n}"), n, 4, 1024, executors) else {
        panic!("a registration")
    };
    to_master::Message::RegisterWorker(RegisterWorker { decommissioning: true, ..m })
}

fn decommissioned(messages: &[from_master::Message]) -> Vec<u32> {
    let of = |m: &from_master::Message| match m {
        To::ExecutorUpdated(m) if m.state() == ExecutorState::Decommissioned => Some(m.executor_id),
        _ => None,
    };
    messages.iter().filter_map(of).collect()
}

#[test]
fn nothing_is_placed_on_a_worker_that_leaves() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    c.say(1, leaves("w1"));
    assert_eq!(c.master.workers()["w1"].state(), WorkerState::Decommissioned);
    c.application(10, application(None, 512, None));
    assert_eq!(c.launches(), []);
    c.worker(2, 4, 1024);
    assert_eq!(c.launches(), [(2, 0, 4)]);
}

#[test]
fn executors_of_a_worker_that_leaves_live_on_and_are_replaced_at_once_where_cores_are_free() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(Some(4), 512, None));
    c.state(1, &app, 0, ExecutorState::Running);
    c.worker(2, 4, 1024);
    c.said.clear();
    c.say(1, leaves("w1"));
    let said = c.said.clone();
    assert_eq!(decommissioned(&c.heard(10)), [0]);
    c.said = said;
    assert_eq!(c.launches(), [(2, 1, 4)]);
    assert_eq!(c.master.applications()[&app].cores_granted, 4, "the old one does not count");
    assert_eq!(c.master.workers()["w1"].cores_free(), 0, "nobody gets its cores");
    c.say(1, leaves("w1"));
    assert_eq!(c.heard(10), [], "a repeated word is no news");
    // It ends by itself, with exit status 0.
    c.say(1, ended(&app, 0, ExecutorState::Exited, Some(0), None, true));
    assert!(matches!(
        &c.heard(10)[..],
        [To::ExecutorUpdated(ExecutorUpdated { executor_id: 0, exit_code: Some(0), .. })]
    ));
    assert_eq!(c.master.workers()["w1"].cores_free(), 4);
    assert_eq!(c.launches(), []);
}

#[test]
fn a_bad_end_of_an_executor_that_leaves_says_nothing_about_its_application() {
    let mut c = Cluster::new(MasterRules { max_executor_retries: 1, ..MasterRules::default() });
    c.worker(1, 4, 1024);
    let app = c.application(10, application(Some(4), 512, None));
    c.say(1, leaves("w1"));
    c.say(1, ended(&app, 0, ExecutorState::Exited, Some(1), None, true));
    assert!(c.master.applications().contains_key(&app));
    assert_eq!(c.master.applications()[&app].retries, 0);
}

#[test]
fn executors_that_leave_do_not_count_towards_what_the_application_asked_for() {
    let mut c = Cluster::default();
    c.worker(1, 1, 1024);
    let app = c.application(10, application(None, 512, Some(1)));
    c.say(10, to_master::Message::RequestExecutors(RequestExecutors { app_id: app.into(), total: 1 }));
    c.say(1, leaves("w1"));
    c.said.clear();
    c.worker(2, 4, 4096);
    assert_eq!(c.launches(), [(2, 1, 1)]);
}

#[test]
fn a_worker_that_has_left_is_forgotten_without_delay_and_one_that_lost_its_stream_is_not() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(None, 512, None));
    c.say(1, leaves("w1"));
    c.close(1);
    c.pass(Duration::from_millis(999));
    assert!(c.master.workers().contains_key("w1"), "it runs an executor and may come back");
    c.say(2, register_leaving(1, vec![described(&app, 0, ExecutorState::Running)]));
    let heard = c.heard(2);
    assert!(matches!(&heard[..], [To::RegisteredWorker(m)] if m.duplicate), "{heard:?}");
    assert_eq!(c.master.workers()["w1"].state(), WorkerState::Decommissioned);
    c.state(2, &app, 0, ExecutorState::Exited);
    c.close(2);
    c.pass(Duration::ZERO);
    assert!(c.master.workers().is_empty());
}

#[test]
fn what_a_leaving_worker_missed_to_say_it_says_when_it_comes_back_or_beats() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(None, 512, None));
    c.close(1);
    c.said.clear();
    c.say(2, register_leaving(1, vec![described(&app, 0, ExecutorState::Running)]));
    assert_eq!(decommissioned(&c.heard(10)), [0]);

    c.worker(3, 4, 1024);
    c.said.clear();
    c.say(
        3,
        to_master::Message::WorkerLatestState(WorkerLatestState {
            worker_id: "w3".to_owned(),
            executors: vec![described(&app, 1, ExecutorState::Running)],
            decommissioning: true,
            ..Default::default()
        }),
    );
    assert_eq!(decommissioned(&c.heard(10)), [1]);
}

#[test]
fn a_new_master_places_nothing_on_a_worker_that_leaves_and_has_its_executors_ended() {
    let mut c = Cluster::default();
    let app = c.application(10, application(Some(4), 512, None));
    c.say(1, register_leaving(1, vec![described(&app, 7, ExecutorState::Running)]));
    let heard = c.heard(1);
    assert!(says!(heard, To::KillExecutor(_)));
    assert!(!says!(heard, To::LaunchExecutor(_)));
    assert_eq!(c.master.applications()[&app].cores_granted, 0);
    c.worker(2, 4, 1024);
    assert_eq!(c.launches(), [(2, 8, 4)], "the stranger's cores are not the application's any more");
    c.state(1, &app, 7, ExecutorState::Killed);
    assert_eq!(c.launches(), []);
}

#[test]
fn a_driver_that_comes_back_is_told_which_of_its_executors_leave() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let description = application(None, 512, None);
    let app = c.application(10, description.clone());
    c.close(10);
    c.say(1, leaves("w1"));
    c.said.clear();
    c.say(11, register_application(description, &app));
    let heard = c.heard(11);
    assert!(
        matches!(&heard[..], [To::RegisteredApplication(_), To::ExecutorAdded(_), To::ExecutorUpdated(_)]),
        "{heard:?}"
    );
    assert_eq!(decommissioned(&heard), [0]);
}

#[test]
fn an_application_that_ends_takes_its_leaving_executors_with_it() {
    let mut c = Cluster::default();
    c.worker(1, 4, 1024);
    let app = c.application(10, application(None, 512, None));
    c.say(1, leaves("w1"));
    c.close(10);
    c.said.clear();
    c.pass(Duration::from_secs(3));
    assert!(says!(c.heard(1), To::KillExecutor(_)));
    c.state(1, &app, 0, ExecutorState::Killed);
    assert!(c.master.executors().is_empty());
}
