//! Registration and end of applications, FIFO, limits on cores.

use std::time::Duration;

use firesteel_rpc::{
    Secret, Security,
    proto::deploy::{
        ApplicationBinary, ApplicationHeartbeat, ExecutorState, RequestExecutors, UnregisterApplication,
        from_master::Message as To, to_master,
    },
};

use super::*;

fn unregister(app_id: &str) -> to_master::Message {
    to_master::Message::UnregisterApplication(UnregisterApplication { app_id: app_id.to_owned() })
}

#[test]
fn applications_are_named_by_date_and_number() {
    let mut c = Cluster::default();
    assert_eq!(c.application(1, application(None, 512, None)), "app-20261121132234-0000");
    assert_eq!(c.application(2, application(None, 512, None)), "app-20261121132234-0001");
}

#[test]
fn what_could_never_run_is_refused_with_the_key_to_change() {
    let mut c = Cluster::default();
    for (description, key) in [
        (application(Some(0), 512, None), "spark.cores.max"),
        (application(None, 512, Some(0)), "spark.executor.cores"),
        (application(None, 0, None), "spark.executor.memory"),
        (application(Some(2), 512, Some(4)), "spark.executor.cores is 4"),
    ] {
        c.say(1, register_application(description, ""));
        let heard = c.heard(1);
        assert!(matches!(&heard[..], [To::RegisterApplicationFailed(m)] if m.reason.contains(key)), "{heard:?}");
    }
    assert!(c.master.applications().is_empty());
}

#[test]
fn the_first_application_gets_all_and_the_second_what_is_left() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let first = c.application(10, application(Some(3), 512, None));
    c.application(11, application(None, 512, None));
    c.application(12, application(None, 512, None));
    assert_eq!(c.launches(), [(1, 0, 3), (1, 0, 1)]);
    c.say(10, unregister(&first));
    assert_eq!(c.launches(), [], "cores are free only when the executor is gone");
    c.state(1, &first, 0, ExecutorState::Killed);
    assert_eq!(c.launches(), [(1, 1, 3)]);
    assert_eq!(c.master.applications()["app-20261121132234-0001"].cores_granted, 4);
}

#[test]
fn an_application_gets_no_more_executors_than_it_asks_for() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    c.worker(2, 4, 4096);
    let to_master::Message::RegisterApplication(m) = register_application(application(None, 512, Some(1)), "") else {
        panic!("another message")
    };
    c.say(10, to_master::Message::RegisterApplication(RegisterApplication { executor_limit: Some(1), ..m }));
    assert_eq!(c.launches(), [(1, 0, 1)]);
    let app_id = c.master.applications().keys().next().unwrap().to_string();
    let request = |total| to_master::Message::RequestExecutors(RequestExecutors { app_id: app_id.clone(), total });
    c.say(10, request(4));
    assert_eq!(c.launches(), [(2, 1, 1), (2, 2, 1), (1, 3, 1)]);
    c.say(10, request(3));
    assert_eq!(c.launches(), []);
    c.state(1, &app_id, 0, ExecutorState::Killed);
    assert_eq!(c.launches(), [], "what is given back is not replaced");
    c.state(2, &app_id, 1, ExecutorState::Lost);
    assert_eq!(c.launches().len(), 1, "what was lost is");
    c.say(11, request(8));
    assert_eq!(c.launches(), [], "nobody else asks for it");
}

#[test]
fn executors_that_are_asked_for_without_a_stream_are_launched_when_the_driver_comes_back() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let register = |app_id: &str, executor_limit| match register_application(application(None, 512, Some(1)), app_id) {
        to_master::Message::RegisterApplication(m) => {
            to_master::Message::RegisterApplication(RegisterApplication { executor_limit, ..m })
        }
        other => other,
    };
    c.say(10, register("", Some(0)));
    assert_eq!(c.launches(), []);
    let app_id = c.master.applications().keys().next().unwrap().clone();
    c.close(10);
    c.say(11, register(&app_id, Some(2)));
    assert_eq!(c.launches(), [(1, 0, 1), (1, 1, 1)]);
}

#[test]
fn a_limit_counts_executors_of_any_size() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    c.worker(2, 3, 4096);
    let to_master::Message::RegisterApplication(m) = register_application(application(None, 512, None), "") else {
        panic!("another message")
    };
    c.say(10, to_master::Message::RegisterApplication(RegisterApplication { executor_limit: Some(1), ..m }));
    assert_eq!(c.launches(), [(1, 0, 4)]);
}

#[test]
fn without_cores_max_the_masters_default_holds() {
    let mut c = Cluster::new(MasterRules { default_cores: Some(3), ..MasterRules::default() });
    c.worker(1, 8, 4096);
    c.application(10, application(None, 512, None));
    assert_eq!(c.launches(), [(1, 0, 3)]);
    c.application(11, application(Some(4), 512, None));
    assert_eq!(c.launches(), [(1, 0, 4)]);
}

#[test]
fn several_executors_of_an_application_share_a_worker() {
    let mut c = Cluster::default();
    c.worker(1, 8, 2048);
    c.application(10, application(None, 512, Some(2)));
    assert_eq!(c.launches(), [(1, 0, 2), (1, 1, 2), (1, 2, 2), (1, 3, 2)]);
}

#[test]
fn workers_with_most_free_cores_come_first() {
    let mut c = Cluster::default();
    c.worker(1, 2, 2048);
    c.worker(2, 8, 2048);
    c.application(10, application(Some(1), 512, None));
    assert_eq!(c.launches(), [(2, 0, 1)]);
}

#[test]
fn consolidation_fills_one_worker() {
    let mut c = Cluster::new(MasterRules { spread_out: false, ..MasterRules::default() });
    c.worker(1, 4, 4096);
    c.worker(2, 4, 4096);
    c.application(10, application(Some(4), 512, Some(1)));
    assert_eq!(c.launches(), [(1, 0, 1), (1, 1, 1), (1, 2, 1), (1, 3, 1)]);
}

#[test]
fn a_worker_that_joins_serves_those_who_wait() {
    let mut c = Cluster::default();
    c.application(10, application(None, 512, None));
    c.worker(1, 4, 4096);
    assert_eq!(c.launches(), [(1, 0, 4)]);
}

#[test]
fn an_unregistered_application_is_released_at_once_and_workers_are_told() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    c.worker(2, 4, 4096);
    let app = c.application(10, application(Some(4), 512, None));
    c.say(11, unregister(&app));
    assert!(c.master.applications().contains_key(&app), "only its own driver may end it");
    c.said.clear();
    c.say(10, unregister(&app));
    assert!(c.master.applications().is_empty());
    let said = c.said.clone();
    assert!(matches!(&c.heard(1)[..], [To::KillExecutor(_), To::ApplicationFinished(_)]));
    c.said = said;
    assert!(says!(c.heard(2), To::ApplicationFinished(_)));
}

#[test]
fn when_the_driver_does_not_come_back_all_is_released() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let app = c.application(10, application(None, 512, None));
    c.said.clear();
    c.close(10);
    c.pass(Duration::from_millis(2999));
    assert!(c.said.is_empty());
    c.pass(Duration::from_millis(1));
    assert!(matches!(&c.heard(1)[..], [To::KillExecutor(_), To::ApplicationFinished(_)]));
    c.state(1, &app, 0, ExecutorState::Killed);
    assert!(c.master.executors().is_empty());
    assert_eq!(c.master.workers()["w1"].cores_free(), 4);
}

#[test]
fn a_driver_that_comes_back_in_time_keeps_its_executors_and_is_told_of_them() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let description = application(None, 512, None);
    let app = c.application(10, description.clone());
    c.close(10);
    c.pass(Duration::from_secs(1));
    c.said.clear();
    c.say(11, register_application(description, &app));
    assert!(matches!(&c.heard(11)[..], [To::RegisteredApplication(r), To::ExecutorAdded(a)]
        if r.app_id == app && a.executor_id == 0));
    c.pass(Duration::from_secs(10));
    assert!(c.master.applications().contains_key(&app));
}

#[test]
fn another_driver_may_not_take_an_application_over() {
    let mut c = Cluster::default();
    let app = c.application(10, application(None, 512, None));
    // All that others can know of the driver is the same.
    let other = |m| match m {
        to_master::Message::RegisterApplication(m) => {
            to_master::Message::RegisterApplication(RegisterApplication { incarnation: b"other".to_vec(), ..m })
        }
        m => m,
    };
    for live in [true, false] {
        c.say(11, other(register_application(application(None, 512, None), &app)));
        let heard = c.heard(11);
        assert!(
            matches!(&heard[..], [To::RegisterApplicationFailed(m)] if m.reason.contains("another process")),
            "{heard:?}"
        );
        assert_eq!(c.master.applications()[&app].connection, live.then_some(ConnectionId(10)));
        c.close(10);
    }
    // The one that it belongs to may come back, even before its old stream was seen to end.
    for connection in [12, 13] {
        c.say(connection, register_application(application(None, 512, None), &app));
        assert_eq!(c.master.applications()[&app].connection, Some(ConnectionId(connection)));
    }
}

/// What a driver gets that comes with this id and token, to a master that knows nothing of it.
fn comes_back_with(rules: MasterRules, secret: Option<&str>, app_id: &str, token: Vec<u8>) -> (Cluster, Vec<To>) {
    let mut c = Cluster::standing_by(rules);
    c.master.issuer = Issuer::new(secret.map(Secret::from_bytes), [9; 32]);
    c.event(MasterEvent::Elected { records: Records::default() });
    c.worker(1, 4, 4096);
    c.said.clear();
    let to_master::Message::RegisterApplication(m) = register_application(application(None, 512, None), app_id) else {
        panic!("another message")
    };
    c.say(10, to_master::Message::RegisterApplication(RegisterApplication { token, ..m }));
    let heard = c.heard(10);
    (c, heard)
}

#[test]
fn an_id_that_leads_elsewhere_is_never_an_applications() {
    for secret in [None, Some("s")] {
        for id in ["..", "../../etc", "/etc", "a/b", "app-1\n2026 ERROR all is lost", "app\0", "-rf", "app-1"] {
            let (c, heard) = comes_back_with(MasterRules::default(), secret, id, vec![0; 48]);
            assert!(
                matches!(&heard[..], [To::RegisterApplicationFailed(m)] if !m.reason.contains('\n')),
                "{id}: {heard:?}"
            );
            assert!(c.master.applications().is_empty());
        }
    }
}

#[test]
fn after_a_restart_an_id_counts_when_a_master_with_the_same_secret_gave_it() {
    let id = AppId::issued(1_795_200_000, 3);
    let given = |secret: Option<&str>| Issuer::new(secret.map(Secret::from_bytes), [1; 32]).token(&id);
    let comes = |secret: Option<&str>, token| comes_back_with(MasterRules::default(), secret, &id, token).1;
    assert!(matches!(&comes(Some("s"), given(Some("s")))[..], [To::RegisteredApplication(m), ..] if m.app_id == id));
    for token in [given(Some("other")), given(None), Vec::new(), vec![0; 48]] {
        assert!(matches!(&comes(Some("s"), token)[..], [To::RegisterApplicationFailed(_)]));
    }
    // Without a secret nobody can prove it: the form alone counts.
    assert!(matches!(&comes(None, Vec::new())[..], [To::RegisteredApplication(_), ..]));
}

#[test]
fn nobody_takes_over_an_application_with_its_id_and_address_alone() {
    let mut c = Cluster::default();
    let description = application(None, 512, None);
    let app = c.application(10, description.clone());
    let to_master::Message::RegisterApplication(m) = register_application(description.clone(), &app) else {
        panic!("another message")
    };
    for token in [Vec::new(), vec![0; 48], Issuer::new(Security::none(), [1; 32]).token(&app)] {
        c.say(11, to_master::Message::RegisterApplication(RegisterApplication { token, ..m.clone() }));
        assert!(says!(c.heard(11), To::RegisterApplicationFailed(_)));
        assert_eq!(c.master.applications()[&app].connection, Some(ConnectionId(10)));
    }
    // Nor one that is over.
    c.say(10, unregister(&app));
    c.say(11, to_master::Message::RegisterApplication(RegisterApplication { token: Vec::new(), ..m.clone() }));
    assert!(says!(c.heard(11), To::RegisterApplicationFailed(_)));
    c.say(11, to_master::Message::RegisterApplication(m));
    assert!(says!(c.heard(11), To::RegisteredApplication(_)));
}

#[test]
fn a_repeated_registration_makes_no_second_application() {
    let mut c = Cluster::default();
    let app = c.application(10, application(None, 512, None));
    assert_eq!(c.application(10, application(None, 512, None)), app);
    assert_eq!(c.master.applications().len(), 1);
}

#[test]
fn a_driver_that_beats_is_held_to_it_and_one_that_does_not_is_not() {
    let mut c = Cluster::default();
    let beats = c.application(10, application(None, 512, None));
    let silent = c.application(11, application(None, 512, None));
    let beat = ApplicationHeartbeat { app_id: beats.to_string() };
    c.say(10, to_master::Message::ApplicationHeartbeat(beat.clone()));
    c.pass(Duration::from_secs(61));
    assert_eq!(c.master.applications().keys().collect::<Vec<_>>(), [&silent]);
    c.said.clear();
    c.say(10, to_master::Message::ApplicationHeartbeat(beat));
    assert!(says!(c.heard(10), To::ApplicationRemoved(_)));
}

#[test]
fn a_driver_that_outlived_its_master_keeps_its_name_and_no_executor_id_is_used_twice() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let m = match register_application(application(None, 512, None), "app-20201121132234-0003") {
        to_master::Message::RegisterApplication(m) => RegisterApplication { next_executor_id: 5, ..m },
        _ => unreachable!(),
    };
    c.say(10, to_master::Message::RegisterApplication(m));
    assert_eq!(c.launches(), [(1, 5, 4)]);
    assert!(c.master.applications().contains_key("app-20201121132234-0003"));
}

#[test]
fn names_addresses_and_figures_out_of_bounds_are_refused() {
    let good = application(None, 512, None);
    let bad = [
        ApplicationDescription { name: "n".repeat(2000), ..good.clone() },
        ApplicationDescription { user: "u".repeat(2000), ..good.clone() },
        ApplicationDescription { driver_address: "h:1\n2026 ERROR".to_owned(), ..good.clone() },
        ApplicationDescription { memory_per_executor_mb: u64::MAX, ..good.clone() },
        ApplicationDescription { cores_per_executor: Some(u32::MAX), ..good.clone() },
        ApplicationDescription { block_manager_port: 70_000, ..good.clone() },
        ApplicationDescription { port_max_retries: 70_000, ..good.clone() },
        ApplicationDescription {
            binary: Some(ApplicationBinary { build_hash: vec![1; 31], ..ApplicationBinary::default() }),
            ..good.clone()
        },
    ];
    let mut c = Cluster::default();
    for description in bad {
        c.say(10, register_application(description, ""));
        assert!(matches!(&c.heard(10)[..], [To::RegisterApplicationFailed(m)] if m.reason.len() < 300));
    }
    let to_master::Message::RegisterApplication(m) = register_application(good, "") else { panic!("another message") };
    c.say(10, to_master::Message::RegisterApplication(RegisterApplication { next_executor_id: u32::MAX, ..m }));
    assert!(says!(c.heard(10), To::RegisterApplicationFailed(_)));
    assert!(c.master.applications().is_empty());
}

#[test]
fn many_executors_are_launched_a_few_at_a_time_and_bounded_by_worker() {
    let mut c = Cluster::default();
    for n in 1..=4 {
        c.worker(n, 1 << 16, 1 << 30);
    }
    c.application(10, application(None, 1, Some(1)));
    let mut all = c.launches().len();
    assert!(all <= 256, "{all} at once");
    for _ in 0..100 {
        c.pass(Duration::from_millis(100));
        let round = c.launches().len();
        assert!(round <= 512, "{round} at once");
        all += round;
    }
    assert_eq!(all, 4 * 512, "as many as the workers may have, and no more");
    assert!(c.master.workers().values().all(|w| w.executors == 512));
}

#[test]
fn lines_about_one_application_leave_those_about_another_alone() {
    let mut c = Cluster::default();
    let loud = c.application(10, application(None, 512, None));
    let quiet = c.application(11, application(None, 512, None));
    let mut may_log = |id: &AppId| c.master.applications.get_mut(id).unwrap().may_log(Tick::ZERO, id);
    let written = (0..10_000).filter(|_| may_log(&loud)).count();
    assert!(written < 1000, "{written}");
    assert!(!may_log(&loud) && may_log(&quiet));
}

#[test]
fn an_application_that_wants_more_executors_than_one_may_have_is_told_of_once() {
    let mut c = Cluster::default();
    let id = c.application(10, application(None, 512, None));
    for (limit, told) in [(Some(7), false), (Some(1 << 16), false), (Some(3_000_000), true), (None, true)] {
        let application = c.master.applications.get_mut(&id).unwrap();
        (application.executor_limit, application.bounded) = (limit, false);
        c.master.say_bound_of(&id);
        assert_eq!(c.master.applications[&id].bounded, told, "{limit:?}");
    }
}
