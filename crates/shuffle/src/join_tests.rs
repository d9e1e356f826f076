use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::test_support::spills;

/// A full outer join, from which all others follow by leaving something out.
struct Shape<const PAIRS: bool, const PROBE: bool, const BUILD: bool>;

type Joined = (String, Option<u32>, Option<u64>);

impl<const PAIRS: bool, const PROBE: bool, const BUILD: bool> JoinShape for Shape<PAIRS, PROBE, BUILD> {
    type Key = String;
    type Build = u64;
    type Probe = u32;
    type Out = Joined;
    const PAIRS: bool = PAIRS;
    const LONE_PROBE: bool = PROBE;
    const LONE_BUILD: bool = BUILD;

    fn pair(key: String, probe: u32, build: u64) -> Option<Joined> {
        Some((key, Some(probe), Some(build)))
    }

    fn lone_probe(key: String, probe: u32) -> Option<Joined> {
        Some((key, Some(probe), None))
    }

    fn lone_build(key: String, build: u64) -> Option<Joined> {
        Some((key, None, Some(build)))
    }
}

struct Batches<T>(IntoIter<Vec<T>>);

impl<T> Rows<T> for Batches<T> {
    fn next_rows(&mut self) -> Result<Option<Vec<T>>, TaskFailure> {
        Ok(self.0.next())
    }
}

fn batches<T: Clone>(rows: &[T]) -> Batches<T> {
    Batches(rows.chunks(100).map(<[T]>::to_vec).collect::<Vec<_>>().into_iter())
}

fn run<S: JoinShape<Key = String, Build = u64, Probe = u32, Out = Joined>>(
    probe: &[(String, u32)],
    build: &[(String, u64)],
    bytes: u64,
) -> Vec<Joined> {
    let (spills, dir) = spills(bytes);
    let probe: Box<dyn Rows<(String, u32)>> = Box::new(batches(probe));
    let mut join = HashJoin::<S>::new(batches(build), || Ok(probe), &spills).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = join.next_batch(50).unwrap() {
        assert!((1..=50).contains(&batch.len()));
        all.extend(batch);
    }
    drop(join);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "spill files are left");
    all
}

fn model(probe: &[(String, u32)], build: &[(String, u64)], pairs: bool, lone: (bool, bool)) -> Vec<Joined> {
    let mut by_key: BTreeMap<&String, (Vec<u32>, Vec<u64>)> = BTreeMap::new();
    probe.iter().for_each(|(k, p)| by_key.entry(k).or_default().0.push(*p));
    build.iter().for_each(|(k, b)| by_key.entry(k).or_default().1.push(*b));
    let mut all = Vec::new();
    for (k, (ps, bs)) in by_key {
        if pairs {
            ps.iter().for_each(|p| all.extend(bs.iter().map(|b| (k.clone(), Some(*p), Some(*b)))));
        }
        if bs.is_empty() && lone.0 {
            all.extend(ps.iter().map(|p| (k.clone(), Some(*p), None)));
        }
        if ps.is_empty() && lone.1 {
            all.extend(bs.iter().map(|b| (k.clone(), None, Some(*b))));
        }
    }
    all.sort();
    all
}

fn sorted(mut all: Vec<Joined>) -> Vec<Joined> {
    all.sort();
    all
}

#[test]
fn output_follows_the_probe_side_and_then_the_build_side() {
    let rows = |pairs: &[(&str, u64)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<Vec<_>>();
    let build = rows(&[("a", 1), ("b", 2), ("a", 3), ("c", 9)]);
    let probe: Vec<(String, u32)> = vec![("b".into(), 1), ("a".into(), 2), ("x".into(), 3), ("a".into(), 4)];
    let got = run::<Shape<true, false, false>>(&probe, &build, 1 << 30);
    let got: Vec<(u32, u64)> = got.into_iter().map(|(_, p, b)| (p.unwrap(), b.unwrap())).collect();
    assert_eq!(got, [(1, 2), (2, 1), (2, 3), (4, 1), (4, 3)]);
}

#[test]
fn parts_of_the_build_side_that_are_too_large_are_split_again() {
    let build: Vec<(String, u64)> = (0..20_000).map(|i| (format!("key {}", i % 15_000), i)).collect();
    let probe: Vec<(String, u32)> = (0..30_000).map(|i| (format!("key {}", i * 7 % 20_000), i)).collect();
    for bytes in [1 << 30, 300_000, 10_000] {
        let got = run::<Shape<true, true, true>>(&probe, &build, bytes);
        assert!(sorted(got) == model(&probe, &build, true, (true, true)), "{bytes} bytes");
    }
}

#[test]
fn many_rows_of_one_key_are_joined_although_they_cannot_be_split() {
    let build: Vec<(String, u64)> = (0..3000).map(|i| ("one".to_owned(), i)).collect();
    let probe: Vec<(String, u32)> = (0..20).map(|i| ("one".to_owned(), i)).collect();
    let got = run::<Shape<true, false, false>>(&probe, &build, 5000);
    assert!(sorted(got) == model(&probe, &build, true, (false, false)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn joins_are_those_of_a_map(
        probe in prop::collection::vec(("[a-c]{0,4}", 0u32..9), 0..300),
        build in prop::collection::vec(("[a-c]{0,5}", 0u64..9), 0..300),
        bytes in 1000u64..40_000,
    ) {
        let got = sorted(run::<Shape<true, false, false>>(&probe, &build, bytes));
        prop_assert_eq!(got, model(&probe, &build, true, (false, false)));
        let got = sorted(run::<Shape<true, true, false>>(&probe, &build, bytes));
        prop_assert_eq!(got, model(&probe, &build, true, (true, false)));
        let got = sorted(run::<Shape<true, true, true>>(&probe, &build, bytes));
        prop_assert_eq!(got, model(&probe, &build, true, (true, true)));
        let got = sorted(run::<Shape<false, true, false>>(&probe, &build, bytes));
        prop_assert_eq!(got, model(&probe, &build, false, (true, false)));
        let got = sorted(run::<Shape<false, false, true>>(&probe, &build, bytes));
        prop_assert_eq!(got, model(&probe, &build, false, (false, true)));
    }
}
