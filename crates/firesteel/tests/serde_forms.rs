//! Elements whose serde attributes leave out or renumber something: they come back as they were from wherever they travel
//! or are kept, or the job fails with an error that names the type.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;

use firesteel::prelude::*;
use serde::{Deserialize, Serialize};

fn context() -> Context {
    Context::builder().app_name("serde_forms").master("local[2]").build().unwrap()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Visit {
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<u64>,
    hits: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum State {
    #[serde(skip)]
    Internal,
    Done,
    Failed,
    Done2,
    Failed2,
    Last,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Half {
    #[serde(skip_deserializing)]
    a: u64,
    b: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    A { x: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Chain(u32, Option<Box<Chain>>);

fn sorted<T: Ord>(mut v: Vec<T>) -> Vec<T> {
    v.sort();
    v
}

#[test]
fn fields_that_are_left_out_come_back() {
    let sc = context();
    let ones = sc.partitioned(2).range(0..600u64).map(|_| Visit { referrer: None, hits: 1 });
    assert_eq!(ones.repartition(1).count().unwrap(), 600);
    assert_eq!(ones.repartition(1).map(|v| v.hits).reduce(|a, b| a + b).unwrap(), 600);
    let by = sc.partitioned(2).range(0..600u64).map(|i| (i % 3, Visit { referrer: None, hits: 1 }));
    let hits =
        by.partitioned(1).group_by_key().map_values(|v| v.iter().map(|v| v.hits).sum::<u64>()).collect().unwrap();
    assert_eq!(sorted(hits), [(0, 200), (1, 200), (2, 200)]);
    let two = vec![(0u64, Visit { referrer: None, hits: 0 }), (1, Visit { referrer: Some(0), hits: 5 })];
    let rdd = sc.partitioned(1).parallelize(two.clone());
    assert_eq!(rdd.collect().unwrap(), two);
    assert_eq!(sorted(rdd.map(|x| x).repartition(1).collect().unwrap()), two);
    assert_eq!(rdd.map(|(_, v)| v.hits).reduce(|a, b| a + b).unwrap(), 5);
}

#[test]
fn variants_behind_a_skipped_one_come_back() {
    let sc = context();
    assert_eq!(sc.partitioned(1).parallelize(vec![State::Done]).collect().unwrap(), [State::Done]);
    let made = sc.partitioned(3).range(0..300u32).map(|i| if i % 3 == 0 { State::Failed2 } else { State::Done2 });
    assert_eq!(made.repartition(2).filter(|s| *s == State::Failed2).count().unwrap(), 100);
    let counts = made.map(|s| (s, 1u32)).reduce_by_key(|a, b| a + b).collect_as_map().unwrap();
    assert_eq!((counts[&State::Failed2], counts[&State::Done2]), (100, 200));
    let last = made.with(State::Last).map(|last, s| (last.clone(), s)).filter(|(l, _)| *l == State::Last);
    assert_eq!(last.count().unwrap(), 300);
    let refused = sc.partitioned(1).range(0..3u32).map(|_| State::Internal).collect().unwrap_err().to_string();
    assert!(refused.contains("State") && refused.contains("serde(skip)"), "{refused}");
}

#[test]
fn what_is_kept_as_bytes_or_broadcast_comes_back() {
    let sc = context();
    for level in [StorageLevel::MEMORY_ONLY_SER, StorageLevel::DISK_ONLY] {
        let visits = sc.partitioned(1).range(0..600u64).map(|i| Visit { referrer: (i % 2 == 0).then_some(i), hits: 1 });
        let kept = visits.persist(level);
        for _ in 0..2 {
            assert_eq!(kept.map(|v| v.hits).reduce(|a, b| a + b).unwrap(), 600);
            assert_eq!(kept.filter(|v| v.referrer.is_none()).count().unwrap(), 300);
        }
    }
    let halves = sc.partitioned(1).range(0..100u64).map(|i| Half { a: 9, b: i });
    assert_eq!(halves.collect().unwrap().iter().map(|h| h.b).sum::<u64>(), 4950);
    assert_eq!(halves.repartition(1).map(|h| h.b).reduce(|a, b| a + b).unwrap(), 4950);
}

#[test]
fn forms_that_cannot_travel_are_refused_by_name() {
    let sc = context();
    let refused = |e: Result<(), firesteel::Error>, words: [&str; 2]| {
        let Err(e) = e else { panic!("{words:?} travelled") };
        let e = e.to_string();
        assert!(words.iter().all(|word| e.contains(word)) && !e.contains("damaged") && !e.contains("End"), "{e}");
    };
    let tagged = sc.partitioned(1).range(0..3u32).map(|x| Tagged::A { x });
    let untagged =
        sc.partitioned(1).range(0..3u64).map(|x| if x == 1 { Untagged::Text("x".into()) } else { Untagged::Number(x) });
    let flat = sc.partitioned(1).range(0..3u32).map(|id| Flat { id, rest: BTreeMap::new() });
    refused(tagged.collect().map(drop), ["Tagged", "tag"]);
    refused(tagged.distinct().count().map(drop), ["Tagged", "tag"]);
    refused(untagged.collect().map(drop), ["Untagged", "untagged"]);
    refused(untagged.repartition(2).count().map(drop), ["Untagged", "untagged"]);
    refused(untagged.persist(StorageLevel::MEMORY_ONLY_SER).count().map(drop), ["Untagged", "untagged"]);
    refused(flat.collect().map(drop), ["Flat", "flatten"]);
    refused(sc.parallelize(vec![Untagged::Number(1)]).count().map(drop), ["Untagged", "untagged"]);
    let env = Untagged::Number(1);
    refused(sc.range(0..3u32).with(env).map(|_, x| x).count().map(drop), ["Untagged", "untagged"]);
}

#[test]
fn a_value_that_is_nested_too_deeply_is_refused_and_the_driver_lives() {
    let sc = context();
    let deep = |len: u32| {
        sc.partitioned(1).parallelize(vec![len]).map(|len| {
            let mut chain = Chain(0, None);
            for i in 1..len {
                chain = Chain(i, Some(Box::new(chain)));
            }
            chain
        })
    };
    assert_eq!(deep(900).collect().unwrap()[0].0, 899);
    let e = deep(500_000).collect().map(drop).unwrap_err().to_string();
    assert!(e.contains("Chain") && e.contains("nested deeper than 1000 levels"), "{e}");
    assert_eq!(sc.range(0..10u32).count().unwrap(), 10);
}
