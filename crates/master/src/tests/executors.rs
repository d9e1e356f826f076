//! States of executors: retries, early ends, kills.

use firesteel_rpc::proto::deploy::{ExecutorState, KillExecutors, from_master::Message as To, to_master};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_driver_hears_of_states_with_exit_code_and_stderr() {
    let (mut c, app) = one_executor(MasterRules::default());
    c.state(1, &app, 0, ExecutorState::Running);
    assert!(matches!(&c.heard(10)[..], [To::ExecutorUpdated(m)] if m.state() == ExecutorState::Running));
    c.say(
        1,
        to_master::Message::ExecutorStateChanged(ExecutorStateChanged {
            app_id: app.into(),
            executor_id: 0,
            state: ExecutorState::Exited.into(),
            message: "exited".to_owned(),
            exit_code: Some(3),
            stderr_tail: "oh".to_owned(),
            registered: true,
            ..ExecutorStateChanged::default()
        }),
    );
    assert!(matches!(&c.heard(10)[..], [To::ExecutorUpdated(m), To::ExecutorAdded(_)]
        if m.exit_code == Some(3) && m.stderr_tail == "oh" && m.message == "exited"));
}

#[test]
fn a_lost_executor_is_launched_again_under_a_new_id() {
    let (mut c, app) = one_executor(MasterRules::default());
    c.state(1, &app, 0, ExecutorState::Running);
    c.say(1, ended(&app, 0, ExecutorState::Exited, None, Some(9), true));
    assert_eq!(c.launches(), [(1, 1, 1)]);
}

#[test]
fn too_many_bad_ends_in_a_row_fail_the_application() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: 3, ..MasterRules::default() });
    for executor in 0..2 {
        c.say(1, ended(&app, executor, ExecutorState::Exited, Some(1), None, true));
        assert_eq!(removed(&c.heard(10)), None);
        c.pass(MINUTE);
    }
    c.say(1, ended(&app, 2, ExecutorState::Exited, Some(1), None, true));
    let reason = removed(&c.heard(10)).unwrap();
    assert!(reason.contains("spark.deploy.maxExecutorRetries") && reason.contains("exit code 1"), "{reason}");
    assert!(c.master.applications().is_empty());
}

#[test]
fn an_executor_that_runs_resets_the_count() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: 2, ..MasterRules::default() });
    for executor in 0..20 {
        c.state(1, &app, executor, ExecutorState::Running);
        c.say(1, ended(&app, executor, ExecutorState::Exited, Some(1), None, true));
        c.pass(MINUTE);
    }
    assert_eq!(c.master.applications()[&app].next_executor_id, 21);
}

#[test]
fn with_an_executor_running_bad_ends_do_not_fail_the_application() {
    let mut c = Cluster::new(MasterRules { max_executor_retries: 1, ..MasterRules::default() });
    c.worker(1, 2, 1024);
    let app = c.application(10, application(None, 512, Some(1)));
    c.state(1, &app, 0, ExecutorState::Running);
    c.say(1, ended(&app, 1, ExecutorState::Exited, Some(1), None, true));
    assert!(c.master.applications().contains_key(&app));
}

#[test]
fn negative_retries_never_fail_the_application_and_exit_0_does_not_count() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: -1, ..MasterRules::default() });
    for executor in 0..20 {
        c.say(1, ended(&app, executor, ExecutorState::Exited, Some(1), None, executor % 2 == 0));
        c.pass(10 * MINUTE);
    }
    assert_eq!(c.master.applications()[&app].next_executor_id, 21);
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: 1, ..MasterRules::default() });
    for executor in 0..20 {
        c.say(1, ended(&app, executor, ExecutorState::Exited, Some(0), None, true));
        c.pass(MINUTE);
    }
    assert_eq!(c.master.applications()[&app].next_executor_id, 21);
}

#[test]
fn kills_on_request_count_as_no_failure_and_another_executor_comes() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: 1, ..MasterRules::default() });
    for executor in 0..5 {
        c.say(
            10,
            to_master::Message::KillExecutors(KillExecutors { app_id: app.to_string(), executor_ids: vec![executor] }),
        );
        assert!(says!(c.heard(1), To::KillExecutor(_)));
        c.say(1, ended(&app, executor, ExecutorState::Killed, None, Some(9), false));
        assert_eq!(c.launches(), [(1, executor + 1, 1)]);
    }
}

#[test]
fn only_its_own_driver_may_kill_an_executor() {
    let (mut c, app) = one_executor(MasterRules::default());
    c.say(11, to_master::Message::KillExecutors(KillExecutors { app_id: app.into(), executor_ids: vec![0] }));
    assert_eq!(c.said, []);
}

#[test]
fn news_of_an_executor_from_a_worker_that_does_not_have_it_is_not_believed() {
    let (mut c, app) = one_executor(MasterRules::default());
    c.worker(2, 1, 128);
    c.said.clear();
    c.say(2, ended(&app, 0, ExecutorState::Exited, Some(1), None, true));
    assert_eq!(c.said, []);
    c.state(2, &app, 0, ExecutorState::Running);
    assert!(says!(c.heard(2), To::KillExecutor(_)));
    assert_eq!(c.master.executors().len(), 1);
}

#[test]
fn a_repeated_end_is_taken_once() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: 2, ..MasterRules::default() });
    c.say(1, ended(&app, 0, ExecutorState::Exited, Some(1), None, true));
    c.said.clear();
    c.say(1, ended(&app, 0, ExecutorState::Exited, Some(1), None, true));
    assert_eq!(c.said, []);
}
