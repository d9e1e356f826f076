//! The worker's rules, one test each.

use firesteel_rpc::proto::deploy::{
    ApplicationFinished, ExecutorState, KillExecutor, LaunchExecutor, ReconnectWorker, RegisterWorkerFailed,
    from_master::Message as From, to_master::Message as To,
};

use super::*;
use crate::event::ExecutorEnd;

#[path = "decommission_tests.rs"]
mod decommission;

struct Fixture {
    worker: Worker,
    now: Tick,
    out: Vec<WorkerEffect>,
}

impl Fixture {
    fn new() -> Fixture {
        let identity = WorkerIdentity {
            worker_id: "w".to_owned(),
            host: "h".to_owned(),
            port: 1,
            cores: 4,
            memory_mb: 1024,
            incarnation: vec![7; 16],
        };
        let url = "spark://m1:1,m2:2".parse().unwrap();
        let worker = Worker::new(identity, &url, MasterClientConfig::default(), 1);
        Fixture { worker, now: Tick::ZERO, out: Vec::new() }
    }

    fn registered() -> Fixture {
        let mut f = Fixture::new();
        f.event(WorkerEvent::Start);
        f.connect();
        f.hear(accepted());
        f.out.clear();
        f
    }

    fn connect(&mut self) {
        self.event(WorkerEvent::Connected { attempt: self.worker.client.attempt() });
    }

    fn disconnect(&mut self) {
        self.event(WorkerEvent::Closed { attempt: self.worker.client.attempt(), reason: "gone".to_owned() });
    }

    /// Waits for the client's next deadline.
    fn wait(&mut self) {
        self.now = self.worker.next_deadline().unwrap();
        self.event(WorkerEvent::Wake);
    }

    fn event(&mut self, event: WorkerEvent) {
        self.worker.handle(self.now, event, &mut self.out);
        self.worker.check_invariants().unwrap();
    }

    fn hear(&mut self, message: From) {
        self.event(WorkerEvent::Received { attempt: self.worker.client.attempt(), message });
    }

    fn launch(&mut self, app: &str, executor_id: u32) {
        let launch = LaunchExecutor { app_id: app.to_owned(), executor_id, cores: 1, ..LaunchExecutor::default() };
        self.hear(From::LaunchExecutor(launch));
    }

    fn kill(&mut self, app: &str, executor_id: u32) {
        self.hear(From::KillExecutor(KillExecutor { app_id: app.to_owned(), executor_id }));
    }

    fn finish(&mut self, app: &str) {
        self.hear(From::ApplicationFinished(ApplicationFinished { app_id: app.to_owned() }));
    }

    fn end(&mut self, app: &str, executor_id: u32, exit_code: Option<i32>) {
        let end = ExecutorEnd { exit_code, ..ExecutorEnd::default() };
        self.event(WorkerEvent::ExecutorEnded { key: key(app, executor_id), end });
    }

    fn reported(&mut self) -> Vec<ExecutorStateChanged> {
        let out = std::mem::take(&mut self.out);
        out.into_iter()
            .filter_map(|effect| match effect {
                WorkerEffect::Send { message: To::ExecutorStateChanged(m), .. } => Some(m),
                _ => None,
            })
            .collect()
    }
}

fn key(app: &str, executor_id: u32) -> ExecutorKey {
    ExecutorKey::parse(app, executor_id).unwrap()
}

fn accepted() -> From {
    From::RegisteredWorker(RegisteredWorker {
        master_url: "spark://m:1".to_owned(),
        worker_timeout_ms: 60_000,
        duplicate: false,
    })
}

#[test]
fn an_application_id_that_leads_elsewhere_starts_and_removes_nothing_and_its_master_is_left() {
    for id in ["", "..", "../../victim", "/victim", "a/b", ".lock", "a\nb"] {
        for said in 0..3 {
            let mut f = Fixture::registered();
            match said {
                0 => f.launch(id, 0),
                1 => f.kill(id, 0),
                _ => f.finish(id),
            }
            assert!(f.out.iter().any(|e| matches!(e, WorkerEffect::Disconnect { .. })), "{id:?}: {:?}", f.out);
            f.finish(id);
            let acts = |e: &WorkerEffect| {
                matches!(
                    e,
                    WorkerEffect::StartExecutor { .. }
                        | WorkerEffect::RemoveApplication { .. }
                        | WorkerEffect::KillExecutor(_)
                )
            };
            assert!(!f.out.iter().any(acts), "{id:?}: {:?}", f.out);
        }
    }
}

#[test]
fn a_stream_that_stands_is_registered_on() {
    let mut f = Fixture::new();
    f.event(WorkerEvent::Start);
    assert!(matches!(&f.out[..], [WorkerEffect::Connect { address, .. }] if address == "m1:1"));
    f.out.clear();
    f.connect();
    assert!(matches!(&f.out[..], [WorkerEffect::Send { message: To::RegisterWorker(m), .. }]
        if m.worker_id == "w" && m.cores == 4 && m.protocol_version == PROTOCOL_VERSION));
    assert!(!f.worker.is_registered());
}

#[test]
fn it_beats_at_a_quarter_of_the_timeout_and_tells_what_runs() {
    let mut f = Fixture::registered();
    assert_eq!(f.worker.next_deadline(), Some(Tick::ZERO + Duration::from_secs(15)));
    f.event(WorkerEvent::Wake);
    assert_eq!(f.out, [], "not before it is due");
    f.now = Tick::ZERO + Duration::from_secs(15);
    f.event(WorkerEvent::Wake);
    assert!(matches!(
        &f.out[..],
        [
            WorkerEffect::Send { message: To::Heartbeat(_), .. },
            WorkerEffect::Send { message: To::WorkerLatestState(_), .. }
        ]
    ));
    assert_eq!(f.worker.next_deadline(), Some(Tick::ZERO + Duration::from_secs(30)));
    f.now = Tick::ZERO + Duration::from_secs(600);
    f.event(WorkerEvent::Wake);
    assert_eq!(f.worker.next_deadline(), Some(Tick::ZERO + Duration::from_secs(615)));
}

#[test]
fn a_master_that_refuses_stops_the_worker_with_the_reason() {
    let mut f = Fixture::new();
    f.event(WorkerEvent::Start);
    f.connect();
    f.hear(From::RegisterWorkerFailed(RegisterWorkerFailed { reason: "no".to_owned(), held: false }));
    assert!(matches!(f.out.last(), Some(WorkerEffect::GiveUp { error }) if error.to_string().contains("no")));
}

#[test]
fn a_master_that_does_not_know_it_gets_another_registration_with_what_runs() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.out.clear();
    f.hear(From::ReconnectWorker(ReconnectWorker::default()));
    assert!(
        matches!(&f.out[..], [WorkerEffect::Send { message: To::RegisterWorker(m), .. }] if m.executors.len() == 1)
    );
    assert!(!f.worker.is_registered());
}

#[test]
fn an_executor_is_launched_once_however_often_it_is_said() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.launch("a", 0);
    f.end("a", 0, Some(0));
    f.launch("a", 0);
    let starts = f.out.iter().filter(|e| matches!(e, WorkerEffect::StartExecutor { .. })).count();
    assert_eq!(starts, 1);
}

#[test]
fn it_is_running_when_its_driver_has_accepted_it_and_its_end_says_so() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.event(WorkerEvent::ExecutorRegistered(key("a", 0)));
    f.event(WorkerEvent::ExecutorRegistered(key("a", 0)));
    f.end("a", 0, Some(3));
    let reported = f.reported();
    let states: Vec<_> = reported.iter().map(|m| (m.state(), m.registered, m.exit_code)).collect();
    assert_eq!(states, [(ExecutorState::Running, true, None), (ExecutorState::Exited, true, Some(3))]);
}

#[test]
fn one_that_could_not_start_has_failed_and_one_that_was_killed_was_killed() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.launch("a", 1);
    f.end("a", 0, None);
    f.kill("a", 1);
    assert!(f.out.contains(&WorkerEffect::KillExecutor(key("a", 1))));
    f.end("a", 1, Some(137));
    let states: Vec<_> = f.reported().iter().map(|m| m.state()).collect();
    assert_eq!(states, [ExecutorState::Failed, ExecutorState::Killed]);
}

#[test]
fn a_kill_of_what_is_not_here_is_answered() {
    let mut f = Fixture::registered();
    f.kill("a", 7);
    assert_eq!(f.reported()[0].state(), ExecutorState::Lost);
}

#[test]
fn ends_without_a_master_are_told_to_the_next_one() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.launch("a", 1);
    f.disconnect();
    assert!(!f.worker.is_registered());
    f.end("a", 0, Some(9));
    assert_eq!(f.reported(), []);
    f.wait();
    assert!(matches!(&f.out[..], [WorkerEffect::Connect { address, .. }] if address == "m2:2"));
    f.out.clear();
    f.connect();
    let listed = match f.out.pop() {
        Some(WorkerEffect::Send { message: To::RegisterWorker(m), .. }) => m.executors,
        other => panic!("{other:?}"),
    };
    f.out.clear();
    let states: Vec<_> = listed.iter().map(|e| (e.executor_id, e.state())).collect();
    assert_eq!(states, [(1, ExecutorState::Launching), (0, ExecutorState::Exited)]);
    f.hear(accepted());
    assert!(matches!(&f.out[..], [
        WorkerEffect::Send { message: To::ExecutorStateChanged(m), .. }, WorkerEffect::Send { message: To::WorkerLatestState(s), .. }
    ] if m.exit_code == Some(9) && s.executors.len() == 1));
}

#[test]
fn an_applications_files_go_when_it_is_over_and_its_last_executor_is_gone() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.launch("a", 1);
    f.launch("b", 0);
    f.end("a", 1, Some(0));
    f.out.clear();
    f.finish("a");
    assert_eq!(f.out, [WorkerEffect::KillExecutor(key("a", 0))]);
    f.end("a", 0, Some(0));
    // The end is told before anything is removed.
    assert!(
        matches!(&f.out[..], [.., WorkerEffect::Send { message: To::ExecutorStateChanged(_), .. },
            WorkerEffect::RemoveApplication { app_id }] if *app_id == key("a", 0).app_id),
        "{:?}",
        f.out
    );
    f.out.clear();
    f.finish("a");
    assert_eq!(f.out, [], "once is enough");
    f.end("b", 0, Some(0));
    f.out.clear();
    f.finish("b");
    assert_eq!(f.out, [WorkerEffect::RemoveApplication { app_id: key("b", 0).app_id }]);
}

#[test]
fn a_standby_is_left_for_the_next_master() {
    let mut f = Fixture::new();
    f.event(WorkerEvent::Start);
    f.connect();
    f.out.clear();
    f.hear(From::MasterInStandby(Default::default()));
    assert!(matches!(&f.out[..], [WorkerEffect::Disconnect { .. }, WorkerEffect::Connect { address, .. }]
        if address == "m2:2"));
}

#[test]
fn news_of_a_stream_that_was_given_up_is_ignored() {
    let mut f = Fixture::registered();
    let launch = LaunchExecutor { app_id: "a".to_owned(), ..LaunchExecutor::default() };
    f.event(WorkerEvent::Received { attempt: Attempt(0), message: From::LaunchExecutor(launch) });
    assert_eq!(f.out, []);
}

#[test]
fn one_that_is_to_end_leaves_its_master_before_it_kills_its_executors() {
    let mut f = Fixture::registered();
    f.launch("a", 0);
    f.out.clear();
    f.event(WorkerEvent::Stop);
    assert!(matches!(&f.out[..], [WorkerEffect::Disconnect { .. }, WorkerEffect::KillExecutor(_)]));
    f.end("a", 0, None);
    assert_eq!(f.worker.executors().count(), 0);
    assert_eq!(f.worker.next_deadline(), None);
}

/// What may happen, over few names so that events meet.
fn any_event() -> impl proptest::strategy::Strategy<Value = (u64, WorkerEvent)> {
    use proptest::prelude::*;
    let app = || prop_oneof![Just("a"), Just("b")];
    let id = || 0u32..4;
    let attempt = || (0u64..4).prop_map(Attempt);
    let message = prop_oneof![
        3 => Just(accepted()),
        1 => Just(From::ReconnectWorker(ReconnectWorker::default())),
        1 => Just(From::MasterInStandby(Default::default())),
        4 => (app(), id()).prop_map(|(app, executor_id)| From::LaunchExecutor(LaunchExecutor {
            app_id: app.to_owned(), executor_id, ..LaunchExecutor::default()
        })),
        2 => (app(), id()).prop_map(|(app, executor_id)| From::KillExecutor(KillExecutor {
            app_id: app.to_owned(), executor_id
        })),
        2 => app().prop_map(|app| From::ApplicationFinished(ApplicationFinished { app_id: app.to_owned() })),
    ];
    let event = prop_oneof![
        2 => attempt().prop_map(|attempt| WorkerEvent::Connected { attempt }),
        1 => attempt().prop_map(|attempt| WorkerEvent::ConnectFailed {
            attempt, error: "no".to_owned(), permanent: false
        }),
        1 => attempt().prop_map(|attempt| WorkerEvent::Closed { attempt, reason: "gone".to_owned() }),
        9 => (attempt(), message).prop_map(|(attempt, message)| WorkerEvent::Received { attempt, message }),
        2 => (app(), id()).prop_map(|(app, id)| WorkerEvent::ExecutorRegistered(key(app, id))),
        3 => (app(), id(), prop::option::of(0..3)).prop_map(|(app, id, exit_code)| WorkerEvent::ExecutorEnded {
            key: key(app, id), end: ExecutorEnd { exit_code, ..ExecutorEnd::default() }
        }),
        2 => Just(WorkerEvent::Wake),
    ];
    (0u64..20_000, event)
}

proptest::proptest! {
    /// In any order of events the invariants hold, and executors, ends and removals match: what starts ends once, and
    /// an application's files go only when nothing of it runs.
    #[test]
    fn any_order_of_events_keeps_the_invariants(events in proptest::collection::vec(any_event(), 0..80)) {
        let mut f = Fixture::new();
        f.event(WorkerEvent::Start);
        let mut running = BTreeSet::new();
        for (ms, event) in events {
            f.now = f.now + Duration::from_millis(ms);
            if let WorkerEvent::ExecutorEnded { key, .. } = &event {
                running.remove(key);
            }
            f.event(event);
            for effect in std::mem::take(&mut f.out) {
                match effect {
                    WorkerEffect::StartExecutor { key, .. } => assert!(running.insert(key)),
                    WorkerEffect::KillExecutor(key) => assert!(running.contains(&key)),
                    WorkerEffect::RemoveApplication { app_id } => assert!(running.iter().all(|k| k.app_id != app_id)),
                    _ => {}
                }
            }
            assert!(f.worker.executors().eq(running.iter()));
        }
    }
}
