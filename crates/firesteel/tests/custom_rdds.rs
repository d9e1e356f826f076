//! RDDs that are written outside of the library: a source with places, and others over one, two and many parents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeSet, error::Error as StdError, sync::Arc};

use firesteel::{
    CustomRdd, Error, NarrowMap, ParentInput, TaskContext,
    events::{AppEvent, DeterministicLevel, TaskLocality},
    prelude::*,
};
use serde::{Deserialize, Serialize};

type Computed<T> = Result<T, Box<dyn StdError + Send + Sync>>;

fn context(master: &str) -> Context {
    Context::builder().app_name("custom").master(master).build().unwrap()
}

/// Runs of numbers, a partition each, which lie on hosts.
#[derive(Serialize, Deserialize)]
struct Runs {
    of: Vec<(u64, u64)>,
    hosts: Vec<String>,
}

impl Runs {
    fn new(of: &[(u64, u64)]) -> Self {
        Runs { of: of.to_vec(), hosts: Vec::new() }
    }
}

impl CustomRdd for Runs {
    type Item = u64;
    type Parents = ();

    fn partitions(&self) -> u32 {
        self.of.len() as u32
    }

    fn preferred_locations(&self, _: u32) -> Vec<String> {
        self.hosts.clone()
    }

    fn compute(&self, partition: u32, (): (), ctx: &Arc<TaskContext>) -> Computed<impl Iterator<Item = u64> + 'static> {
        assert!(!ctx.is_interrupted());
        let (from, to) = self.of[partition as usize];
        if from > to {
            return Err(format!("the run {from}..{to} is none").into());
        }
        Ok(from..to)
    }
}

/// The elements of two RDDs in turn, and then those of the longer one.
#[derive(Serialize, Deserialize)]
struct Interleaved {
    partitions: u32,
    right: NarrowMap,
}

struct InTurn<A, B> {
    left: A,
    right: B,
    turn: bool,
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for InTurn<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.turn = !self.turn;
        if self.turn {
            self.left.next().or_else(|| self.right.next())
        } else {
            self.right.next().or_else(|| self.left.next())
        }
    }
}

impl CustomRdd for Interleaved {
    type Item = u64;
    type Parents = (Rdd<u64>, Rdd<u64>);

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn dependencies(&self) -> Vec<NarrowMap> {
        vec![NarrowMap::OneToOne, self.right.clone()]
    }

    fn compute(
        &self,
        _: u32,
        (left, right): (ParentInput<u64>, ParentInput<u64>),
        _: &Arc<TaskContext>,
    ) -> Computed<impl Iterator<Item = u64> + 'static> {
        Ok(InTurn { left: left.elements(), right: right.elements(), turn: false })
    }
}

/// The number of elements of each parent's partitions.
#[derive(Serialize, Deserialize)]
struct Lengths(u32, usize);

impl CustomRdd for Lengths {
    type Item = Vec<u64>;
    type Parents = Vec<Rdd<String>>;

    fn partitions(&self) -> u32 {
        self.0
    }

    fn dependencies(&self) -> Vec<NarrowMap> {
        vec![NarrowMap::OneToOne; self.1]
    }

    fn by_position(&self) -> bool {
        false
    }

    fn compute(
        &self,
        _: u32,
        parents: Vec<ParentInput<String>>,
        _: &Arc<TaskContext>,
    ) -> Computed<impl Iterator<Item = Vec<u64>> + 'static> {
        Ok(std::iter::once(parents.iter().map(|parent| parent.elements().count() as u64).collect()))
    }
}

fn sources_and_interleavings(sc: &Context) {
    let runs = sc.rdd(Runs::new(&[(0, 3), (10, 10), (20, 5000)])).unwrap();
    assert_eq!(runs.num_partitions(), 3);
    let expected: Vec<u64> = (0..3).chain(20..5000).collect();
    assert_eq!(runs.collect().unwrap(), expected);
    assert_eq!(runs.map(|x| x * 2).filter(|x| x % 4 == 0).count().unwrap(), 2 + 2490);
    let sums = runs.map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b).collect_as_map().unwrap();
    assert_eq!(sums.values().sum::<u64>(), expected.iter().sum::<u64>());

    // In another order, kept, and of a parent that was shuffled.
    let (left, right) = (sc.partitioned(2).range(0..4u64), sc.rdd(Runs::new(&[(70, 71), (80, 83), (90, 91)])).unwrap());
    let backwards = Interleaved { partitions: 2, right: NarrowMap::groups([vec![2, 0], vec![1]]) };
    let mixed = sc.rdd_from(backwards, (left.clone(), right)).unwrap().cache();
    for _ in 0..2 {
        assert_eq!(mixed.collect_partitions().unwrap(), [vec![0, 90, 1, 70], vec![2, 80, 3, 81, 82]]);
    }
    let shuffled =
        sc.partitioned(3).range(0..1000u64).map(|x| (x % 2, x)).partition_by(HashPartitioner::new(2)).values();
    let mixed = sc.rdd_from(Interleaved { partitions: 2, right: NarrowMap::OneToOne }, (left, shuffled)).unwrap();
    let all: BTreeSet<u64> = mixed.collect().unwrap().into_iter().collect();
    assert_eq!((all.len(), mixed.count().unwrap()), (1000, 1004));
}

#[test]
fn sources_and_interleavings_on_threads() {
    sources_and_interleavings(&context("local[2]"));
}

#[test]
fn sources_and_interleavings_on_executors_of_their_own() {
    sources_and_interleavings(&context("local-cluster[2,1,512]"));
}

#[test]
fn tasks_run_where_a_source_says_and_where_the_source_of_a_parent_says() {
    let sc = context("local-cluster[1,2,512]");
    let host = executor_host(&sc);
    let at = |hosts: &[&str]| Runs { of: vec![(0, 5), (5, 9)], hosts: hosts.iter().map(|h| (*h).to_owned()).collect() };
    let here = sc.rdd(at(&[&host])).unwrap();
    let over = Interleaved { partitions: 2, right: NarrowMap::OneToOne };
    let over = sc.rdd_from(over, (here.clone(), here.clone())).unwrap();
    for (rdd, expected) in [
        (&here, TaskLocality::Node),
        (&over, TaskLocality::Node),
        (&sc.rdd(Runs::new(&[(0, 1)])).unwrap(), TaskLocality::NoPreference),
    ] {
        let (told, tasks) = std::sync::mpsc::channel();
        let _listening = sc.add_listener(move |event: &AppEvent| {
            if let AppEvent::TaskStart { info, .. } = event {
                _ = told.send(info.locality);
            }
        });
        rdd.count().unwrap();
        assert_eq!(tasks.recv_timeout(std::time::Duration::from_secs(20)).unwrap(), expected);
    }
}

fn executor_host(sc: &Context) -> String {
    let (told, hosts) = std::sync::mpsc::channel();
    let _listening = sc.add_listener(move |event: &AppEvent| {
        if let AppEvent::TaskStart { info, .. } = event {
            _ = told.send(info.host.clone());
        }
    });
    sc.range(0..1u64).count().unwrap();
    hosts.recv_timeout(std::time::Duration::from_secs(20)).unwrap()
}

#[test]
fn parents_in_a_vec_are_read_each() {
    let sc = context("local[2]");
    let words = |n: u64| sc.partitioned(2).range(0..n).map(|i| i.to_string());
    let lengths = sc.rdd_from(Lengths(2, 3), vec![words(4), words(0), words(2000)]).unwrap();
    assert_eq!(lengths.collect().unwrap(), [[2, 0, 1000], [2, 0, 1000]]);
}

#[test]
fn an_error_of_compute_fails_the_task_with_its_text_and_the_name_of_the_type() {
    let sc = context("local[1]");
    let error = sc.rdd(Runs::new(&[(0, 3), (5, 4)])).unwrap().count().unwrap_err();
    assert!(error.to_string().contains("the run 5..4 is none"), "{error}");
    let (told, names) = std::sync::mpsc::channel();
    let _listening = sc.add_listener(move |event: &AppEvent| {
        if let AppEvent::StageSubmitted { info, .. } = event {
            told.send(info.rdds.iter().map(|rdd| rdd.name.to_string()).collect::<Vec<_>>()).unwrap();
        }
    });
    sc.rdd(Runs::new(&[(0, 3)])).unwrap().count().unwrap();
    let names = names.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert!(names.iter().any(|name| name.contains("Runs")), "{names:?}");
}

#[test]
fn dependencies_that_do_not_fit_are_an_error_at_once() {
    let sc = context("local[1]");
    let two = sc.partitioned(2).range(0..4u64);
    let of = |partitions, right| sc.rdd_from(Interleaved { partitions, right }, (two.clone(), two.clone())).err();
    assert!(of(2, NarrowMap::OneToOne).is_none());
    let too_many = of(3, NarrowMap::groups([vec![], vec![], vec![]])).unwrap();
    assert!(matches!(&too_many, Error::InvalidArgument(what) if what.contains("Interleaved")), "{too_many}");
    assert!(of(2, NarrowMap::Selected([0, 2].into())).unwrap().to_string().contains("parent 1"));
    let words = vec![sc.partitioned(2).parallelize(["a", "b"].map(String::from))];
    let fewer = sc.rdd_from(Lengths(2, 2), words).err().unwrap();
    assert!(fewer.to_string().contains("2 parents where 1 are given"), "{fewer}");
}

#[test]
fn what_reads_by_position_in_an_uncertain_order_is_indeterminate() {
    let sc = context("local[1]");
    let pairs = sc.partitioned(2).range(0..10u64).map(|i| (i, i));
    let joined = pairs.join(&pairs).keys();
    let level = |rdd: &Rdd<u64>| {
        let n = rdd.num_partitions();
        let both = (rdd.clone(), rdd.clone());
        let custom = Interleaved { partitions: n, right: NarrowMap::OneToOne };
        sc.rdd_from(custom, both).unwrap().deterministic_level()
    };
    assert_eq!(level(&pairs.keys()), DeterministicLevel::Determinate);
    assert_eq!(level(&joined), DeterministicLevel::Indeterminate);
    let words = vec![joined.map(|i| i.to_string())];
    let lengths = sc.rdd_from(Lengths(joined.num_partitions(), 1), words).unwrap();
    assert_eq!(lengths.deterministic_level(), DeterministicLevel::Unordered);
}
