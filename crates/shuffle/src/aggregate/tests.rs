use std::collections::BTreeMap;

use firesteel_common::hash::fixed_hash;
use proptest::prelude::*;

use super::*;
use crate::{ShuffleError, Spills, test_support::spills};

/// All values of a key, in their order.
struct Group;

impl Combine for Group {
    type Key = u64;
    type Value = u32;
    type Combined = Vec<u32>;

    fn create(&self, value: u32) -> Vec<u32> {
        vec![value]
    }

    fn merge_value(&self, mut combined: Vec<u32>, value: u32) -> Vec<u32> {
        combined.push(value);
        combined
    }

    fn merge_combined(&self, mut a: Vec<u32>, b: Vec<u32>) -> Vec<u32> {
        a.extend(b);
        a
    }
}

/// Strings under strings: everything has a heap.
struct Concat;

impl Combine for Concat {
    type Key = String;
    type Value = String;
    type Combined = String;

    fn create(&self, value: String) -> String {
        value
    }

    fn merge_value(&self, combined: String, value: String) -> String {
        combined + &value
    }

    fn merge_combined(&self, a: String, b: String) -> String {
        a + &b
    }
}

struct Sum;

impl Combine for Sum {
    type Key = u64;
    type Value = u64;
    type Combined = u64;

    fn create(&self, value: u64) -> u64 {
        value
    }

    fn merge_value(&self, combined: u64, value: u64) -> u64 {
        combined + value
    }

    fn merge_combined(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

/// Inserts rows in batches of all sizes.
fn insert<A: Combine>(table: &mut Aggregation<A>, rows: impl IntoIterator<Item = (A::Key, A::Value)>) {
    let mut rows = rows.into_iter();
    for size in (1..).map(|i| i * 37 % 2500 + 1) {
        let batch: Vec<_> = rows.by_ref().take(size).collect();
        if batch.is_empty() {
            break;
        }
        table.insert_all(batch).unwrap();
    }
}

fn run<A: Combine<Key: Clone>>(
    how: A,
    spills: &Spills,
    rows: impl IntoIterator<Item = (A::Key, A::Value)>,
) -> Vec<(A::Key, A::Combined)> {
    let mut table = Aggregation::new(how, spills);
    insert(&mut table, rows);
    let mut result = table.finish().unwrap();
    let mut all = Vec::new();
    while let Some(batch) = result.next_batch(100).unwrap() {
        assert!((1..=100).contains(&batch.len()));
        all.extend(batch);
    }
    all
}

/// Some frequent keys, many rare ones.
fn skewed(rows: u64, keys: u64) -> impl Iterator<Item = (u64, u32)> {
    (0..rows).map(move |i| {
        let x = fixed_hash(&i);
        (if x & 3 == 0 { x >> 2 & 15 } else { x % keys }, i as u32)
    })
}

fn model<V>(rows: impl Iterator<Item = (u64, V)>) -> BTreeMap<u64, Vec<V>> {
    let mut model: BTreeMap<u64, Vec<V>> = BTreeMap::new();
    rows.for_each(|(k, v)| model.entry(k).or_default().push(v));
    model
}

#[test]
fn groups_are_complete_and_in_order_with_any_memory() {
    let expected = model(skewed(60_000, 20_000));
    let mut order: Option<Vec<u64>> = None;
    for bytes in [1 << 30, 4 << 20, 2 << 20] {
        let (spills, dir) = spills(bytes);
        let groups = run(Group, &spills, skewed(60_000, 20_000));
        let keys: Vec<u64> = groups.iter().map(|(k, _)| *k).collect();
        // What was spilled changes nothing about the order.
        assert!(order.get_or_insert_with(|| keys.clone()) == &keys, "{bytes} bytes gave another order");
        assert_eq!(groups.into_iter().collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "spill files are left");
    }
}

#[test]
fn parts_that_are_larger_than_memory_are_split_again() {
    let expected = model(skewed(40_000, 20_000));
    for bytes in [200_000, 8000] {
        let (spills, _dir) = spills(bytes);
        let groups = run(Group, &spills, skewed(40_000, 20_000));
        assert_eq!(groups.len(), expected.len());
        assert_eq!(groups.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}

#[test]
fn a_table_stays_within_its_memory() {
    let (spills, dir) = spills(4 << 20);
    let mut table = Aggregation::new(Sum, &spills);
    let mut most = 0;
    for i in 0..1000u64 {
        table.insert_all((0..300).map(|j| (300 * i + j, 1)).collect()).unwrap();
        most = most.max(table.used());
    }
    assert!(most < 5 << 20, "{most}");
    assert!(table.spilled.is_some());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    drop(table);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_bounded_table_is_drained_and_begun_anew() {
    let (spills, _dir) = spills(1 << 30);
    let mut table = Aggregation::bounded(Sum, &spills, 300_000);
    let (mut sums, mut drained) = (BTreeMap::new(), 0);
    let rows: Vec<(u64, u64)> = skewed(300_000, 30_000).map(|(k, v)| (k, u64::from(v))).collect();
    for batch in rows.chunks(700) {
        table.insert_all(batch.to_vec()).unwrap();
        if table.is_full() {
            drained += 1;
            table
                .drain(|_, k, v| {
                    *sums.entry(k).or_insert(0) += v;
                    Ok::<(), ShuffleError>(())
                })
                .unwrap();
            assert!(table.seen() == 0 && !table.is_full());
        }
    }
    table
        .drain(|_, k, v| {
            *sums.entry(k).or_insert(0) += v;
            Ok::<(), ShuffleError>(())
        })
        .unwrap();
    assert!(drained > 2, "{drained}");
    let expected = model(skewed(300_000, 30_000));
    assert!(sums.into_iter().eq(expected.into_iter().map(|(k, v)| (k, v.into_iter().map(u64::from).sum()))));
}

#[test]
fn what_combining_leaves_is_foreseen() {
    for (keys, least, most) in [(1_000_000_000, 0.9, 1.0), (100_000, 0.0, 0.2), (3_000_000, 0.5, 0.9)] {
        let (spills, _dir) = spills(1 << 30);
        let mut table = Aggregation::bounded(Sum, &spills, 64 << 20);
        insert(&mut table, (0..300_000u64).map(|i| (fixed_hash(&i) % keys, 1)));
        let rest = table.expected_rest();
        assert!((least..=most).contains(&rest), "{keys} keys: {rest}");
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let (spills, dir) = spills(100_000);
    std::fs::remove_dir(dir.path()).unwrap();
    std::fs::write(dir.path(), "a file in its place").unwrap();
    let mut table = Aggregation::new(Sum, &spills);
    let e = table.insert_all((0..100_000).map(|i| (i, 1)).collect()).unwrap_err();
    assert!(e.to_string().contains(dir.path().to_str().unwrap()), "{e}");
    std::fs::remove_file(dir.path()).unwrap();
    std::fs::create_dir(dir.path()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn strings_are_combined_as_a_map_does(
        rows in prop::collection::vec((0u16..2000, "[a-z]{0,40}"), 0..3000), bytes in 4000u64..400_000,
    ) {
        let (spills, _dir) = spills(bytes);
        let mut expected: BTreeMap<String, String> = BTreeMap::new();
        rows.iter().for_each(|(k, v)| expected.entry(format!("key {k}")).or_default().push_str(v));
        let got = run(Concat, &spills, rows.into_iter().map(|(k, v)| (format!("key {k}"), v)));
        prop_assert_eq!(got.len(), expected.len());
        prop_assert_eq!(got.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}
