//! The map side by itself: what it combines within its bound, and what goes out when that is reached.

use std::collections::BTreeMap;

use firesteel_common::{ExecutorId, StageAttempt, StageId, TaskId};
use firesteel_rpc::Role;
use firesteel_shuffle::{MapLocation, ShuffleConfig, ShuffleInput, ShuffleManager};
use firesteel_storage::{BlockClient, BlockManager};
use firesteel_task::{BroadcastValues, KillFlag, TaskInfo, TaskServices};

use super::*;
use crate::elements::FromIter;

/// The context of a task whose map side may hold `bytes`.
fn context(dir: &std::path::Path, bytes: usize) -> Arc<TaskContext> {
    let config = ShuffleConfig { write_buffer_bytes: bytes, ..ShuffleConfig::new(vec![dir.to_owned()], ExecutorId(0)) };
    let shuffle = Arc::new(
        ShuffleManager::new(config, BlockClient::new(firesteel_rpc::Transport::default(), "test", Role::Executor))
            .unwrap(),
    );
    let services = Arc::new(TaskServices {
        blocks: Arc::new(BlockManager::new(0)),
        shuffle,
        broadcasts: BroadcastValues::in_process(),
    });
    let stage = StageAttempt { stage: StageId(0), attempt: 0 };
    let info = TaskInfo { task: TaskId(1), stage, partition: 0, attempt_number: 0 };
    Arc::new(TaskContext::new(info, Arc::new(KillFlag::default()), services))
}

/// The records that the map side writes for ones under the keys of `keys`, by the number of bytes that it may hold.
fn written(keys: impl Iterator<Item = u64> + 'static, bytes: usize) -> Vec<(u64, u64)> {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context(dir.path(), bytes);
    let agg = Agg(
        |_: &(), v: u64| v,
        |_: &(), c: u64, v: u64| c + v,
        |_: &(), a: u64, b: u64| a + b,
        PhantomData::<fn(u64, u64, ()) -> u64>,
    );
    let env = Arc::new((ShuffleId(0), crate::Partitioning::hash(3), Arc::new(())));
    let input = FromIter::stream(keys.map(|k| (k, 1u64)), &ctx);
    let Ok(TaskOutput::Map(output)) = WriteCombined(agg).run(&env, input, &ctx) else { panic!("no map output") };
    let map = MapLocation {
        map_task: output.map_task,
        executor: ExecutorId(0),
        block_address: "unused".to_owned(),
        sizes: output.sizes,
    };
    let input = Arc::new(ShuffleInput { shuffle: ShuffleId(0), maps: vec![map], host_local: Default::default() });
    let mut all = Vec::new();
    for reduce in 0..3 {
        let blocks = ctx.services().shuffle.read(&input, reduce, firesteel_shuffle::Abort::new(|| None));
        RecordReader::new(blocks)
            .for_each(|record| {
                all.push(record);
                Ok::<(), TaskError>(())
            })
            .unwrap();
    }
    all
}

fn sums(records: &[(u64, u64)]) -> BTreeMap<u64, u64> {
    let mut sums = BTreeMap::new();
    records.iter().for_each(|(k, n)| *sums.entry(*k).or_default() += n);
    sums
}

#[test]
fn within_the_bound_each_key_is_written_once() {
    let records = written((0..100_000).map(|i| i % 500), 1 << 20);
    assert_eq!(records.len(), 500);
    assert!(records.iter().all(|(_, n)| *n == 200));
}

#[test]
fn a_table_that_reaches_the_bound_is_written_and_begun_anew() {
    // First many keys, which fill the table again and again, then few: those must be combined although it was full once.
    let keys = (0..50_000u64).chain((0..100_000).map(|i| i % 10));
    let records = written(keys, 100_000);
    let counts = sums(&records);
    assert_eq!(counts.len(), 50_000);
    assert!(counts.iter().all(|(k, n)| *n == if *k < 10 { 10_001 } else { 1 }));
    assert!((50_010..50_100).contains(&records.len()), "{} records: the table stopped combining", records.len());
}

#[test]
fn a_bound_smaller_than_an_entry_still_counts_right() {
    let records = written((0..5000).map(|i| i % 7), 1);
    assert_eq!(sums(&records).len(), 7);
    assert_eq!(records.iter().map(|(_, n)| n).sum::<u64>(), 5000);
}
