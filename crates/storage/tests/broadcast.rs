//! Values in pieces: a driver's block manager and those of some executors, over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::TcpListener,
    sync::{Arc, Barrier, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use firesteel_common::{BroadcastId, ExecutorId};
use firesteel_rpc::{Role, Transport};
use firesteel_storage::{
    Abort, BlockClient, BlockError, BlockManager, BlockServer, BroadcastFetcher, BroadcastMeta, Served,
};

const PIECE: usize = 64 << 10;

struct Process {
    blocks: Arc<BlockManager>,
    server: BlockServer,
}

impl Process {
    fn start() -> Process {
        let blocks = Arc::new(BlockManager::new(1 << 30));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // In a test each may be the driver or an executor.
        let server = BlockServer::start(listener, Served::by_driver(&blocks), Transport::default(), "app").unwrap();
        Process { blocks, server }
    }

    fn address(&self) -> String {
        self.server.local_addr().to_string()
    }

    fn fetcher(&self, executor: u32) -> BroadcastFetcher {
        let client = BlockClient::new(Transport::default(), "app", Role::Executor);
        BroadcastFetcher::new(client, self.blocks.clone(), ExecutorId(executor))
    }

    fn served(&self) -> u64 {
        self.blocks.broadcasts().bytes_served()
    }
}

fn value(pieces: usize) -> Vec<u8> {
    (0..pieces * PIECE - 100).map(|i| (i / 7 + i / PIECE) as u8).collect()
}

/// A driver that has `value` and knows of `executors`.
fn offer(value: &[u8], executors: &[&Process]) -> (Process, BroadcastMeta) {
    let driver = Process::start();
    let pieces: Vec<Bytes> = value.chunks(PIECE).map(Bytes::copy_from_slice).collect();
    let meta = BroadcastMeta::of(BroadcastId(7), value.len() as u64, PIECE as u64, &pieces, true, &driver.address());
    driver.blocks.put_broadcast(&meta, pieces).unwrap();
    for (i, executor) in (0u32..).zip(executors) {
        driver.blocks.broadcasts().executor_joined(ExecutorId(i), &executor.address());
    }
    (driver, meta)
}

#[test]
fn a_second_executor_gets_all_from_the_first() {
    let value = value(40);
    let (a, b) = (Process::start(), Process::start());
    let (driver, meta) = offer(&value, &[&a, &b]);
    assert_eq!(a.fetcher(0).fetch_bytes(&meta, true, &Abort::never()).unwrap(), value);
    assert_eq!(driver.served(), value.len() as u64);
    let patient = b.fetcher(1).waiting_for_peers(Duration::from_secs(60));
    assert_eq!(patient.fetch_bytes(&meta, true, &Abort::never()).unwrap(), value);
    // Where pieces are slow to come, a few come from the driver.
    let again = driver.served() - value.len() as u64;
    assert_eq!(again + a.served(), value.len() as u64);
    assert!(again <= value.len() as u64 / 4, "{again} bytes came from the driver again");
    assert_eq!(a.fetcher(0).fetch_bytes(&meta, true, &Abort::never()).unwrap(), value, "from what is here");
    assert_eq!(driver.served() - again, value.len() as u64);
}

#[test]
fn executors_that_start_together_share_what_they_get() {
    let value = value(200);
    let executors: Vec<Process> = (0..4).map(|_| Process::start()).collect();
    let (driver, meta) = offer(&value, &executors.iter().collect::<Vec<_>>());
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for (i, executor) in (0u32..).zip(&executors) {
            let (start, meta, value) = (&start, &meta, &value);
            scope.spawn(move || {
                start.wait();
                assert_eq!(executor.fetcher(i).fetch_bytes(meta, true, &Abort::never()).unwrap(), *value);
            });
        }
    });
    let total: u64 = executors.iter().map(Process::served).sum();
    println!("the driver served {} bytes, executors {total}, of a value of {}", driver.served(), value.len());
    assert!(driver.served() + total >= 4 * value.len() as u64);
    assert!(total > 0 && driver.served() < 3 * value.len() as u64);
}

#[test]
fn a_peer_that_goes_or_lies_is_done_without() {
    let value = value(20);
    let (gone, liar, b) = (Process::start(), Process::start(), Process::start());
    let (driver, meta) = offer(&value, &[&gone, &liar, &b]);
    for (i, p) in [&gone, &liar].into_iter().enumerate() {
        p.fetcher(i as u32).fetch_bytes(&meta, true, &Abort::never()).unwrap();
    }
    let set = liar.blocks.begin_broadcast(meta.id);
    for piece in 0..meta.pieces() {
        liar.blocks.put_piece(&set, piece, Bytes::from_static(b"something else")).unwrap();
    }
    drop(gone);
    assert_eq!(b.fetcher(2).fetch_bytes(&meta, true, &Abort::never()).unwrap(), value);
    assert!(driver.served() > value.len() as u64);
}

#[test]
fn what_is_removed_is_named_and_nothing_is_left() {
    let value = value(9);
    let a = Process::start();
    let (driver, meta) = offer(&value, &[&a]);
    let fetcher = a.fetcher(0);
    fetcher.fetch_bytes(&meta, true, &Abort::never()).unwrap();
    assert_eq!(a.blocks.memory_manager().storage_used(), value.len() as u64);
    a.blocks.remove_broadcast(meta.id);
    assert_eq!((a.blocks.memory_manager().storage_used(), a.blocks.broadcasts().len()), (0, 0));

    assert_eq!(driver.blocks.remove_broadcast(meta.id), [ExecutorId(0)].into());
    assert_eq!(driver.blocks.memory_manager().storage_used(), 0);
    let e = fetcher.fetch_bytes(&meta, true, &Abort::never()).unwrap_err();
    let text = e.to_string();
    assert!(matches!(e, BlockError::Broadcast { .. }), "{text}");
    assert!(text.contains("broadcast 7") && text.contains(&driver.address()) && text.contains("destroyed"), "{text}");
    assert_eq!((a.blocks.memory_manager().storage_used(), a.blocks.broadcasts().len()), (0, 0));
}

#[test]
fn a_fetch_ends_when_it_shall_and_keeps_nothing() {
    let value = value(50);
    let a = Process::start();
    let (_driver, meta) = offer(&value, &[&a]);
    let pieces = Arc::new(Mutex::new(0));
    let seen = pieces.clone();
    let abort = Abort::new(move || (*seen.lock().unwrap() >= 3).then(|| "enough".to_owned()));
    let count = &mut |_, _: &Bytes| {
        *pieces.lock().unwrap() += 1;
        Ok(())
    };
    let e = a.fetcher(0).fetch(&meta, true, &abort, count).unwrap_err();
    assert!(matches!(&e, BlockError::Aborted { reason } if reason == "enough"), "{e}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while a.blocks.memory_manager().storage_used() > 0 {
        assert!(Instant::now() < deadline, "pieces are left");
        std::thread::yield_now();
    }
}

#[test]
fn without_keeping_nothing_stays_and_nobody_is_asked() {
    let value = value(5);
    let a = Process::start();
    let (driver, meta) = offer(&value, &[&a]);
    assert_eq!(a.fetcher(0).fetch_bytes(&meta, false, &Abort::never()).unwrap(), value);
    assert_eq!((a.blocks.memory_manager().storage_used(), a.blocks.broadcasts().len()), (0, 0));
    assert!(driver.blocks.broadcasts().forget_holders(meta.id).is_empty());
}
