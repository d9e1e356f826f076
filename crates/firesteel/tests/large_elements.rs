//! Large elements: what an executor takes goes by their bytes, not by their number. All of them together are twice what
//! the executor has, or more, and a thousand would be many times that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firesteel::{StorageLevel, prelude::*};

const MIB: usize = 1 << 20;
/// Bytes of an element.
const SIZE: usize = 4 * MIB;
/// Of an executor, MiB.
const MOST: u64 = 192;

fn cluster() -> Context {
    Context::builder().app_name("test").master("local-cluster[1,1,192]").build().unwrap()
}

/// The most memory that the executor had at any time, MiB.
fn peak(sc: &Context) -> u64 {
    let peaks = sc.partitioned(1).range(0..1u32).map(|_| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    });
    peaks.first().unwrap()
}

/// `n` values of `SIZE`, made one after the other by one task.
fn images(sc: &Context, n: u64) -> Rdd<Vec<u8>> {
    sc.partitioned(1).range(0..n).map(|i| vec![i as u8; SIZE])
}

fn total(images: &Rdd<Vec<u8>>) -> u64 {
    images.map(|v| v.len() as u64).reduce(|a, b| a + b).unwrap()
}

#[track_caller]
fn within(sc: &Context, what: &str) {
    let peak = peak(sc);
    assert!(peak < MOST, "{what} took {peak} MiB");
}

#[test]
fn operators_hold_a_few_large_elements_at_a_time() {
    let sc = cluster();
    let all = 100 * SIZE as u64;
    assert_eq!(total(&images(&sc, 100)), all);
    within(&sc, "map");
    assert_eq!(images(&sc, 100).filter(|v| v[0] == 1).count().unwrap(), 1);
    within(&sc, "filter");
    images(&sc, 100).foreach(|v| assert!(!v.is_empty())).unwrap();
    within(&sc, "foreach");
    let numbers = sc.partitioned(1).range(0..100u64);
    assert_eq!(total(&numbers.flat_map(|i| (0..1).map(move |_| vec![i as u8; SIZE]))), all);
    within(&sc, "flat_map");
    let few = sc.partitioned(1).range(0..1u64);
    assert_eq!(total(&few.flat_map(|_| (0..100).map(|i| vec![i as u8; SIZE]))), all);
    within(&sc, "flat_map of one element");
    assert_eq!(total(&numbers.flat_map_to(|i, emit| emit.emit(vec![*i as u8; SIZE]))), all);
    within(&sc, "flat_map_to");
    assert_eq!(total(&numbers.map_partitions(|is| is.map(|i| vec![i as u8; SIZE]))), all);
    within(&sc, "map_partitions");
    assert_eq!(
        total(&numbers.map_ref(|i| vec![*i as u8; SIZE]).map(|mut v| {
            v.truncate(SIZE);
            v
        })),
        all
    );
    within(&sc, "map_ref and another map");
}

#[test]
fn large_elements_pass_through_files_and_shuffles() {
    let sc = cluster();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // Of each kind of letter three.
    let texts = sc.partitioned(1).range(0..78u32).map(|i| char::from(b'a' + (i % 26) as u8).to_string().repeat(SIZE));
    let all = 78 * SIZE as u64;
    texts.save_as_text_file(&out).unwrap();
    within(&sc, "save_as_text_file");
    let lines = sc.partitioned(1).text_file(out.to_str().unwrap()).unwrap();
    assert_eq!(lines.map(|line| line.len() as u64).reduce(|a, b| a + b).unwrap(), all);
    within(&sc, "text_file");
    let length = |texts: &Rdd<String>| texts.map(|text| text.len() as u64).reduce(|a, b| a + b).unwrap();
    assert_eq!(length(&texts.repartition(4)), all);
    within(&sc, "repartition");
    let pairs = texts.map(|text| (text.as_bytes()[0], text));
    let sorted = pairs.partitioned(1).sort_by_key(false).unwrap().map(|(k, v)| (k, v.len())).collect().unwrap();
    assert_eq!((sorted.len(), sorted[0].0, sorted[77].0), (78, b'z', b'a'));
    within(&sc, "sort_by_key");
    assert_eq!(
        length(&pairs.partitioned(2).reduce_by_key(|a, b| if a.len() < b.len() { b } else { a }).values()),
        all / 3
    );
    within(&sc, "reduce_by_key");
}

#[test]
fn kept_partitions_of_large_elements_are_read_a_few_at_a_time() {
    let sc = cluster();
    for level in [StorageLevel::MEMORY_ONLY, StorageLevel::MEMORY_AND_DISK, StorageLevel::DISK_ONLY] {
        let kept = images(&sc, 50).persist(level);
        for _ in 0..2 {
            assert_eq!(kept.filter(|v| v.len() > 1).count().unwrap(), 50);
            assert_eq!(total(&kept.flat_map(Some)), 50 * SIZE as u64);
        }
        within(&sc, &format!("{level:?}"));
        kept.unpersist();
    }
    // What fits is kept as values, and who takes these by value gets copies.
    let kept = images(&sc, 15).cache();
    for _ in 0..3 {
        assert_eq!(kept.filter(|v| v.len() > 1).count().unwrap(), 15);
        assert_eq!(total(&kept.map_partitions(|vs| vs)), 15 * SIZE as u64);
    }
    within(&sc, "values");
}

#[test]
fn a_join_copies_a_large_value_a_few_times_at_once() {
    let sc = cluster();
    let large = sc.partitioned(1).range(0..1u32).map(|_| (7u32, vec![1u8; SIZE]));
    let rows = sc.partitioned(1).range(0..300u32).map(|i| (7u32, i));
    let bytes = large.partitioned(1).join(&rows).map(|(_, (v, _))| v.len() as u64).reduce(|a, b| a + b).unwrap();
    assert_eq!(bytes, 300 * SIZE as u64);
    within(&sc, "join");
    let bytes = rows.partitioned(1).left_outer_join(&large).map(|(_, (_, v))| v.map_or(0, |v| v.len() as u64));
    assert_eq!(bytes.reduce(|a, b| a + b).unwrap(), 300 * SIZE as u64);
    within(&sc, "left_outer_join");
}

/// With a pool that leaves room for what the allocator does not give back between two groups of tens of megabytes.
fn grouping_cluster() -> Context {
    let builder = Context::builder().app_name("test").master("local-cluster[1,1,192]");
    builder.set("spark.memory.fraction", "0.4").build().unwrap()
}

/// An element that tells which it is, of 128.
fn letter(i: u32) -> String {
    char::from(i as u8).to_string().repeat(SIZE)
}

/// Whether the values of a group are its own, in the order in which they were made.
fn in_order(key: u32, keys: u32, values: &[String]) -> bool {
    let made =
        values.iter().enumerate().map(|(i, v)| v.len() == SIZE && u32::from(v.as_bytes()[0]) == key + keys * i as u32);
    made.fold(true, |all, right| all & right)
}

#[test]
fn groups_that_are_together_larger_than_memory_come_one_after_the_other() {
    let sc = grouping_cluster();
    for keys in [48u32, 12] {
        let pairs = sc.partitioned(1).range(0..96u32).with(keys).map(|keys, i| (i % *keys, letter(i)));
        let groups =
            pairs.partitioned(1).group_by_key().with(keys).map(|keys, (k, vs)| (k, vs.len(), in_order(k, *keys, &vs)));
        let mut groups = groups.collect().unwrap();
        groups.sort_unstable();
        let expected: Vec<_> = (0..keys).map(|k| (k, 96 / keys as usize, true)).collect();
        assert_eq!(groups, expected);
        within(&sc, &format!("group_by_key of {keys} keys"));
    }
}

#[test]
fn both_sides_of_a_cogroup_may_be_larger_than_memory() {
    let sc = grouping_cluster();
    let side = |n: u32| sc.partitioned(1).range(0..n).map(|i| (i % 24, letter(i)));
    let both = side(48).partitioned(1).cogroup(&side(72));
    let right = both.map(|(k, (v, w))| v.len() == 2 && w.len() == 3 && in_order(k, 24, &v) && in_order(k, 24, &w));
    assert_eq!(right.collect().unwrap(), [true; 24]);
    within(&sc, "cogroup");
}
