//! Masters that stand by, are elected with what others left behind, and are deposed.

use firesteel_rpc::proto::deploy::from_master::Message as To;

use super::*;
use crate::{Record, RecordId, RecoveryState};

/// What this master has left behind so far.
fn left_by(c: &Cluster) -> Records {
    let workers = c.master.workers().values().map(|w| w.record());
    let applications = c.master.applications().iter().map(|(id, a)| a.record(id));
    workers.chain(applications).collect()
}

fn persisted(said: &[MasterEffect]) -> Vec<RecordId> {
    let persisted = |effect: &MasterEffect| match effect {
        MasterEffect::Persist { record } => Some(record.id()),
        _ => None,
    };
    said.iter().filter_map(persisted).collect()
}

fn forgotten(said: &[MasterEffect]) -> Vec<RecordId> {
    let forgotten = |effect: &MasterEffect| match effect {
        MasterEffect::Forget { id } => Some(id.clone()),
        _ => None,
    };
    said.iter().filter_map(forgotten).collect()
}

/// A master with a worker of four cores and an application with one executor of one core, then one elected after it.
fn one_after_another() -> (Cluster, AppId) {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let app = c.application(10, application(Some(1), 512, None));
    assert_eq!(c.launches(), [(1, 0, 1)]);
    c.state(1, &app, 0, ExecutorState::Running);
    let c = Cluster::recovering(c.master.rules.clone(), left_by(&c));
    assert_eq!(c.master.recovery_state(), RecoveryState::Recovering);
    (c, app)
}

fn running(app: &AppId) -> ExecutorDescription {
    ExecutorDescription { memory_mb: 512, ..described(app, 0, ExecutorState::Running) }
}

#[test]
fn a_master_that_stands_by_sends_everybody_on_until_it_is_elected() {
    let mut c = Cluster::standing_by(MasterRules::default());
    c.worker(1, 4, 4096);
    assert!(matches!(&c.heard(1)[..], [To::MasterInStandby(_)]));
    c.say(10, register_application(application(None, 512, None), ""));
    assert!(matches!(&c.heard(10)[..], [To::MasterInStandby(_)]));
    c.say(1, beat("w1"));
    assert!(matches!(&c.heard(1)[..], [To::MasterInStandby(_)]));
    assert_eq!((c.master.next_deadline(), c.master.workers().len()), (None, 0));
    c.event(MasterEvent::Elected { records: Records::default() });
    assert_eq!(c.master.recovery_state(), RecoveryState::Alive, "there is nothing to wait for");
    c.worker(1, 4, 4096);
    assert!(says!(c.heard(1), To::RegisteredWorker(_)));
}

#[test]
fn what_runs_is_adopted_and_nothing_is_launched_before_all_are_back() {
    let (mut c, app) = one_after_another();
    // Another application comes meanwhile: it must wait.
    c.application(11, application(None, 512, None));
    c.say(2, register_worker("w1", 1, 4, 4096, vec![running(&app)]));
    let heard = c.heard(2);
    assert!(says!(heard, To::RegisteredWorker(m) if m.duplicate));
    assert!(!says!(heard, To::KillExecutor(_) | To::ApplicationFinished(_) | To::LaunchExecutor(_)));
    c.say(12, register_application(application(Some(1), 512, None), &app));
    assert_eq!(c.master.recovery_state(), RecoveryState::Alive);
    let said = std::mem::take(&mut c.said);
    let to = |connection: u64| {
        said.iter().filter_map(move |effect| match effect {
            MasterEffect::Send { to, message } if to.0 == connection => Some(message),
            _ => None,
        })
    };
    assert!(to(12).any(|m| matches!(m, To::ExecutorAdded(m) if m.executor_id == 0 && m.cores == 1)));
    let launched: Vec<_> = to(2).filter(|m| matches!(m, To::LaunchExecutor(_))).collect();
    assert!(matches!(&launched[..], [To::LaunchExecutor(l)] if l.app_id != *app && l.cores == 3), "{launched:?}");
    // Its end is told as that of one that this master launched.
    c.state(2, &app, 0, ExecutorState::Exited);
    assert!(says!(c.heard(12), To::ExecutorUpdated(m) if m.executor_id == 0));
}

#[test]
fn a_driver_that_is_back_first_hears_of_its_executors_as_their_workers_come() {
    let (mut c, app) = one_after_another();
    let To::RegisteredApplication(_) = ({
        let to_master::Message::RegisterApplication(m) = register_application(application(Some(1), 512, None), &app)
        else {
            panic!("another message")
        };
        c.say(12, to_master::Message::RegisterApplication(RegisterApplication { next_executor_id: 100, ..m }));
        c.heard(12).remove(0)
    }) else {
        panic!("not registered")
    };
    c.say(2, register_worker("w1", 1, 4, 4096, vec![running(&app)]));
    assert!(says!(c.heard(12), To::ExecutorAdded(m) if m.executor_id == 0));
    // The next one has a number that no master has given.
    c.state(2, &app, 0, ExecutorState::Killed);
    assert_eq!(c.launches(), [(2, 100, 1)]);
}

#[test]
fn who_does_not_come_back_within_the_workers_timeout_is_dropped_and_forgotten() {
    let (mut c, app) = one_after_another();
    let waiting = c.application(11, application(None, 512, None));
    c.worker(3, 2, 4096);
    c.say(3, beat("w3"));
    c.said.clear();
    let timeout = c.master.rules.worker_timeout;
    c.pass(timeout / 2);
    c.say(3, beat("w3"));
    assert_eq!(c.master.recovery_state(), RecoveryState::Recovering);
    c.pass(timeout / 2);
    assert_eq!(c.master.recovery_state(), RecoveryState::Alive);
    assert_eq!(forgotten(&c.said), [RecordId::Worker("w1".parse().unwrap()), RecordId::Application(app.clone())]);
    assert!(c.master.applications().keys().eq([&waiting]));
    assert_eq!(c.launches(), [(3, 0, 2)], "and what is there is dealt out");
    // Its driver may come all the same, and starts afresh.
    c.say(12, register_application(application(Some(1), 512, None), &app));
    assert!(says!(c.heard(12), To::RegisteredApplication(_)));
}

#[test]
fn a_worker_that_was_started_anew_takes_the_place_of_the_one_that_is_awaited() {
    let (mut c, app) = one_after_another();
    c.say(12, register_application(application(Some(1), 512, None), &app));
    c.said.clear();
    c.say(2, register_worker("w9", 1, 4, 4096, Vec::new()));
    assert_eq!(c.master.recovery_state(), RecoveryState::Alive);
    assert_eq!(forgotten(&c.said), [RecordId::Worker("w1".parse().unwrap())]);
    assert!(says!(c.heard(12), To::WorkerRemoved(m) if m.worker_id == "w1"));
}

#[test]
fn what_nobody_may_have_is_not_adopted() {
    let (mut c, app) = one_after_another();
    let second = ExecutorDescription { executor_id: 1, ..running(&app) };
    let other = ExecutorDescription { app_id: "app-20261128000000-0009".to_owned(), ..running(&app) };
    c.say(2, register_worker("w1", 1, 4, 4096, vec![running(&app), second, other]));
    let heard = c.heard(2);
    let killed: Vec<_> = heard
        .iter()
        .filter_map(|m| match m {
            To::KillExecutor(k) => Some((k.app_id.as_str(), k.executor_id)),
            _ => None,
        })
        .collect();
    assert_eq!(killed, [(&*app, 1), ("app-20261128000000-0009", 0)]);
}

#[test]
fn executors_of_a_worker_that_leaves_are_adopted_as_such() {
    let (mut c, app) = one_after_another();
    let to_master::Message::RegisterWorker(m) = register_worker("w1", 1, 4, 4096, vec![running(&app)]) else {
        panic!("another message")
    };
    c.say(2, to_master::Message::RegisterWorker(RegisterWorker { decommissioning: true, ..m }));
    c.say(12, register_application(application(Some(1), 512, None), &app));
    let heard = c.heard(12);
    assert!(says!(heard, To::ExecutorAdded(_)));
    assert!(says!(heard, To::ExecutorUpdated(m) if m.state() == ExecutorState::Decommissioned));
}

#[test]
fn a_record_goes_out_before_the_answer() {
    let mut c = Cluster::default();
    c.worker(1, 4, 4096);
    let app = c.application(10, application(Some(1), 512, None));
    let first = |wanted: fn(&MasterEffect) -> bool| c.said.iter().position(wanted).unwrap();
    let answers = first(|e| matches!(e, MasterEffect::Send { message: To::RegisteredWorker(_), .. }));
    let kept = first(|e| matches!(e, MasterEffect::Persist { record: Record::Worker(_) }));
    assert!(kept < answers);
    let answers = first(|e| matches!(e, MasterEffect::Send { message: To::RegisteredApplication(_), .. }));
    let kept = first(|e| matches!(e, MasterEffect::Persist { record: Record::Application(_) }));
    assert!(kept < answers);
    assert_eq!(persisted(&c.said), [RecordId::Worker("w1".parse().unwrap()), RecordId::Application(app.clone())]);
    c.said.clear();
    // One that is only heard of again is kept already.
    c.say(1, register_worker("w1", 1, 4, 4096, vec![running(&app)]));
    assert_eq!(persisted(&c.said), []);
    let unregister = firesteel_rpc::proto::deploy::UnregisterApplication { app_id: app.to_string() };
    c.say(10, to_master::Message::UnregisterApplication(unregister));
    assert_eq!(forgotten(&c.said), [RecordId::Application(app)]);
}

#[test]
fn a_deposed_master_lets_everybody_go_and_can_be_elected_again() {
    let (mut c, app) = one_executor(MasterRules::default());
    let records = left_by(&c);
    c.event(MasterEvent::Deposed);
    let closed: Vec<_> = c
        .said
        .iter()
        .filter_map(|effect| match effect {
            MasterEffect::Close { connection } => Some(connection.0),
            _ => None,
        })
        .collect();
    assert_eq!((closed, c.said.len()), (vec![1, 10], 2), "what is kept is the next one's");
    c.close(1);
    c.say(10, beat("w1"));
    assert!(matches!(&c.heard(10)[..], [To::MasterInStandby(_)]));
    c.event(MasterEvent::Elected { records });
    assert_eq!(c.master.recovery_state(), RecoveryState::Recovering);
    assert!(c.master.applications().contains_key(&app));
}
