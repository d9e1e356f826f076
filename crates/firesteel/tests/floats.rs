//! Floats as elements and as keys: their order, and how they are written as text.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{cmp::Reverse, hint::black_box};

use firesteel::prelude::*;

fn context() -> Context {
    Context::builder().app_name("floats").master("local[2]").build().unwrap()
}

/// What `0.0 / 0.0` gives at run time: on x86 its sign bit is set.
fn computed() -> f64 {
    black_box(0.0) / black_box(0.0)
}

fn shown<T: ToString>(v: Vec<T>) -> Vec<String> {
    v.iter().map(T::to_string).collect()
}

#[test]
fn a_nan_that_was_computed_is_larger_than_everything() {
    let sc = context();
    let means =
        sc.partitioned(2).parallelize(vec![(6.0, 2u32), (0.0, 0), (-3.0, 1)]).map(|(sum, n)| sum / f64::from(n));
    assert_eq!(means.min().unwrap(), -3.0);
    assert!(means.max().unwrap().is_nan());
    assert_eq!(means.take_ordered(2).unwrap(), [-3.0, 3.0]);
    assert_eq!(shown(means.top(2).unwrap()), ["NaN", "3"]);
    assert_eq!(shown(means.sort_by(true, |x| *x).unwrap().collect().unwrap()), ["-3", "3", "NaN"]);
    let singles = sc.partitioned(2).range(0..3u32).map(|i| [1.0f32, black_box(-1.0f32).sqrt(), -2.0][i as usize]);
    assert_eq!(singles.min().unwrap(), -2.0);
    assert!(singles.max().unwrap().is_nan());
}

#[test]
fn nans_of_all_bits_stand_together_after_infinity() {
    let sc = context();
    let all = vec![1.0, f64::NAN, computed(), f64::INFINITY, 0.0, -computed(), -0.0, -f64::NAN, f64::NEG_INFINITY];
    let rdd = sc.partitioned(3).parallelize(all);
    let want = ["-inf", "-0", "0", "1", "inf", "NaN", "NaN", "NaN", "NaN"];
    assert_eq!(shown(rdd.sort_by(true, |x| *x).unwrap().collect().unwrap()), want);
    let back: Vec<&str> = want.into_iter().rev().collect();
    assert_eq!(shown(rdd.sort_by(false, |x| *x).unwrap().collect().unwrap()), back);
    assert_eq!(shown(rdd.sort_by(true, |x| Reverse(*x)).unwrap().collect().unwrap()), back);
    assert_eq!(shown(rdd.sort_by(true, |x| (Some(*x), vec![*x as f32])).unwrap().collect().unwrap()), want);
}

#[test]
fn equal_nans_are_one_key_of_a_sort() {
    let sc = context();
    // Within equal keys the second part decides: so the two kinds of NaN must be equal.
    let keys = vec![((f64::NAN, 3), 'c'), ((computed(), 1), 'a'), ((-computed(), 2), 'b'), ((f64::INFINITY, 9), '_')];
    let sorted = sc.partitioned(2).parallelize(keys).sort_by_key(true).unwrap();
    assert_eq!(sorted.values().collect().unwrap(), ['_', 'a', 'b', 'c']);
}

#[test]
fn floats_are_saved_as_spark_writes_them() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let data = vec![1.0, 0.1, 1e7, 1.5e10, 1e16, 1e-5, f64::INFINITY, f64::NEG_INFINITY, computed(), -0.0, 1234567.0];
    let rdd = sc.partitioned(1).parallelize(data);
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(dir.path().join(name).join("part-00000")).unwrap();
        text.lines().map(String::from).collect()
    };
    rdd.save_as_text_file(dir.path().join("plain")).unwrap();
    let want =
        ["1.0", "0.1", "1.0E7", "1.5E10", "1.0E16", "1.0E-5", "Infinity", "-Infinity", "NaN", "-0.0", "1234567.0"];
    assert_eq!(lines("plain"), want);
    rdd.map(|x| (1u8, (Some(x), "x".to_owned()))).save_as_text_file(dir.path().join("pairs")).unwrap();
    assert_eq!(lines("pairs"), want.map(|x| format!("(1,(Some({x}),x))")));
}
