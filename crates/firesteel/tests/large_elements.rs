//! Elements of many megabytes: what an executor takes goes by their bytes, not by their number.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firesteel::{StorageLevel, prelude::*};

const MIB: usize = 1 << 20;
/// Of an executor; a thousand elements at a time would be far beyond.
const MOST: u64 = 512;

fn cluster() -> Context {
    Context::builder().app_name("test").master("local-cluster[1,1,512]").build().unwrap()
}

/// The most memory that the executor had at any time, MiB.
fn peak(sc: &Context) -> u64 {
    let peaks = sc.range_n(0..1u32, 1).map(|_| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    });
    peaks.first().unwrap()
}

/// `n` values of 10 MiB, made one after the other by one task.
fn images(sc: &Context, n: u64) -> Rdd<Vec<u8>> {
    sc.range_n(0..n, 1).map(|i| vec![i as u8; 10 * MIB])
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
    let all = 200 * 10 * MIB as u64;
    assert_eq!(total(&images(&sc, 200)), all);
    within(&sc, "map");
    assert_eq!(images(&sc, 200).filter(|v| v[0] == 1).count().unwrap(), 1);
    within(&sc, "filter");
    images(&sc, 200).foreach(|v| assert!(!v.is_empty())).unwrap();
    within(&sc, "foreach");
    let numbers = sc.range_n(0..200u64, 1);
    assert_eq!(total(&numbers.flat_map(|i| (0..1).map(move |_| vec![i as u8; 10 * MIB]))), all);
    within(&sc, "flat_map");
    let few = sc.range_n(0..1u64, 1);
    assert_eq!(total(&few.flat_map(|_| (0..200).map(|i| vec![i as u8; 10 * MIB]))), all);
    within(&sc, "flat_map of one element");
    assert_eq!(total(&numbers.flat_map_to(|i, emit| emit.emit(vec![*i as u8; 10 * MIB]))), all);
    within(&sc, "flat_map_to");
    assert_eq!(total(&numbers.map_partitions(|is| is.map(|i| vec![i as u8; 10 * MIB]))), all);
    within(&sc, "map_partitions");
    assert_eq!(
        total(&numbers.map_ref(|i| vec![*i as u8; 10 * MIB]).map(|mut v| {
            v.truncate(10 * MIB);
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
    // Of each kind of letter four.
    let texts = sc.range_n(0..104u32, 1).map(|i| char::from(b'a' + (i % 26) as u8).to_string().repeat(10 * MIB));
    let all = 104 * 10 * MIB as u64;
    texts.save_as_text_file(&out).unwrap();
    within(&sc, "save_as_text_file");
    let lines = sc.text_file_n(out.to_str().unwrap(), 1).unwrap();
    assert_eq!(lines.map(|line| line.len() as u64).reduce(|a, b| a + b).unwrap(), all);
    within(&sc, "text_file");
    let length = |texts: &Rdd<String>| texts.map(|text| text.len() as u64).reduce(|a, b| a + b).unwrap();
    assert_eq!(length(&texts.repartition(4)), all);
    within(&sc, "repartition");
    let pairs = texts.map(|text| (text.as_bytes()[0], text));
    let sorted = pairs.sort_by_key_n(false, 1).unwrap().map(|(k, v)| (k, v.len())).collect().unwrap();
    assert_eq!((sorted.len(), sorted[0].0, sorted[103].0), (104, b'z', b'a'));
    within(&sc, "sort_by_key");
    assert_eq!(length(&pairs.reduce_by_key_n(2, |a, b| if a.len() < b.len() { b } else { a }).values()), all / 4);
    within(&sc, "reduce_by_key");
}

#[test]
fn kept_partitions_of_large_elements_are_read_a_few_at_a_time() {
    let sc = cluster();
    for level in [StorageLevel::MEMORY_ONLY, StorageLevel::MEMORY_AND_DISK, StorageLevel::DISK_ONLY] {
        let kept = images(&sc, 60).persist(level);
        for _ in 0..2 {
            assert_eq!(kept.filter(|v| v.len() > 1).count().unwrap(), 60);
            assert_eq!(total(&kept.flat_map(Some)), 60 * 10 * MIB as u64);
        }
        within(&sc, &format!("{level:?}"));
        kept.unpersist();
    }
    // What fits is kept as values, and who takes these by value gets copies.
    let kept = images(&sc, 15).cache();
    for _ in 0..3 {
        assert_eq!(kept.filter(|v| v.len() > 1).count().unwrap(), 15);
        assert_eq!(total(&kept.map_partitions(|vs| vs)), 15 * 10 * MIB as u64);
    }
    within(&sc, "values");
}

#[test]
fn a_join_copies_a_large_value_a_few_times_at_once() {
    let sc = cluster();
    let large = sc.range_n(0..1u32, 1).map(|_| (7u32, vec![1u8; 4 * MIB]));
    let rows = sc.range_n(0..1000u32, 1).map(|i| (7u32, i));
    let bytes = large.join_n(&rows, 1).map(|(_, (v, _))| v.len() as u64).reduce(|a, b| a + b).unwrap();
    assert_eq!(bytes, 4000 * MIB as u64);
    within(&sc, "join");
    let bytes = rows.left_outer_join_n(&large, 1).map(|(_, (_, v))| v.map_or(0, |v| v.len() as u64));
    assert_eq!(bytes.reduce(|a, b| a + b).unwrap(), 4000 * MIB as u64);
    within(&sc, "left_outer_join");
}
