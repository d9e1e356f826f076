//! Operators over owned and over kept chunks, and the actions that make one value of all elements.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use firesteel::prelude::*;

fn context() -> Context {
    Context::builder().master("local[2]").build().unwrap()
}

#[test]
fn kept_and_computed_elements_give_the_same() {
    let sc = context();
    let expected: Vec<i64> = (-5000..5000).map(|x| x * 3).filter(|x| x % 4 == 0).collect();
    let sum: i64 = expected.iter().sum();
    let computed = sc.partitioned(3).range(-5000..5000i64).map(|x| x * 3).filter(|x| x % 4 == 0);
    let kept = sc.partitioned(3).range(-5000..5000i64).cache();
    for _ in 0..2 {
        let scanned = kept.map(|x| x * 3).filter(|x| x % 4 == 0);
        assert_eq!(scanned.collect().unwrap(), expected);
        assert_eq!(kept.filter(|x| x % 4 == 0).map_ref(|x| x * 3).count().unwrap(), expected.len() as u64);
        assert_eq!(kept.reduce(|a, b| a.max(b)).unwrap(), 4999);
    }
    assert_eq!(computed.collect().unwrap(), expected);
    assert_eq!(computed.reduce(|a, b| a + b).unwrap(), sum);
    assert_eq!(computed.fold(0, |a, b| a + b).unwrap(), sum);
    let words = computed.map(|x| x.to_string()).filter(|w| w.starts_with('-')).cache();
    assert_eq!(words.count().unwrap(), expected.iter().filter(|x| **x < 0).count() as u64);
    let last = expected.iter().map(i64::to_string).filter(|w| w.starts_with('-')).max().unwrap();
    assert_eq!(words.fold(String::new(), |a, b| a.max(b)).unwrap(), last);
}

#[test]
fn ranges_end_where_they_end() {
    let sc = context();
    assert_eq!(sc.partitioned(4).range(250..5000u32).collect().unwrap(), (250..5000).collect::<Vec<_>>());
    assert_eq!(sc.partitioned(1).range(i64::MIN..i64::MIN + 1025).count().unwrap(), 1025);
    assert_eq!(sc.partitioned(1).range(u64::MAX - 1024..u64::MAX).max().unwrap(), u64::MAX - 1);
    let (from, to) = (7i32, 3);
    assert_eq!(
        sc.partitioned(3).range(5..5usize).count().unwrap() + sc.partitioned(3).range(from..to).count().unwrap(),
        0
    );
}

#[test]
fn accumulators_are_changed_in_place_with_and_without_an_environment() {
    let sc = context();
    let rdd = sc.partitioned(7).range(0..10_000u64);
    let add = |sums: &mut BTreeMap<u64, u64>, other: BTreeMap<u64, u64>| {
        other.into_iter().for_each(|(k, n)| *sums.entry(k).or_default() += n);
    };
    let sums = rdd.aggregate_mut(BTreeMap::new(), |sums, x| *sums.entry(x % 3).or_default() += 1, add).unwrap();
    assert_eq!(sums, BTreeMap::from([(0, 3334), (1, 3333), (2, 3333)]));
    let over = rdd.with(9000u64).aggregate_mut(0u64, |min, n, x| *n += u64::from(x >= min), |_, n, other| *n += other);
    assert_eq!(over.unwrap(), 1000);
}

#[test]
fn trees_give_what_the_flat_actions_give() {
    let sc = context();
    for partitions in [1, 2, 5, 30, 100] {
        let rdd = sc.partitioned(partitions).range(0..1000u64);
        for depth in [0, 1, 2, 3, 9] {
            assert_eq!(rdd.tree_reduce(depth, |a, b| a + b).unwrap(), 499_500, "{partitions}, {depth}");
            let (sum, n) = rdd
                .with(2u64)
                .tree_aggregate((0, 0u64), depth, |f, (s, n), x| (s + f * x, n + 1), |_, a, b| (a.0 + b.0, a.1 + b.1))
                .unwrap();
            assert_eq!((sum, n), (999_000, 1000), "{partitions}, {depth}");
        }
        let none = rdd.filter(|x| *x > 1000);
        assert!(matches!(none.tree_reduce(2, |a, b| a + b), Err(Error::Empty(_))));
        assert_eq!(none.tree_aggregate(0, 2, |a, b| a + b, |a, b| a + b).unwrap(), 0);
    }
}

#[test]
fn an_element_may_emit_nothing_or_very_much() {
    let sc = context();
    let rdd = sc.partitioned(3).range(0..3000u64).flat_map_to(|x, emit| {
        let n = if x % 1000 == 7 { 10_000 } else { x % 3 };
        (0..n).for_each(|i| emit.emit((*x, i)));
    });
    let expected = (0..3000u64).map(|x| if x % 1000 == 7 { 10_000 } else { x % 3 }).sum::<u64>();
    assert_eq!(rdd.count().unwrap(), expected);
    let all = rdd.collect().unwrap();
    assert!(all.is_sorted() && all.len() as u64 == expected);
    let killed = sc.partitioned(1).range(0..u64::MAX).flat_map_to(|x, emit| emit.emit(*x)).count_async().unwrap();
    killed.cancel("enough");
    assert!(killed.wait().unwrap_err().to_string().contains("enough"));
}
