//! Any order of events keeps the invariants, and one order gives one answer.

use std::time::Duration;

use firesteel_rpc::proto::deploy::{
    ApplicationHeartbeat, ExecutorState, KillExecutors, UnregisterApplication, WorkerLatestState, to_master,
};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Worker { connection: u64, id: u32, port: u32, cores: u32, lists: Vec<(u32, u32)> },
    Application { connection: u64, cores: Option<u32>, each: Option<u32>, old: Option<u32> },
    State { connection: u64, app: u32, executor: u32, state: i32, code: Option<i32>, registered: bool },
    Latest { connection: u64, id: u32, lists: Vec<(u32, u32)> },
    Kill { connection: u64, app: u32, executor: u32 },
    Unregister { connection: u64, app: u32 },
    Beat { connection: u64, app: u32, id: u32 },
    Leaves { connection: u64, id: u32 },
    Close { connection: u64 },
    Pass { ms: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let connection = || 0u64..6;
    let lists = || prop::collection::vec((0u32..3, 0u32..5), 0..3);
    let small = || prop::option::of(0u32..4);
    prop_oneof![
        3 => (connection(), 0u32..3, 0u32..3, 0u32..5, lists())
            .prop_map(|(connection, id, port, cores, lists)| Step::Worker { connection, id, port, cores, lists }),
        3 => (connection(), small(), small(), small())
            .prop_map(|(connection, cores, each, old)| Step::Application { connection, cores, each, old }),
        6 => (connection(), 0u32..3, 0u32..6, 0i32..8, prop::option::of(0i32..2), any::<bool>()).prop_map(
            |(connection, app, executor, state, code, registered)| {
                Step::State { connection, app, executor, state, code, registered }
            }
        ),
        2 => (connection(), 0u32..3, lists()).prop_map(|(connection, id, lists)| Step::Latest { connection, id, lists }),
        1 => (connection(), 0u32..3, 0u32..6).prop_map(|(connection, app, executor)| Step::Kill { connection, app, executor }),
        1 => (connection(), 0u32..3).prop_map(|(connection, app)| Step::Unregister { connection, app }),
        1 => (connection(), 0u32..3, 0u32..3).prop_map(|(connection, app, id)| Step::Beat { connection, app, id }),
        1 => (connection(), 0u32..3).prop_map(|(connection, id)| Step::Leaves { connection, id }),
        2 => connection().prop_map(|connection| Step::Close { connection }),
        2 => (0u64..40_000).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn run(steps: &[Step]) -> (Master, Vec<MasterEffect>) {
    let mut c = Cluster::new(MasterRules { max_executor_retries: 2, ..MasterRules::default() });
    let mut all = Vec::new();
    let describe = |lists: &[(u32, u32)]| {
        lists.iter().map(|(app, id)| described(&name(*app), *id, ExecutorState::Running)).collect::<Vec<_>>()
    };
    for step in steps {
        match step.clone() {
            Step::Worker { connection, id, port, cores, lists } => {
                c.say(connection, register_worker(&format!("w{id}"), port, cores, 1024, describe(&lists)));
            }
            Step::Application { connection, cores, each, old } => {
                let old = old.map(name).unwrap_or_default();
                c.say(connection, register_application(application(cores, 256, each), &old));
            }
            Step::State { connection, app, executor, state, code, registered } => {
                let state = ExecutorState::try_from(state).unwrap();
                c.say(connection, ended(&name(app), executor, state, code, None, registered));
            }
            Step::Latest { connection, id, lists } => {
                let m = WorkerLatestState {
                    worker_id: format!("w{id}"),
                    executors: describe(&lists),
                    ..Default::default()
                };
                c.say(connection, to_master::Message::WorkerLatestState(m));
            }
            Step::Kill { connection, app, executor } => {
                let m = KillExecutors { app_id: name(app), executor_ids: vec![executor] };
                c.say(connection, to_master::Message::KillExecutors(m));
            }
            Step::Unregister { connection, app } => {
                c.say(
                    connection,
                    to_master::Message::UnregisterApplication(UnregisterApplication { app_id: name(app) }),
                );
            }
            Step::Beat { connection, app, id } => {
                c.say(connection, to_master::Message::ApplicationHeartbeat(ApplicationHeartbeat { app_id: name(app) }));
                c.say(connection, beat(&format!("w{id}")));
            }
            Step::Leaves { connection, id } => c.say(connection, leaves(&format!("w{id}"))),
            Step::Close { connection } => c.close(connection),
            Step::Pass { ms } => c.pass(Duration::from_millis(ms)),
        }
        // The shell forgets a stream that the machine gave up.
        all.append(&mut c.said);
    }
    (c.master, all)
}

/// Applications keep these names because they come with them, or get them with the date at tick 0.
fn name(app: u32) -> String {
    format!("app-20261121132234-{app:04}")
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_the_invariants_and_is_repeatable(
        steps in prop::collection::vec(any_step(), 0..80)
    ) {
        prop_assert_eq!(run(&steps), run(&steps));
    }

    #[test]
    fn when_all_streams_close_everything_is_released(steps in prop::collection::vec(any_step(), 0..60)) {
        let mut c = Cluster { master: run(&steps).0, now: Tick(u64::MAX / 2), said: Vec::new() };
        for connection in 0..6 {
            c.close(connection);
        }
        c.pass(Duration::from_secs(120));
        prop_assert!(c.master.workers().is_empty() && c.master.applications().is_empty());
        prop_assert!(c.master.executors().is_empty());
        prop_assert_eq!(c.master.next_deadline(), None);
    }
}
