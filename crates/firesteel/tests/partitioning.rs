//! Shuffles that the user partitions: by a count, by a partitioner of the user's own, and as another RDD lies.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;

use firesteel::{Partitioner, prelude::*};
use serde::{Deserialize, Serialize};

/// By the last digit of the key.
#[derive(Serialize, Deserialize, Clone)]
struct LastDigit(u32);

impl Partitioner<u64> for LastDigit {
    fn partition(&self, key: &u64) -> u32 {
        (key % 10) as u32 % self.0
    }

    fn partitions(&self) -> u32 {
        self.0
    }
}

fn cluster() -> Context {
    Context::builder().master("local-cluster[2,1,512]").app_name("partitioning").build().unwrap()
}

fn pairs(sc: &Context) -> Rdd<(u64, u64)> {
    sc.partitioned(3).range(0..600u64).map(|x| (x % 60, x))
}

/// Which partition each key lies in; a key in two of them fails.
fn places<V: firesteel::Data>(rdd: &Rdd<(u64, V)>) -> BTreeMap<u64, u32> {
    let placed = rdd.map_partitions_with_index(|p, pairs| pairs.map(move |(k, _)| (k, p)));
    let mut places = BTreeMap::new();
    for (key, p) in placed.collect().unwrap() {
        assert_eq!(*places.entry(key).or_insert(p), p, "key {key}");
    }
    places
}

fn by_last_digit(keys: u64, partitions: u32) -> BTreeMap<u64, u32> {
    (0..keys).map(|k| (k, LastDigit(partitions).partition(&k))).collect()
}

#[test]
fn a_partitioner_of_the_users_own_spreads_every_operator_that_shuffles() {
    let sc = cluster();
    let (pairs, expected) = (pairs(&sc), by_last_digit(60, 4));
    let by = LastDigit(4);
    let sums = pairs.partitioned(by.clone()).reduce_by_key(|a, b| a + b);
    assert_eq!((sums.num_partitions(), places(&sums)), (4, expected.clone()));
    assert_eq!(sums.map(|(_, sum)| sum).reduce(|a, b| a + b).unwrap(), 600 * 599 / 2);
    assert_eq!(places(&pairs.with(1u64).partitioned(by.clone()).fold_by_key(0, |one, a, b| a + b + one)), expected);
    assert_eq!(places(&pairs.partitioned(by.clone()).group_by_key()), expected);
    assert_eq!(places(&pairs.partitioned(by.clone()).aggregate_by_key(0u64, |n, _| n + 1, |a, b| a + b)), expected);
    assert_eq!(places(&pairs.partitioned(by.clone()).cogroup(&pairs)), expected);
    assert_eq!(places(&pairs.partitioned(by.clone()).left_outer_join(&sums)), expected);
    assert_eq!(places(&pairs.keys().partitioned(by.clone()).group_by(|x| *x)), expected);
    assert_eq!(places(&pairs.keys().partitioned(by).distinct().map(|k| (k, ()))), expected);
}

#[test]
fn pairs_are_spread_as_another_rdds_lie() {
    let sc = cluster();
    let customers = pairs(&sc).partitioned(LastDigit(7)).reduce_by_key(|a, b| a.max(b));
    let named = customers.map_values(|v| v.to_string());
    let orders = sc.partitioned(5).range(0..200u64).map(|x| (x % 20, x));
    let as_they_lie = named.partitioning().expect("map_values keeps the keys where they are");
    let joined = orders.partitioned(as_they_lie).join(&named);
    assert_eq!((joined.count().unwrap(), places(&joined)), (200, by_last_digit(20, 7)));
    // What nothing is said about lies as the parent does whose partitioner is known, as in Spark.
    let joined = orders.join(&named);
    assert_eq!((joined.num_partitions(), places(&joined)), (7, by_last_digit(20, 7)));
    assert!(orders.partitioning().is_none() && named.map(|pair| pair).partitioning().is_none());
}

#[test]
fn lookup_looks_at_the_partition_that_a_partitioner_names() {
    let sc = cluster();
    let spread = pairs(&sc).partition_by(LastDigit(10));
    let fussy = spread.filter(|(k, _)| {
        assert!(k % 10 == 3, "a partition is read that cannot have the key");
        true
    });
    let mut found = fussy.lookup(&13).unwrap();
    found.sort_unstable();
    assert_eq!(found, (0..10).map(|i| 13 + 60 * i).collect::<Vec<_>>());
    assert!(fussy.count().is_err());
}

#[test]
fn a_partitioner_that_points_beyond_its_partitions_fails_the_job_by_name() {
    #[derive(Serialize, Deserialize, Clone)]
    struct Beyond;

    impl Partitioner<u64> for Beyond {
        fn partition(&self, key: &u64) -> u32 {
            *key as u32
        }

        fn partitions(&self) -> u32 {
            2
        }
    }

    let sc = Context::builder().master("local[2]").build().unwrap();
    let error = pairs(&sc).partitioned(Beyond).reduce_by_key(|a, b| a + b).collect().unwrap_err().to_string();
    assert!(error.contains("of 2"), "{error}");
}

#[test]
fn no_partitions_count_as_one() {
    let sc = Context::builder().master("local[2]").build().unwrap();
    let sums = pairs(&sc).partitioned(0).reduce_by_key(|a, b| a + b);
    assert_eq!((sums.num_partitions(), sums.count().unwrap()), (1, 60));
    let sorted = pairs(&sc).partitioned(0).sort_by_key(true).unwrap();
    assert_eq!((sorted.num_partitions(), sorted.first().unwrap().0), (1, 0));
}
