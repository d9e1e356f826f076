//! Operators over the partitions of two RDDs: `cartesian`, `zip`, `zip_partitions`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use firesteel::{Error, PartitionIter, prelude::*};

fn context() -> Context {
    Context::builder().app_name("two parents").master("local[2]").build().unwrap()
}

/// Words with a heap of their own, whose chunks are cut by bytes.
fn words(sc: &Context, n: u64, partitions: u32) -> Rdd<String> {
    sc.partitioned(partitions).range(0..n).map(|i| format!("word {i} {}", "x".repeat(i as usize % 50)))
}

fn product<T: Clone, U: Clone>(left: &[Vec<T>], right: &[Vec<U>]) -> Vec<Vec<(T, U)>> {
    let of = |l: &Vec<T>, r: &Vec<U>| l.iter().flat_map(|x| r.iter().map(|y| (x.clone(), y.clone()))).collect();
    left.iter().flat_map(|l| right.iter().map(move |r| of(l, r))).collect()
}

#[test]
fn a_cartesian_product_has_the_pairs_of_each_pair_of_partitions_in_order() {
    let sc = context();
    for (left, right) in [(1, 1), (3, 2), (2, 5)] {
        let (numbers, names) = (sc.partitioned(left).range(0..70u64), words(&sc, 40, right));
        let pairs = numbers.cartesian(&names).unwrap();
        assert_eq!(pairs.num_partitions(), left * right);
        let expected = product(&numbers.collect_partitions().unwrap(), &names.collect_partitions().unwrap());
        assert_eq!(pairs.collect_partitions().unwrap(), expected);
        let turned = names.cartesian(&numbers).unwrap();
        assert_eq!(turned.count().unwrap(), 70 * 40);
        assert_eq!(turned.map(|(name, n)| (n, name)).collect_as_map().unwrap().len(), 70);
    }
}

#[test]
fn many_chunks_of_a_product_are_all_there() {
    let sc = context();
    let pairs = sc.partitioned(2).range(0..3000u64).cartesian(&sc.partitioned(2).range(0..2500u64)).unwrap();
    let both = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let (n, sum) = pairs.aggregate((0u64, 0u64), |(n, sum), (x, y)| (n + 1, sum + x * y), both).unwrap();
    assert_eq!(n, 3000 * 2500);
    assert_eq!(sum, (0..3000u64).sum::<u64>() * (0..2500u64).sum::<u64>());
}

#[test]
fn a_product_with_an_rdd_without_elements_or_partitions_is_empty() {
    let sc = context();
    let (some, none) = (sc.partitioned(2).range(0..10u64), sc.partitioned(3).range(0..0u64));
    assert_eq!(some.cartesian(&none).unwrap().count().unwrap(), 0);
    assert_eq!(none.cartesian(&some).unwrap().count().unwrap(), 0);
    let nothing = sc.union::<u64>(&[]);
    assert_eq!(nothing.num_partitions(), 0);
    assert_eq!(some.cartesian(&nothing).unwrap().collect().unwrap(), []);
    assert_eq!(nothing.cartesian(&some).unwrap().collect().unwrap(), []);
}

#[test]
fn the_right_side_of_a_product_is_computed_once_a_task_where_it_fits_into_memory() {
    let sc = context();
    let computed = sc.long_accumulator("right elements");
    let right = sc.partitioned(1).range(0..100u64).with(computed.clone()).map(|computed, x| {
        computed.add(1);
        x
    });
    let pairs = sc.partitioned(3).range(0..50u64).cartesian(&right).unwrap();
    assert_eq!(pairs.count().unwrap(), 5000);
    assert_eq!(computed.value().unwrap(), 300);
}

#[test]
fn a_right_side_that_memory_does_not_hold_gives_the_same_pairs() {
    // 4 MiB, of which the strings take 13.
    let sc = Context::builder()
        .app_name("little memory")
        .master("local[1]")
        .set("spark.driver.memory", "512m")
        .set("spark.memory.fraction", "0.02")
        .build();
    let sc = sc.unwrap();
    let right = sc.partitioned(1).range(0..40_000u64).map(|i| format!("{i:>300}"));
    let pairs = sc.partitioned(1).range(0..3u64).cartesian(&right).unwrap();
    let lengths = pairs.map(|(x, y)| (x, y.trim().parse::<u64>().unwrap())).collect().unwrap();
    let expected: Vec<_> = (0..3u64).flat_map(|x| (0..40_000u64).map(move |y| (x, y))).collect();
    assert!(lengths == expected);
}

#[test]
fn zip_pairs_by_position_over_any_chunks() {
    let sc = context();
    let numbers = sc.partitioned(3).range(0..10_000u64);
    // Chunks of the left are cut by number, those of the right by bytes, and filtered ones are shorter than both.
    let names = numbers.map(|i| format!("{i} {}", "x".repeat(if i % 97 == 0 { 20_000 } else { 3 })));
    let pairs = numbers.zip(&names).unwrap();
    assert_eq!(pairs.count().unwrap(), 10_000);
    assert!(pairs.collect().unwrap().iter().all(|(i, name)| name.split(' ').next().unwrap() == i.to_string()));
    let odd = numbers.filter(|i| i % 2 == 1);
    let (again, kept) = (odd.zip(&odd.map(|i| i * 2)).unwrap(), odd.cache());
    assert_eq!(again.filter(|(i, twice)| i * 2 == *twice).count().unwrap(), 5000);
    assert_eq!(kept.zip(&again.keys()).unwrap().filter(|(a, b)| a == b).count().unwrap(), 5000);
}

#[test]
fn unequal_numbers_of_partitions_are_an_error_at_once() {
    let sc = context();
    let (two, three) = (sc.partitioned(2).range(0..6u64), sc.partitioned(3).range(0..6u64));
    let errors = [
        two.zip(&three).err().unwrap(),
        two.zip_partitions(&three, |a, b| a.chain(b)).err().unwrap(),
        three.with(1u64).zip_partitions(&two, |_, a, b| a.chain(b)).err().unwrap(),
    ];
    for (error, numbers) in errors.into_iter().zip(["2 and 3", "2 and 3", "3 and 2"]) {
        assert!(matches!(&error, Error::InvalidArgument(text) if text.contains(numbers)), "{error}");
    }
}

#[test]
fn unequal_numbers_of_elements_fail_the_task_and_the_text_says_where() {
    let sc = context();
    let all = sc.partitioned(3).range(0..9u64);
    for fewer in [all.filter(|i| *i != 8), all.filter(|i| *i < 6)] {
        let texts = [
            all.zip(&fewer).unwrap().collect().unwrap_err().to_string(),
            fewer.zip(&all).unwrap().count().unwrap_err().to_string(),
        ];
        for (text, longer) in texts.into_iter().zip(["left", "right"]) {
            let said = "can only zip RDDs with same number of elements in each partition: of partition 2 the ";
            assert!(text.contains(&format!("{said}{longer} one has more")), "{text}");
        }
        // What is equally long can be had.
        assert_eq!(all.zip(&fewer).unwrap().take(3).unwrap().len(), 3);
    }
}

#[test]
fn zip_partitions_sees_both_partitions_whole() {
    let sc = context();
    let (numbers, names) = (sc.partitioned(4).range(0..5000u64), words(&sc, 300, 4));
    let sizes = numbers.zip_partitions(&names, |numbers, names| [(numbers.sum::<u64>(), names.count() as u64)]);
    let expected: Vec<_> = numbers.collect_partitions().unwrap().iter().map(|p| (p.iter().sum::<u64>(), 75)).collect();
    assert_eq!(sizes.unwrap().collect().unwrap(), expected);
    let merged = numbers.with(10u64).zip_partitions(&numbers, |by, a: PartitionIter<u64>, b| {
        let by = *by;
        a.zip(b).map(move |(a, b)| a + b * by)
    });
    assert_eq!(merged.unwrap().collect().unwrap(), (0..5000).map(|i| i * 11).collect::<Vec<_>>());
    let failing = numbers.try_zip_partitions(&names, |_, mut names| match names.find(|n| n.starts_with("word 80 ")) {
        Some(name) => Err(name.trim_end_matches('x').to_owned()),
        None => Ok([1u8]),
    });
    assert!(failing.unwrap().collect().unwrap_err().to_string().contains("word 80 "));
}

#[test]
fn shuffled_and_co_partitioned_parents_work_on_separate_executors() {
    let sc = Context::builder().app_name("two parents").master("local-cluster[2,1,512]").build().unwrap();
    let pairs = sc.partitioned(4).range(0..1000u64).map(|i| (i % 10, 1u64));
    let sums = pairs.partitioned(3).reduce_by_key(|a, b| a + b);
    let most = pairs.partitioned(3).group_by_key().map_values(|ones| ones.len() as u64);
    let equal = sums.zip_partitions(&most, |sums, most| {
        let most: BTreeMap<u64, u64> = most.collect();
        sums.map(move |(k, n)| (k, most.get(&k) == Some(&n))).collect::<Vec<_>>()
    });
    let equal = equal.unwrap().collect_as_map().unwrap();
    assert_eq!(equal.len(), 10);
    assert!(equal.values().all(|same| *same));
    let crossed = sums.cartesian(&words(&sc, 20, 2)).unwrap().coalesce(2);
    assert_eq!(crossed.count().unwrap(), 200);
}
