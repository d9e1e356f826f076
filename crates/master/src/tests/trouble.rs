//! Executors that end badly: the delay before the next one, workers that are avoided, and when an application fails.

use firesteel_rpc::proto::deploy::{ExecutorState, ExecutorStateChanged, Parting, to_master};

use super::*;

/// Two workers of one core each, on connections 1 and 2, neither of which is ever too silent; nothing runs yet.
fn two_workers() -> Cluster {
    let mut c = Cluster::new(MasterRules { worker_timeout: Duration::from_secs(1_000_000), ..MasterRules::default() });
    c.worker(1, 1, 1024);
    c.worker(2, 1, 1024);
    c
}

fn early(c: &mut Cluster, worker: u64, app: &str, executor_id: u32) {
    c.say(
        worker,
        to_master::Message::ExecutorStateChanged(ExecutorStateChanged {
            app_id: app.to_owned(),
            executor_id,
            state: ExecutorState::Exited.into(),
            exit_code: Some(127),
            stderr_tail: "no such interpreter".to_owned(),
            ..ExecutorStateChanged::default()
        }),
    );
}

#[test]
fn a_worker_on_which_executors_end_early_is_avoided_and_the_application_goes_on_elsewhere() {
    let mut c = two_workers();
    let app = c.application(10, application(None, 512, None));
    c.state(2, &app, 1, ExecutorState::Running);
    c.said.clear();
    early(&mut c, 1, &app, 0);
    assert_eq!(c.launches(), [(1, 2, 1)], "one end may be bad luck");
    early(&mut c, 1, &app, 2);
    assert_eq!(c.launches(), []);
    let sickness = c.master.workers()["w1"].sickness.clone().unwrap();
    assert!(sickness.early_ends == 2 && sickness.reason.contains("no such interpreter"), "{sickness:?}");
    assert!(c.master.applications()[&app].troubles["w1"].is_avoided());
    assert_eq!(c.master.workers()["w2"].sickness, None);
    c.pass(Duration::from_secs(29));
    assert_eq!(c.launches(), []);
}

#[test]
fn an_application_that_waits_for_a_busy_worker_is_not_failed_by_a_sick_one() {
    let mut c = two_workers();
    let first = c.application(10, application(Some(1), 512, None));
    early(&mut c, 1, &first, 0);
    c.state(2, &first, 1, ExecutorState::Running);
    // The second gets only the sick worker, again and again, and the other when it is free.
    let second = c.application(11, application(None, 512, None));
    for executor in 0..20 {
        early(&mut c, 1, &second, executor);
        c.pass(Duration::from_secs(700));
    }
    c.said.clear();
    c.say(
        10,
        to_master::Message::UnregisterApplication(firesteel_rpc::proto::deploy::UnregisterApplication {
            app_id: first.to_string(),
        }),
    );
    c.state(2, &first, 1, ExecutorState::Killed);
    assert!(c.launches().iter().any(|(worker, ..)| *worker == 2));
    assert!(c.master.applications().contains_key(&second));
}

#[test]
fn when_no_worker_can_serve_the_application_fails_with_each_ones_reason() {
    let mut c = two_workers();
    let app = c.application(10, application(None, 512, None));
    for (worker, executor) in [(1, 0), (1, 2), (2, 1)] {
        early(&mut c, worker, &app, executor);
        assert_eq!(removed(&c.heard(10)), None);
    }
    early(&mut c, 2, &app, 3);
    let reason = removed(&c.heard(10)).unwrap();
    for part in ["w1", "w2", "exit code 127", "no such interpreter"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn a_worker_that_is_too_small_or_leaves_is_no_hope() {
    let mut c = two_workers();
    let app = c.application(10, application(None, 1024, None));
    c.worker(3, 1, 512);
    c.say(2, leaves("w2"));
    early(&mut c, 1, &app, 0);
    c.state(2, &app, 1, ExecutorState::Killed);
    early(&mut c, 1, &app, 2);
    assert!(removed(&c.heard(10)).is_some());
}

#[test]
fn with_spark_deploy_max_executor_retries_minus_1_it_never_fails() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: -1, ..MasterRules::default() });
    early(&mut c, 1, &app, 0);
    c.said.clear();
    early(&mut c, 1, &app, 1);
    assert_eq!(c.launches(), []);
    c.pass(Duration::from_secs(30));
    assert_eq!(c.launches(), [(1, 2, 1)]);
}

#[test]
fn many_executors_of_one_sick_worker_end_before_those_of_the_other_have_registered() {
    let mut c = Cluster::default();
    c.worker(1, 16, 16_384);
    c.worker(2, 16, 16_384);
    let app = c.application(10, application(None, 512, Some(1)));
    for _ in 0..3 {
        let on_first = |(_, e): &(_, &crate::ExecutorInfo)| e.worker_id == "w1";
        let there: Vec<u32> = c.master.executors().iter().filter(on_first).map(|(key, _)| key.executor_id).collect();
        there.into_iter().for_each(|executor| early(&mut c, 1, &app, executor));
    }
    assert!(c.master.applications()[&app].troubles["w1"].is_avoided());
    assert!(c.master.executors().values().all(|e| e.worker_id == "w2") && c.master.executors().len() == 16);
}

#[test]
fn a_worker_is_tried_again_after_a_while_and_when_it_serves_it_is_as_any_other() {
    let mut c = two_workers();
    let app = c.application(10, application(None, 512, None));
    c.state(2, &app, 1, ExecutorState::Running);
    early(&mut c, 1, &app, 0);
    early(&mut c, 1, &app, 2);
    c.said.clear();
    c.pass(Duration::from_secs(30));
    assert_eq!(c.launches(), [(1, 3, 1)]);
    // Still sick: it is left alone for twice as long.
    early(&mut c, 1, &app, 3);
    c.pass(Duration::from_secs(59));
    assert_eq!(c.launches(), []);
    c.pass(Duration::from_secs(1));
    assert_eq!(c.launches(), [(1, 4, 1)]);
    c.state(1, &app, 4, ExecutorState::Running);
    assert_eq!(c.master.workers()["w1"].sickness, None);
    early(&mut c, 2, &app, 1);
    assert_eq!(c.launches(), [(2, 5, 1)]);
}

#[test]
fn a_worker_that_registers_anew_is_tried_at_once() {
    let mut c = two_workers();
    let app = c.application(10, application(None, 512, None));
    c.state(2, &app, 1, ExecutorState::Running);
    early(&mut c, 1, &app, 0);
    early(&mut c, 1, &app, 2);
    c.said.clear();
    // Over another stream.
    c.say(3, register_worker("w1", 1, 1, 1024, Vec::new()));
    assert_eq!(c.launches(), [(3, 3, 1)]);
    early(&mut c, 3, &app, 3);
    assert_eq!(c.launches(), []);
    // Another process at the same place, when that one is gone.
    c.close(3);
    c.said.clear();
    c.say(4, register_worker("w1b", 1, 1, 1024, Vec::new()));
    assert_eq!(c.launches(), [(4, 4, 1)]);
}

#[test]
fn workers_on_which_executors_came_to_nothing_are_taken_last() {
    let mut c = two_workers();
    let app = c.application(10, application(Some(1), 512, None));
    assert_eq!(c.launches(), [(1, 0, 1)]);
    early(&mut c, 1, &app, 0);
    assert_eq!(c.launches(), [(2, 1, 1)]);
}

#[test]
fn executors_that_end_soon_come_back_later_and_later_and_one_that_ran_well_begins_anew() {
    let (mut c, app) = one_executor(MasterRules::default());
    let mut launched_at = Vec::new();
    for executor in 0..12 {
        c.state(1, &app, executor, ExecutorState::Running);
        // With a status that user code may choose: it means nothing.
        c.say(1, ended(&app, executor, ExecutorState::Exited, Some(56), None, true));
        let ended_at = c.now;
        c.pass(Duration::from_secs(10));
        let launched = c.master.executors().values().next().unwrap().launched_at;
        launched_at.push(launched.since(ended_at).as_millis());
    }
    assert_eq!(launched_at, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]);
    c.state(1, &app, 12, ExecutorState::Running);
    c.pass(Duration::from_secs(3));
    c.said.clear();
    c.say(1, ended(&app, 12, ExecutorState::Exited, Some(56), None, true));
    assert_eq!(c.launches(), [(1, 13, 1)]);
}

#[test]
fn an_executor_that_ended_in_order_is_replaced_at_once() {
    let (mut c, app) = one_executor(MasterRules { max_executor_retries: 1, ..MasterRules::default() });
    for executor in 0..5 {
        c.state(1, &app, executor, ExecutorState::Running);
        c.said.clear();
        c.say(
            1,
            to_master::Message::ExecutorStateChanged(ExecutorStateChanged {
                app_id: app.to_string(),
                executor_id: executor,
                state: ExecutorState::Exited.into(),
                exit_code: Some(0),
                registered: true,
                parting: Parting::InOrder.into(),
                ..ExecutorStateChanged::default()
            }),
        );
        assert_eq!(c.launches(), [(1, executor + 1, 1)]);
    }
}

#[test]
fn the_only_worker_fails_the_application_at_the_second_early_end() {
    let (mut c, app) = one_executor(MasterRules::default());
    early(&mut c, 1, &app, 0);
    assert_eq!(removed(&c.heard(10)), None);
    early(&mut c, 1, &app, 1);
    let reason = removed(&c.heard(10)).unwrap();
    assert!(reason.contains("exit code 127") && reason.contains("no such interpreter") && reason.contains("w1"));
    assert!(c.master.applications().is_empty());
}

#[test]
fn one_that_ran_between_early_ends_forgives_the_first() {
    let (mut c, app) = one_executor(MasterRules::default());
    early(&mut c, 1, &app, 0);
    c.state(1, &app, 1, ExecutorState::Running);
    c.say(1, ended(&app, 1, ExecutorState::Exited, Some(2), None, true));
    c.pass(Duration::from_secs(1));
    early(&mut c, 1, &app, 2);
    assert!(c.master.applications().contains_key(&app));
}

#[test]
fn early_ends_of_executors_that_were_there_together_are_one() {
    let mut c = Cluster::default();
    c.worker(1, 3, 4096);
    let app = c.application(10, application(None, 512, Some(1)));
    for executor in 0..3 {
        early(&mut c, 1, &app, executor);
    }
    assert!(c.master.applications().contains_key(&app));
    // These were launched after the first end; as long as one of them may come, there is hope.
    early(&mut c, 1, &app, 4);
    early(&mut c, 1, &app, 3);
    assert!(c.master.applications().contains_key(&app));
    early(&mut c, 1, &app, 5);
    assert!(!c.master.applications().contains_key(&app));
}

#[test]
fn early_ends_on_different_workers_are_not_added_up() {
    let mut c = two_workers();
    let app = c.application(10, application(None, 512, None));
    early(&mut c, 1, &app, 0);
    early(&mut c, 2, &app, 1);
    assert!(c.master.applications().contains_key(&app));
}
