//! Operators and actions beside plain loops over the same data.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use firesteel::{Error, HashPartitioner, Partitioner, prelude::*};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

fn context(master: &str) -> Context {
    Context::builder().app_name("operators").master(master).build().unwrap()
}

fn sorted<T: Ord>(mut v: Vec<T>) -> Vec<T> {
    v.sort();
    v
}

#[test]
fn equal_seeds_keep_equal_elements_whatever_the_cluster() {
    let (one, four) = (context("local[1]"), context("local-cluster[2,2,512]"));
    for with_replacement in [false, true] {
        let sampled = |sc: &Context, seed| {
            let numbers = sc.partitioned(7).range(0..10_000u64);
            numbers.sample(with_replacement, 0.3, seed).unwrap().collect().unwrap()
        };
        let sample = sampled(&one, 1);
        assert_eq!(sample, sampled(&four, 1));
        assert_ne!(sample, sampled(&one, 2));
        assert!((2_700..3_300).contains(&sample.len()), "{}", sample.len());
        let different: BTreeSet<&u64> = sample.iter().collect();
        assert_eq!(different.len() == sample.len(), !with_replacement);
        assert!(sample.is_sorted(), "elements stay in order");
    }
}

#[test]
fn partitions_do_not_draw_the_same_numbers() {
    let sc = context("local[2]");
    let kept = sc.partitioned(64).range(0..6_400u64).sample(false, 0.5, 3).unwrap();
    let places = kept.map(|i| i % 100).collect_partitions().unwrap();
    let different: BTreeSet<Vec<u64>> = places.into_iter().collect();
    assert_eq!(different.len(), 64);
}

#[test]
fn fractions_and_weights_that_make_no_sense_are_errors() {
    let sc = context("local[1]");
    let numbers = sc.range(0..10u64);
    for (with_replacement, fraction) in
        [(false, -0.1), (false, 1.1), (false, f64::NAN), (true, -1.0), (true, f64::INFINITY)]
    {
        let error = numbers.sample(with_replacement, fraction, 1).err().unwrap();
        assert!(matches!(&error, Error::InvalidArgument(_)), "{fraction}: {error}");
    }
    for weights in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY, 1.0]] {
        assert!(matches!(numbers.random_split(weights, 1), Err(Error::InvalidArgument(_))), "{weights:?}");
    }
    assert_eq!(numbers.sample(false, 1.0, 1).unwrap().count().unwrap(), 10);
    assert_eq!(numbers.sample(true, 0.0, 1).unwrap().count().unwrap(), 0);
    assert_eq!(numbers.sample(false, 0.0, 1).unwrap().count().unwrap(), 0);
    let edges: [&[f64]; 5] = [&[], &[1.0], &[1.0, 1.0], &[2.0, 1.0], &[0.0, f64::NAN]];
    for edges in edges {
        assert!(matches!(numbers.histogram_of(edges), Err(Error::InvalidArgument(_))), "{edges:?}");
    }
    assert!(matches!(numbers.histogram(0), Err(Error::InvalidArgument(_))));
    assert!(matches!(numbers.filter(|i| *i > 99).histogram(2), Err(Error::Empty(_))));
    assert!(matches!(sc.parallelize([1.0, f64::NAN]).histogram(2), Err(Error::InvalidArgument(_))));
    assert!(matches!(numbers.count_approx_distinct(1e-9), Err(Error::InvalidArgument(_))));
}

#[test]
fn a_split_loses_and_doubles_nothing() {
    let sc = context("local[2]");
    let numbers = sc.partitioned(5).range(0..5_000u64);
    for weights in [&[1.0][..], &[0.5, 0.5], &[3.0, 0.0, 7.0], &[1e-9, 1.0, 1e9], &[0.1; 10]] {
        let parts = numbers.random_split(weights, 11).unwrap();
        assert_eq!(parts.len(), weights.len());
        let all: Vec<u64> = parts.iter().flat_map(|part| part.collect().unwrap()).collect();
        assert_eq!(sorted(all), (0..5_000).collect::<Vec<_>>(), "{weights:?}");
    }
    assert_eq!(numbers.random_split(&[0.0, 1.0], 1).unwrap()[0].count().unwrap(), 0);
}

#[test]
fn so_many_elements_are_drawn_as_were_asked_for() {
    let sc = context("local[2]");
    let numbers = sc.partitioned(3).range(0..1_000u64);
    for n in [0usize, 1, 5, 100, 999, 1_000, 2_000] {
        let drawn = numbers.take_sample(false, n, 5).unwrap();
        let different: BTreeSet<&u64> = drawn.iter().collect();
        assert_eq!((drawn.len(), different.len()), (n.min(1_000), n.min(1_000)));
        assert_eq!(numbers.take_sample(true, n, 5).unwrap().len(), n);
    }
    assert!(!numbers.take_sample(false, 1_000, 5).unwrap().is_sorted(), "in random order");
    assert_eq!(numbers.filter(|i| *i > 5_000).take_sample(true, 10, 1).unwrap(), [0u64; 0]);
}

#[test]
fn strata_have_fractions_of_their_own() {
    let sc = context("local[2]");
    let pairs = sc.partitioned(4).range(0..40_000u64).map(|i| ((i % 4) as u8, i));
    let fractions = [(0u8, 0.0), (1, 0.5), (2, 1.0)];
    let kept = pairs.sample_by_key(false, fractions.into(), 9).unwrap().count_by_key().unwrap();
    assert_eq!((kept.get(&0), kept[&2], kept.get(&3)), (None, 10_000, None));
    assert!((4_700..5_300).contains(&kept[&1]), "{kept:?}");
    let kept = pairs.sample_by_key(true, [(1u8, 2.0)].into(), 9).unwrap().count_by_key().unwrap();
    assert!(kept.len() == 1 && (19_000..21_000).contains(&kept[&1]), "{kept:?}");
    assert!(matches!(pairs.sample_by_key(false, [(1u8, 1.5)].into(), 1), Err(Error::InvalidArgument(_))));
}

/// Spreads by the first part of a key of two.
#[derive(Clone, Serialize, Deserialize)]
struct ByUser(u32);

impl Partitioner<(u32, u64)> for ByUser {
    fn partitions(&self) -> u32 {
        self.0
    }

    fn partition(&self, (user, _): &(u32, u64)) -> u32 {
        user % self.0
    }
}

#[test]
fn visits_are_in_order_for_each_user_without_a_group_in_memory() {
    for master in ["local[2]", "local-cluster[2,1,512]"] {
        let sc = context(master);
        let visits = sc.partitioned(6).range(0..6_000u64).map(|i| (((i % 7) as u32, (i * 7919) % 6_000), i));
        let sorted = visits.partitioned(ByUser(3)).repartition_and_sort_within_partitions();
        let parts = sorted.keys().collect_partitions().unwrap();
        assert_eq!(parts.len(), 3);
        for (p, part) in parts.iter().enumerate() {
            assert!(part.is_sorted() && part.iter().all(|(user, _)| *user as usize % 3 == p));
        }
        assert_eq!(parts.concat().len(), 6_000);
        assert!(sorted.partitioning().is_some(), "what is grouped now does not move again");
    }
}

#[test]
fn the_iterator_holds_one_partition_and_ends_after_an_error() {
    let sc = context("local[2]");
    let numbers = sc.partitioned(10).range(0..1_000u64);
    let all: Vec<u64> = numbers.to_local_iterator().map(Result::unwrap).collect();
    assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    let looked_at = sc.long_accumulator("looked at");
    let counted = numbers.with(looked_at.clone()).map(|looked_at, i| {
        looked_at.add(1);
        i
    });
    assert_eq!(counted.to_local_iterator().next().unwrap().unwrap(), 0);
    assert_eq!(looked_at.value().unwrap(), 100, "the others are not computed before they are wanted");
    let bad = numbers.try_map(|i| if i < 150 { Ok(i) } else { Err(format!("no {i}")) });
    let (good, errors): (Vec<_>, Vec<_>) = bad.to_local_iterator().partition(Result::is_ok);
    assert_eq!((good.len(), errors.len()), (100, 1));
}

#[test]
fn sums_of_whole_numbers_are_exact() {
    let sc = context("local[2]");
    assert_eq!(sc.parallelize([u64::MAX, u64::MAX, 1]).sum().unwrap(), 2 * u128::from(u64::MAX) + 1);
    assert_eq!(sc.parallelize([i64::MIN, i64::MIN]).sum().unwrap(), 2 * i128::from(i64::MIN));
    assert_eq!(sc.parallelize([0.5f32, 0.25]).sum().unwrap(), 0.75);
    assert_eq!(sc.range(0..0u64).sum().unwrap(), 0);
    let stats = sc.partitioned(9).range(1..101u64).stats().unwrap();
    assert_eq!((stats.count(), stats.min(), stats.max(), stats.mean()), (100, 1.0, 100.0, 50.5));
    assert!((stats.variance() - 833.25).abs() < 1e-9 && (stats.sample_variance() - 841.666_666_666_666_6).abs() < 1e-9);
    let (edges, counts) = sc.parallelize([5u32, 5, 5]).histogram(4).unwrap();
    assert_eq!((edges, counts), (vec![5.0, 5.0], vec![3]), "as Spark has it");
}

#[test]
fn three_cogrouped_rdds_move_once_each() {
    let sc = context("local[2]");
    let by = HashPartitioner::new(4);
    let of = |n: u64| sc.partitioned(3).range(0..n).map(|i| (i % 10, i));
    let (a, b, c) = (of(20), of(30), of(5));
    let all = a.cogroup3(&b, &c);
    assert_eq!(all.to_debug_string().matches("+-").count(), 3, "{}", all.to_debug_string());
    let groups = all.collect_as_map().unwrap();
    assert_eq!(groups.len(), 10);
    assert_eq!(sorted(groups[&3].0.clone()), [3, 13]);
    assert_eq!((sorted(groups[&3].1.clone()), groups[&3].2.clone()), (vec![3, 13, 23], vec![3]));
    assert_eq!(groups[&7].2, [0u64; 0]);
    let [a, b, c] = [a, b, c].map(|rdd| rdd.partition_by(by));
    let lies_right = a.cogroup4(&b, &c, &a);
    assert_eq!(lies_right.to_debug_string().matches("+-").count(), 3, "only what partition_by moved");
    assert_eq!(lies_right.collect_as_map().unwrap()[&3].3.len(), 2);
}

#[test]
fn a_lineage_as_text_has_a_line_for_each_rdd_and_a_step_for_each_shuffle() {
    let sc = context("local[2]");
    let words = sc.partitioned(3).parallelize(["to", "be"].map(String::from)).set_name("words");
    let counts = words.map(|word| (word, 1u64)).partitioned(2).reduce_by_key(|a, b| a + b);
    let joined = counts.join(&words.map(|word| (word, 'x'))).cache();
    let text = joined.to_debug_string();
    let without = |line: &str| {
        // Numbers and places are those of this file.
        let (head, rest) = line.split_once('[').unwrap();
        format!("{head}{}", &rest[rest.rfind(" [").unwrap()..])
    };
    let lines: Vec<String> = text.lines().map(without).collect();
    assert_eq!(
        lines,
        [
            "(2) join [MEMORY_ONLY]",
            " |  reduce_by_key []",
            " +-(3) map []",
            "    |  words parallelize []",
            " +-(3) map []",
            "    |  words parallelize [] (as above)",
        ],
        "{text}"
    );
    assert!(text.contains("operators.rs:"), "{text}");
}

#[test]
fn a_deep_lineage_is_written_without_a_deep_stack() {
    let sc = context("local[1]");
    let mut numbers = sc.range(0..4u64);
    for _ in 0..20_000 {
        numbers = numbers.map(|i| i + 1);
    }
    assert_eq!(numbers.to_debug_string().lines().count(), 20_001);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn operators_do_what_loops_do(a: Vec<u8>, b: Vec<u8>, n in 1u32..6, m in 1u32..6) {
        let sc = context("local[2]");
        let (left, right) = (sc.partitioned(n).parallelize(a.clone()), sc.partitioned(m).parallelize(b.clone()));
        let there: BTreeSet<u8> = b.iter().copied().collect();

        let lacking: Vec<u8> = a.iter().copied().filter(|x| !there.contains(x)).collect();
        prop_assert_eq!(sorted(left.subtract(&right).collect().unwrap()), sorted(lacking));
        let both: BTreeSet<u8> = a.iter().copied().filter(|x| there.contains(x)).collect();
        let intersection = left.partitioned(m).intersection(&right);
        prop_assert_eq!(intersection.num_partitions(), m);
        prop_assert_eq!(sorted(intersection.collect().unwrap()), both.into_iter().collect::<Vec<_>>());

        let numbered: Vec<(u8, u64)> = a.iter().copied().zip(0..).collect();
        prop_assert_eq!(left.zip_with_index().unwrap().collect().unwrap(), numbered);
        let ids: BTreeSet<u64> = left.zip_with_unique_id().values().collect().unwrap().into_iter().collect();
        prop_assert_eq!(ids.len(), a.len());
        prop_assert_eq!(left.glom().collect().unwrap(), left.collect_partitions().unwrap());
        prop_assert_eq!(left.filter_map(|x| x.checked_sub(100)).collect().unwrap(), a.iter().filter_map(|x| x.checked_sub(100)).collect::<Vec<_>>());

        let mut sums = BTreeMap::new();
        a.iter().for_each(|x| *sums.entry(x % 5).or_insert(0u64) += u64::from(*x));
        let locally = left.map(|x| (x % 5, u64::from(x))).reduce_by_key_locally(|a, b| a + b).unwrap();
        prop_assert_eq!(locally.into_iter().collect::<BTreeMap<_, _>>(), sums);
        prop_assert_eq!(left.sum().unwrap(), a.iter().map(|x| u128::from(*x)).sum::<u128>());
        let inside = |from: f64, to: f64, last: bool| {
            a.iter().filter(|x| { let x = f64::from(**x); x >= from && (x < to || last && x == to) }).count() as u64
        };
        let counts = left.histogram_of(&[10.0, 100.0, 200.0]).unwrap();
        prop_assert_eq!(counts, [inside(10.0, 100.0, false), inside(100.0, 200.0, true)]);

        let distinct: BTreeSet<&u8> = a.iter().collect();
        let estimate = left.count_approx_distinct(0.01).unwrap() as f64;
        prop_assert!((estimate - distinct.len() as f64).abs() <= 0.05 * distinct.len() as f64 + 0.5, "{estimate}");
    }
}
