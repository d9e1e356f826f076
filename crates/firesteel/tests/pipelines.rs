//! Random pipelines of operators on two threads against the same steps on a plain Vec, and random texts in random files
//! against their lines.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeMap, sync::OnceLock};

use firesteel::prelude::*;
use proptest::prelude::*;

type Pair = (u8, i64);

/// One for all cases, so that what one leaves behind would disturb another.
fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(|| Context::builder().app_name("pipelines").master("local[2]").build().unwrap())
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(i64),
    MapValues,
    Filter(i64),
    FlatMap,
    FlatMapValues,
    Partitions,
    UnionWithItself,
    Distinct,
    Repartition(u32),
    Coalesce(u32),
    Sort(bool, u32),
    Sum,
    SumInto(u32),
    Group,
    Aggregate,
    Spread(u32),
    JoinWithItself,
    JoinWithParity,
    Cache,
}

fn step() -> impl Strategy<Value = Step> {
    let partitions = 1u32..6;
    prop_oneof![
        any::<i8>().prop_map(|by| Step::Map(by.into())),
        Just(Step::MapValues),
        (2i64..5).prop_map(Step::Filter),
        Just(Step::FlatMap),
        Just(Step::FlatMapValues),
        Just(Step::Partitions),
        Just(Step::UnionWithItself),
        Just(Step::Distinct),
        partitions.clone().prop_map(Step::Repartition),
        partitions.clone().prop_map(Step::Coalesce),
        (any::<bool>(), partitions.clone()).prop_map(|(up, n)| Step::Sort(up, n)),
        Just(Step::Sum),
        partitions.clone().prop_map(Step::SumInto),
        Just(Step::Group),
        Just(Step::Aggregate),
        partitions.prop_map(Step::Spread),
        Just(Step::JoinWithItself),
        Just(Step::JoinWithParity),
        Just(Step::Cache),
    ]
}

fn on_cluster(rdd: Rdd<Pair>, step: Step) -> Rdd<Pair> {
    match step {
        Step::Map(by) => rdd.with(by).map(|by, (k, v)| (k.wrapping_add(1), v + by)),
        Step::MapValues => rdd.map_values(|v| v / 2),
        Step::Filter(n) => rdd.with(n).filter(|n, (_, v)| v % n != 0),
        Step::FlatMap => rdd.flat_map(|(k, v)| (0..v.rem_euclid(3)).map(move |i| (k, v + i))),
        Step::FlatMapValues => rdd.flat_map_values(|v| if v % 2 == 0 { vec![v, v + 1] } else { vec![] }),
        Step::Partitions => rdd.map_partitions(|it| it.map(|(k, v)| (k / 2, v))),
        Step::UnionWithItself => rdd.union(&rdd.map_values(|v| v - 1)),
        Step::Distinct => rdd.distinct(),
        Step::Repartition(n) => rdd.repartition(n),
        Step::Coalesce(n) => rdd.coalesce(n),
        Step::Sort(up, n) => rdd.partitioned(n).sort_by_key(up).unwrap(),
        Step::Sum => rdd.reduce_by_key(|a, b| a + b),
        Step::SumInto(n) => rdd.partitioned(n).reduce_by_key(|a, b| a + b),
        Step::Group => rdd.group_by_key().map_values(|vs| vs.len() as i64),
        Step::Aggregate => rdd.aggregate_by_key(1i64, |a, v| a.max(v), |a, b| a.max(b)),
        Step::Spread(n) => rdd.partition_by(HashPartitioner::new(n)),
        Step::JoinWithItself => {
            let sums = rdd.reduce_by_key(|a, b| a + b);
            sums.join(&sums).map_values(|(a, b)| a + b)
        }
        Step::JoinWithParity => {
            rdd.join(&rdd.map_values(|v| v & 1).distinct()).map_values(|(v, parity)| v * 2 + parity)
        }
        Step::Cache => rdd.cache(),
    }
}

fn by_key(data: &[Pair]) -> BTreeMap<u8, Vec<i64>> {
    let mut groups: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    data.iter().for_each(|(k, v)| groups.entry(*k).or_default().push(*v));
    groups
}

fn on_vec(mut data: Vec<Pair>, step: Step) -> Vec<Pair> {
    let combine = |f: fn(Vec<i64>) -> i64| by_key(&data).into_iter().map(|(k, vs)| (k, f(vs))).collect();
    match step {
        Step::Map(by) => data.into_iter().map(|(k, v)| (k.wrapping_add(1), v + by)).collect(),
        Step::MapValues => data.into_iter().map(|(k, v)| (k, v / 2)).collect(),
        Step::Filter(n) => data.into_iter().filter(|(_, v)| v % n != 0).collect(),
        Step::FlatMap => data.into_iter().flat_map(|(k, v)| (0..v.rem_euclid(3)).map(move |i| (k, v + i))).collect(),
        Step::FlatMapValues => {
            data.into_iter().filter(|(_, v)| v % 2 == 0).flat_map(|(k, v)| [(k, v), (k, v + 1)]).collect()
        }
        Step::Partitions => data.into_iter().map(|(k, v)| (k / 2, v)).collect(),
        Step::UnionWithItself => data.iter().copied().chain(data.iter().map(|(k, v)| (*k, v - 1))).collect(),
        Step::Distinct => {
            data.sort();
            data.dedup();
            data
        }
        Step::Repartition(_) | Step::Coalesce(_) | Step::Sort(..) | Step::Spread(_) | Step::Cache => data,
        Step::Sum | Step::SumInto(_) => combine(|vs| vs.iter().sum()),
        Step::Group => combine(|vs| vs.len() as i64),
        Step::Aggregate => combine(|vs| vs.into_iter().max().unwrap().max(1)),
        Step::JoinWithItself => combine(|vs| 2 * vs.iter().sum::<i64>()),
        Step::JoinWithParity => {
            let mut parities: Vec<Pair> = data.iter().map(|(k, v)| (*k, v & 1)).collect();
            parities.sort();
            parities.dedup();
            let parities = by_key(&parities);
            data.into_iter().flat_map(|(k, v)| parities[&k].iter().map(move |p| (k, v * 2 + p))).collect()
        }
    }
}

fn sorted(mut data: Vec<Pair>) -> Vec<Pair> {
    data.sort();
    data
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn pipelines_give_what_plain_iterators_give(
        data in prop::collection::vec((0u8..12, -200i64..200), 0..80),
        partitions in 1u32..6,
        steps in prop::collection::vec(step(), 0..7),
        n in 0usize..30,
    ) {
        let mut rdd = context().partitioned(partitions).parallelize(data.clone());
        let mut model = data;
        for step in &steps {
            rdd = on_cluster(rdd, *step);
            model = on_vec(model, *step);
        }
        let got = rdd.collect().unwrap();
        prop_assert_eq!(rdd.count().unwrap(), got.len() as u64);
        prop_assert_eq!(rdd.take(n).unwrap(), got.iter().copied().take(n).collect::<Vec<_>>());
        prop_assert_eq!(rdd.take_ordered(n).unwrap(), sorted(got.clone()).into_iter().take(n).collect::<Vec<_>>());
        if let Some(Step::Sort(up, _)) = steps.last() {
            let in_order = got.is_sorted_by(|a, b| if *up { a.0 <= b.0 } else { a.0 >= b.0 });
            prop_assert!(in_order);
        }
        if let Some((k, _)) = got.first() {
            let of_key = got.iter().filter(|(other, _)| other == k).map(|(_, v)| *v).collect::<Vec<_>>();
            prop_assert_eq!(rdd.lookup(k).unwrap(), of_key);
        }
        rdd.unpersist();
        prop_assert_eq!(sorted(got), sorted(model));
    }

    #[test]
    fn texts_are_split_into_their_lines_wherever_the_borders_are(
        files in prop::collection::vec("[a\u{e4}\r\n]{0,40}", 1..5),
        partitions in 1u32..40,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut lines: Vec<String> = Vec::new();
        for (i, text) in files.iter().enumerate() {
            std::fs::write(dir.path().join(format!("{i}")), text).unwrap();
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            if !text.is_empty() {
                lines.extend(text.strip_suffix('\n').unwrap_or(&text).split('\n').map(str::to_owned));
            }
        }
        let rdd = context().partitioned(partitions).text_file(dir.path().to_str().unwrap()).unwrap();
        prop_assert_eq!(rdd.collect().unwrap(), lines);
    }
}
