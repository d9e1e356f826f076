//! Results of many megabytes: kept on the executor's disk where its memory refuses them, and bounded by
//! `spark.driver.maxResultSize` before anything is shipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firesteel::{StorageLevel, prelude::*};

const MIB: usize = 1 << 20;

/// The `p`-th of some texts of a MiB.
fn text(p: u32) -> String {
    format!("{p:08}{}", "x".repeat(MIB - 8))
}

#[test]
fn results_that_exceed_the_memory_wait_on_disk() {
    let sc = Context::builder().app_name("test").master("local-cluster[1,4,512]").build().unwrap();
    // As large as the pool, one waiting for the other.
    let texts = sc.partitioned(8).range(0..480u32).map(text);
    let all = texts.collect().unwrap();
    assert_eq!(all.len(), 480);
    assert!(all.into_iter().zip(0..).all(|(got, p)| got == text(p)));
    // One value, which is encoded as a whole.
    let lengths =
        sc.partitioned(4).range(0..4u32).map_partitions(|p| p.map(|p| text(p).repeat(70)).collect::<Vec<_>>());
    let first = lengths.collect_partitions().unwrap();
    assert!(first.iter().zip(0..).all(|(part, p)| part[0].len() == 70 * MIB && part[0][..MIB] == text(p)));
    let joined = lengths.fold(String::new(), |a, b| a + &b).unwrap();
    assert_eq!(joined.len(), 280 * MIB);
}

#[test]
fn a_result_above_the_limit_is_given_up_where_it_is_made() {
    let sc = Context::builder()
        .app_name("test")
        .master("local-cluster[1,1,512]")
        .set("spark.driver.maxResultSize", "100m")
        .build()
        .unwrap();
    let texts = sc.partitioned(1).range(0..100_000u32).map(text);
    let error = texts.collect().unwrap_err().to_string();
    assert!(error.contains("total size of serialized results of 1 task (100.0 MiB) is bigger than"), "{error}");
    assert!(error.contains("spark.driver.maxResultSize (100.0 MiB)"), "{error}");
    // It goes on, and what the action does not return is not bounded.
    let bytes =
        sc.partitioned(2).range(0..200u32).map(text).map(|text| text.len() as u64).reduce(|a, b| a + b).unwrap();
    assert_eq!(bytes, 200 * MIB as u64);
    let error = sc.partitioned(4).range(0..120u32).map(text).collect().unwrap_err().to_string();
    assert!(error.contains("results of 4 tasks (120.0 MiB)"), "{error}");
}

#[test]
fn a_local_context_keeps_large_results_on_disk_as_well() {
    let sc = Context::builder().master("local[2]").set("spark.driver.memory", "256m").build().unwrap();
    let texts = sc.partitioned(2).range(0..200u32).map(text).persist(StorageLevel::DISK_ONLY);
    let all = texts.collect().unwrap();
    assert!(all.len() == 200 && all[199] == text(199));
}
