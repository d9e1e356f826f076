//! Times of the record path: `cargo run --release -p firesteel-shuffle --example shuffle_bench`.
//!
//! One map task writes for eight reducers, which then read their blocks back; nanoseconds a record, the best of five.
#![allow(clippy::print_stdout, clippy::disallowed_types, reason = "a program of its own")]
#![allow(clippy::unwrap_used)]

use std::{
    hash::Hash,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use firesteel_common::{ExecutorId, ShuffleId, TaskId, hash::fixed_hash};
use firesteel_rpc::{Role, Transport};
use firesteel_shuffle::{
    Abort, CombineTable, Compression, HashPartitioner, MapLocation, MapWriter, Partitioner, RecordReader,
    ShuffleConfig, ShuffleInput, ShuffleManager,
};
use firesteel_storage::{BlockClient, BlockServer};
use serde::{Serialize, de::DeserializeOwned};

const RECORDS: usize = 2_000_000;
const REDUCERS: u32 = 8;

fn main() {
    let numbers: Vec<(u64, u64)> = (0..RECORDS as u64).map(|i| (mix(i) >> 20, i)).collect();
    let words: Vec<(String, u64)> = (0..RECORDS as u64).map(|i| (format!("word{}", mix(i) % 100_000), 1)).collect();
    for compression in [Compression::None, Compression::Lz4] {
        println!("compression {compression:?}");
        shuffle("  (u64, u64)   ", &numbers, compression);
        shuffle("  (String, u64)", &words, compression);
    }
    println!("combine table, ns a record");
    for keys in [1_000u64, 100_000, 2_000_000] {
        let data: Vec<(u64, u64)> = (0..RECORDS as u64).map(|i| (mix(i) % keys, i)).collect();
        let best = best_of(|| {
            let mut table = CombineTable::new();
            for &(k, v) in &data {
                table.upsert(fixed_hash(&k), k, v, |v| v, |c, v| *c += v);
            }
            table.len() as u64
        });
        let plain = best_of(|| {
            let mut table = std::collections::HashMap::with_hasher(firesteel_common::hash::FixedHash);
            for &(k, v) in &data {
                *table.entry(k).or_insert(0) += v;
            }
            table.len() as u64
        });
        println!("  u64 keys, {keys:>8} distinct: {best:6.1}   (std HashMap, same hash: {plain:.1})");
    }
    let best = best_of(|| {
        let mut table = CombineTable::new();
        for (k, v) in words.iter().cloned() {
            table.upsert(fixed_hash(&k), k, v, |v| v, |c, v| *c += v);
        }
        table.len() as u64
    });
    println!("  String keys,  100000 distinct: {best:6.1}   (with the clone of the key)");
    remote(&numbers);
}

fn shuffle<K, V>(name: &str, data: &[(K, V)], compression: Compression)
where
    K: Serialize + DeserializeOwned + Hash,
    V: Serialize + DeserializeOwned,
{
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(&dir, 0, compression);
    let partitioner = HashPartitioner::new(REDUCERS);
    let (mut write, mut read, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for round in 0..5 {
        let map_task = TaskId(round);
        let start = Instant::now();
        let mut writer = MapWriter::new(&manager, ShuffleId(0), map_task, REDUCERS);
        for record in data {
            writer.write(partitioner.partition(&record.0), record).unwrap();
        }
        let output = writer.finish().unwrap();
        write = write.min(start.elapsed());
        bytes = output.sizes.iter().map(|c| firesteel_shuffle::size_of_code(*c)).sum();
        let input = input(map_task, 0, "", output.sizes);
        let start = Instant::now();
        let mut count = 0;
        for reduce in 0..REDUCERS {
            let mut reader = RecordReader::<(K, V)>::new(manager.read(&input, reduce, Abort::never()));
            while let Some(batch) = reader.next_batch(1024).unwrap() {
                count += batch.len();
            }
        }
        read = read.min(start.elapsed());
        assert_eq!(count, data.len());
    }
    let per = |d: Duration| d.as_nanos() as f64 / data.len() as f64;
    println!(
        "{name} write {:6.1} ns, read {:6.1} ns, about {} bytes a record",
        per(write),
        per(read),
        bytes / data.len() as u64
    );
}

/// Two executors in one process: blocks of about 4 MB over TCP, and the latency of a small one.
fn remote(data: &[(u64, u64)]) {
    let dir = tempfile::tempdir().unwrap();
    let there = manager(&dir, 1, Compression::None);
    let server =
        BlockServer::start(TcpListener::bind("127.0.0.1:0").unwrap(), there.clone(), Transport::default(), "app")
            .unwrap();
    let address = server.local_addr().to_string();
    let map = |task, count| {
        let mut writer = MapWriter::new(&there, ShuffleId(0), TaskId(task), 1);
        data[..count].iter().for_each(|record| writer.write(0, record).unwrap());
        let (map_task, block_address) = (TaskId(task), address.clone());
        MapLocation { map_task, executor: ExecutorId(1), block_address, sizes: writer.finish().unwrap().sizes }
    };
    let large: Vec<MapLocation> = (0..32).map(|task| map(task, 300_000)).collect();
    let large = Arc::new(ShuffleInput { shuffle: ShuffleId(0), maps: large, host_local: Default::default() });
    let small =
        Arc::new(ShuffleInput { shuffle: ShuffleId(0), maps: vec![map(99, 1)], host_local: Default::default() });
    let here = manager(&tempfile::tempdir().unwrap(), 0, Compression::None);
    let drain = |input| {
        let mut blocks = here.read(input, 0, Abort::never());
        let mut bytes = 0;
        while blocks.advance().unwrap() {
            bytes += blocks.frame().len();
        }
        bytes
    };
    let mut best = Duration::MAX;
    let mut bytes = 0;
    for _ in 0..10 {
        let start = Instant::now();
        bytes = drain(&large);
        best = best.min(start.elapsed());
    }
    println!("32 remote blocks, {} MB: {:.2} GB/s", bytes >> 20, bytes as f64 / best.as_nanos() as f64);
    let mut times: Vec<Duration> = (0..1000)
        .map(|_| {
            let start = Instant::now();
            drain(&small);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("remote block of one record: {:?} median", times[500]);
}

fn manager(dir: &tempfile::TempDir, executor: u32, compression: Compression) -> Arc<ShuffleManager> {
    let config = ShuffleConfig { compression, ..ShuffleConfig::new(vec![dir.path().to_owned()], ExecutorId(executor)) };
    Arc::new(ShuffleManager::new(config, BlockClient::new(Transport::default(), "app", Role::Executor)).unwrap())
}

fn input(map_task: TaskId, executor: u32, address: &str, sizes: Vec<u8>) -> Arc<ShuffleInput> {
    let location = MapLocation { map_task, executor: ExecutorId(executor), block_address: address.to_owned(), sizes };
    Arc::new(ShuffleInput { shuffle: ShuffleId(0), maps: vec![location], host_local: Default::default() })
}

fn best_of(mut work: impl FnMut() -> u64) -> f64 {
    let best = (0..5).map(|_| {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed()
    });
    best.min().unwrap_or_default().as_nanos() as f64 / RECORDS as f64
}

/// A pseudo-random permutation, so that the data needs no crate and no seed.
fn mix(i: u64) -> u64 {
    let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ x >> 32
}
