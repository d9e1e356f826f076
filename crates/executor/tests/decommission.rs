//! How an executor leaves: who takes what it holds, what the driver hears of it, and when it goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use firesteel_common::{ExecutorId, ShuffleId, TaskId};
use firesteel_protocol::{MapOutputMoved, TaskOutcome, ToDriver};
use firesteel_rpc::{Role, Transport};
use firesteel_shuffle::{MapWriter, ShuffleConfig, ShuffleManager};
use firesteel_storage::{BlockClient, BlockServer, Served};
use firesteel_task::TaskOutput;
use support::{End, Rig, kind, launch, leave, result, rig_at, stage_ended};

const SHUFFLE: ShuffleId = ShuffleId(5);
/// Nobody listens there.
const DEAD: &str = "127.0.0.1:1";

/// An executor whose blocks are served.
fn served(cores: u32) -> (Rig, BlockServer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = rig_at(cores, &listener.local_addr().unwrap().to_string());
    rig.services.blocks.set_shuffle_source(rig.services.shuffle.clone());
    let served = Served::by_executor(&rig.services.blocks, rig.services.shuffle.clone());
    let server = BlockServer::start(listener, served, Transport::default(), "app").unwrap();
    (rig, server)
}

/// Somebody who takes map outputs.
struct Peer {
    shuffle: Arc<ShuffleManager>,
    server: BlockServer,
    _dir: tempfile::TempDir,
}

fn peer() -> Peer {
    let dir = tempfile::tempdir().unwrap();
    let config = ShuffleConfig::new(vec![dir.path().to_owned()], ExecutorId(9));
    let client = BlockClient::new(Transport::default(), "app", Role::Executor);
    let shuffle = Arc::new(ShuffleManager::new(config, client).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taker = Served { outputs: Some(shuffle.clone()), ..Served::blocks(shuffle.clone()) };
    let server = BlockServer::start(listener, taker, Transport::default(), "app").unwrap();
    Peer { shuffle, server, _dir: dir }
}

/// Tasks of this kind write a map output.
fn writes(name: &str) {
    kind(name, |_, ctx| {
        let mut writer = MapWriter::new(&ctx.services().shuffle, SHUFFLE, ctx.info().task, 2);
        writer.write(1, &ctx.task_attempt_id()).unwrap();
        Ok(TaskOutput::Map(writer.finish().unwrap()))
    });
}

/// The next news of a move.
fn next_move(rig: &Rig) -> MapOutputMoved {
    loop {
        if let ToDriver::MapOutputMoved(moved) = rig.next_news() {
            return moved;
        }
    }
}

fn has_left(rig: &Rig) {
    rig.left.recv_timeout(Duration::from_secs(60)).expect("the executor stays");
}

#[test]
fn what_one_peer_does_not_take_goes_to_another_and_the_driver_hears_where() {
    let ((rig, _server), peer) = (served(2), peer());
    writes("some");
    rig.executor.handle(launch(1, "some", [7, 8, 9]));
    (0..3).for_each(|_| assert!(matches!(rig.next_outcome(), TaskOutcome::MapOutput(_))));
    leave(&rig.executor, &[(4, DEAD.to_owned()), (9, peer.server.local_addr().to_string())]);
    let mut moved: Vec<u64> = (0..3)
        .map(|_| {
            let moved = next_move(&rig);
            assert_eq!((moved.shuffle, moved.to), (SHUFFLE, ExecutorId(9)));
            moved.map_task.0
        })
        .collect();
    moved.sort_unstable();
    assert_eq!(moved, [7, 8, 9]);
    has_left(&rig);
    assert_eq!(peer.shuffle.outputs(), [7, 8, 9].map(|task| (SHUFFLE, TaskId(task))));
}

#[test]
fn what_nobody_took_goes_to_a_peer_that_comes_later_also_what_the_last_one_took_that_is_gone() {
    let ((rig, _server), first, second) = (served(2), peer(), peer());
    writes("early");
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    kind("long", move |_, _| {
        // Until it is told to; a closed channel tells it, too.
        wait.lock().unwrap().recv().ok();
        result(b"done")
    });
    rig.executor.handle(launch(1, "early", [7]));
    assert!(matches!(rig.next_outcome(), TaskOutcome::MapOutput(_)));
    rig.executor.handle(launch(2, "long", [8]));
    leave(&rig.executor, &[(4, DEAD.to_owned())]);
    leave(&rig.executor, &[(9, first.server.local_addr().to_string())]);
    assert_eq!(next_move(&rig).to, ExecutorId(9));
    leave(&rig.executor, &[(10, second.server.local_addr().to_string())]);
    assert_eq!(next_move(&rig).to, ExecutorId(10));
    drop(go_on);
    has_left(&rig);
    assert_eq!(second.shuffle.outputs(), [(SHUFFLE, TaskId(7))]);
}

#[test]
fn what_nobody_takes_is_given_up_after_some_tries_and_the_executor_goes() {
    let (rig, _server) = served(1);
    writes("lonely");
    rig.executor.handle(launch(1, "lonely", [7]));
    assert!(matches!(rig.next_outcome(), TaskOutcome::MapOutput(_)));
    leave(&rig.executor, &[(4, DEAD.to_owned())]);
    has_left(&rig);
    assert!(rig.no_update(), "no move is told");
}

#[test]
fn it_goes_when_its_tasks_have_ended_and_their_results_were_fetched_and_with_what_they_wrote_moved() {
    let ((rig, _server), peer) = (served(2), peer());
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    kind("late", move |_, ctx| {
        wait.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
        let mut writer = MapWriter::new(&ctx.services().shuffle, SHUFFLE, ctx.info().task, 1);
        writer.write(0, &1u8).unwrap();
        writer.finish().unwrap();
        result(&[0; 5000])
    });
    rig.executor.handle(launch(1, "late", [7]));
    // Nobody is there at first.
    leave(&rig.executor, &[]);
    leave(&rig.executor, &[(9, peer.server.local_addr().to_string())]);
    assert!(rig.left.try_recv().is_err(), "its task runs");
    go.send(()).unwrap();
    let is_end = |m: &ToDriver| match m {
        ToDriver::StatusUpdates(u) => matches!(support::end_of(&u[0]), Some(End::Block(_, 5000..))),
        _ => false,
    };
    // In either order.
    let first = [rig.next_news(), rig.next_news()];
    assert!(first.iter().any(is_end), "{first:?}");
    assert!(first.iter().any(|m| matches!(m, ToDriver::MapOutputMoved(m) if m.map_task == TaskId(7))), "{first:?}");
    assert!(rig.left.try_recv().is_err(), "its result may still be fetched");
    rig.executor.handle(stage_ended(1));
    has_left(&rig);
    // While tasks run the driver may not know yet what was moved: it hears it again.
    assert_eq!(next_move(&rig).map_task, TaskId(7));
    assert_eq!(peer.shuffle.outputs(), [(SHUFFLE, TaskId(7))]);
}
