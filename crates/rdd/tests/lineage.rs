//! Stages on the wire: what an executor makes of tables that are whole, and of those that are damaged.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex, Weak, atomic::AtomicU32};

use firesteel_closure::{Table, TableNode};
use firesteel_common::RddId;
use firesteel_rdd::{
    Error, Lazy, Rdd,
    lineage::{StageLineage, decode_stage},
    runner::{Job, JobHandle, JobRunner, Scope},
    sources::{parallelize, range},
};
use firesteel_shuffle::HashPartitioner;
use proptest::prelude::*;

/// Takes the jobs instead of running them.
#[derive(Default)]
struct Taker(Mutex<Option<Job>>);

impl JobRunner for Taker {
    fn submit(&self, job: Job) -> Result<JobHandle, Error> {
        *self.0.lock().unwrap() = Some(job);
        Err(Error::Stopped)
    }

    fn unpersist(&self, _: RddId) {}

    fn is_kept(&self, _: RddId, _: u32) -> Result<bool, Error> {
        Err(Error::Stopped)
    }
}

/// The job that `action` submits.
fn job_of(action: impl FnOnce(&Arc<Scope>)) -> Job {
    let taker = Arc::new(Taker::default());
    let runner: Weak<dyn JobRunner> = Arc::downgrade(&(taker.clone() as Arc<dyn JobRunner>));
    action(&Scope::new(runner, None, Arc::new(AtomicU32::new(2))));
    taker.0.lock().unwrap().take().unwrap()
}

fn stage_of(action: impl FnOnce(&Arc<Scope>)) -> Vec<u8> {
    let Job { root, output, .. } = job_of(action);
    StageLineage::of(&root).encode(output).unwrap()
}

/// A stage with most kinds of nodes in it: sources, pipes with environments, gathers, shuffle reads, a diamond.
fn sample() -> Vec<u8> {
    stage_of(|scope| {
        let numbers = range(scope, 0..10u64, 3).with(3u64).filter(|n, x| x % n == 0).cache();
        let texts = parallelize(scope, vec!["a".to_string()], 2).with(vec!["b".to_string()]).map(|e, s| s + &e[0]);
        let pairs = numbers.union(&numbers.flat_map(|x| 0..x)).coalesce(2).map(|x| (x % 3, x));
        let reduced = pairs.reduce_by_key(|a, b| a + b);
        let grouped = pairs.partition_by(HashPartitioner::new(2)).cogroup(&reduced);
        let lens = texts.with(Lazy::new(|| 7u64)).map_partitions_with_index(|n, i, it| {
            let base = **n + u64::from(i);
            it.map(move |s| s.len() as u64 + base)
        });
        let sizes = grouped.map(|(k, (a, b))| k + (a.len() + b.len()) as u64);
        let all: Rdd<u64> = sizes.union(&lens).union(&numbers.repartition(2));
        assert!(matches!(all.aggregate(0u64, |a, x| a + x, |a, b| a + b), Err(Error::Stopped)));
    })
}

#[test]
fn a_whole_table_decodes_with_shared_nodes_once() {
    let bytes = sample();
    decode_stage(&bytes).unwrap();
    assert!(Table::decode(&bytes).unwrap().nodes.len() > 8);
    let diamond = stage_of(|scope| {
        let base = range(scope, 0..10u64, 3).map(|x| x + 1);
        let _ = base.union(&base).union(&base.map(|x| x)).count();
    });
    // range, two maps, two unions and the output.
    assert_eq!(Table::decode(&diamond).unwrap().nodes.len(), 6);
}

#[test]
fn a_task_gets_the_input_of_its_own_partitions_only() {
    let job = job_of(|scope| {
        let left = parallelize(scope, (0..6u64).collect(), 3);
        let _ = left.union(&left).coalesce(3).union(&range(scope, 0..5u64, 2)).count();
    });
    let stage = StageLineage::of(&job.root);
    let inputs = |p| stage.inputs_of(p).unwrap().iter().map(|i| i.partition).collect::<Vec<_>>();
    assert_eq!((inputs(0).len(), inputs(1).len(), inputs(2).len()), (2, 2, 2));
    assert_eq!((inputs(3), inputs(4)), (vec![0], vec![1]));
}

#[test]
fn a_table_without_an_output_is_an_error() {
    let mut table = Table::decode(&sample()).unwrap();
    table.nodes.pop();
    assert!(decode_stage(&table.encode().unwrap()).err().unwrap().to_string().contains("output"));
    assert!(decode_stage(&[]).is_err());
    assert!(decode_stage(&Table::default().encode().unwrap()).is_err());
}

#[test]
fn a_parent_of_another_element_type_is_an_error() {
    let strings = stage_of(|scope| _ = parallelize(scope, vec![String::new()], 1).map(|s| s + "x").collect());
    let numbers = stage_of(|scope| _ = parallelize(scope, vec![0u64], 1).map(|x| x + 1).collect());
    let mut table = Table::decode(&strings).unwrap();
    table.nodes[0] = Table::decode(&numbers).unwrap().nodes[0].clone();
    assert!(decode_stage(&table.encode().unwrap()).err().unwrap().to_string().contains("is not a"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_are_a_stage_or_an_error(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
        cut: Option<prop::sample::Index>,
        more in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = sample();
        for (at, bits) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(more);
        // Damage within one of the user's numbers gives another number, which nobody can tell; never a crash.
        let _ = decode_stage(&bytes);
    }

    #[test]
    fn tables_put_together_wrongly_are_a_stage_or_an_error(
        changes in prop::collection::vec(
            (0u8..5, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u32>()),
            1..5,
        ),
    ) {
        let mut table = Table::decode(&sample()).unwrap();
        for (kind, a, b, n) in changes {
            let (a, b) = (a.index(table.nodes.len()), b.index(table.nodes.len()));
            let TableNode { code, parents, env } = table.nodes[b].clone();
            match kind {
                0 => table.nodes[a].code = code,
                1 => table.nodes[a].env = env,
                2 => table.nodes[a].parents = parents,
                3 => table.nodes[a].parents.push(n % (a as u32 + 1)),
                _ => table.nodes.swap(a, b),
            }
        }
        let _ = decode_stage(&table.encode().unwrap());
    }
}
