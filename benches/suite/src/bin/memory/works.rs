//! The works. Each makes its records from their numbers, about 100 bytes a record, and checks what comes out.

use std::sync::atomic::{AtomicU64, Ordering};

use firesteel::prelude::*;
use firesteel_bench::{Outcome, mix};

/// A work on so many bytes of data.
pub type Work = fn(&Context, u64) -> Outcome<()>;

/// All works.
pub const ALL: [(&str, Work); 5] = [
    ("sort", sort),
    ("group_by_key", group_by_key),
    ("join", join),
    ("reduce_by_key", reduce_by_key),
    ("cache", cache),
];

/// Bytes of a record: its text, and a key of eight bytes.
const RECORD: u64 = 100;

/// Two tasks at a time, each with half of the data: more than the executor has for both.
const PARTITIONS: u32 = 2;

/// The text of the `i`-th record.
fn text(i: u64) -> String {
    format!("{i:020}-{:020}-{:020}-and-with-some-more-letters", mix(i), mix(i + 1))
}

/// Whether `text` is that of record `i`.
fn is_text(text: &str, i: u64) -> bool {
    text == self::text(i)
}

fn number_of(text: &str) -> u64 {
    // What is no number becomes one that no record has.
    text.get(..20).and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should_be: T) -> Outcome<()> {
    if is == should_be { Ok(()) } else { Err(format!("{what}: {is:?} instead of {should_be:?}").into()) }
}

fn sort(sc: &Context, bytes: u64) -> Outcome<()> {
    let n = bytes / RECORD;
    let sorted =
        sc.partitioned(PARTITIONS).range(0..n).map(|i| (mix(i), text(i))).partitioned(PARTITIONS).sort_by_key(true)?;
    // Of each partition: the first and the last key, the number of records, all keys, and how many are wrong.
    let partitions = sorted
        .map_partitions(|records| {
            let (mut first, mut last, mut count, mut keys, mut wrong) = (None, 0, 0u64, 0u64, 0u64);
            for (key, text) in records {
                let i = number_of(&text);
                wrong += u64::from(first.is_some() && key <= last || mix(i) != key || !is_text(&text, i));
                first = first.or(Some(key));
                last = key;
                count += 1;
                keys ^= key;
            }
            [(first, last, count, keys, wrong)]
        })
        .collect()?;
    expect("partitions", partitions.len(), PARTITIONS as usize)?;
    expect("records", partitions.iter().map(|p| p.2).sum(), n)?;
    expect("keys", partitions.iter().fold(0, |keys, p| keys ^ p.3), (0..n).fold(0, |keys, i| keys ^ mix(i)))?;
    expect("records out of order", partitions.iter().map(|p| p.4).sum(), 0)?;
    let ordered = partitions.windows(2).all(|pair| pair[1].0.is_some_and(|first| pair[0].1 < first));
    expect("partitions in order", ordered, true)
}

fn group_by_key(sc: &Context, bytes: u64) -> Outcome<()> {
    const VALUES: u64 = 50;
    let groups = bytes / RECORD / VALUES;
    let sums = sc
        .partitioned(PARTITIONS)
        .range(0..groups * VALUES)
        .with(groups)
        .map(|groups, i| (i % groups, text(i)))
        .partitioned(PARTITIONS)
        .group_by_key()
        .with(groups)
        .aggregate(
            (0u64, 0u64),
            |groups, (count, wrong), (key, values)| {
                // Each has all numbers that leave its key, once.
                let mut numbers: Vec<u64> = values.iter().map(|text| number_of(text)).collect();
                numbers.sort_unstable();
                let right = numbers.iter().copied().eq((0..VALUES).map(|n| n * groups + key))
                    && values.iter().all(|text| is_text(text, number_of(text)));
                (count + 1, wrong + u64::from(!right))
            },
            |_, a, b| (a.0 + b.0, a.1 + b.1),
        )?;
    expect("groups, and wrong ones", sums, (groups, 0))
}

fn join(sc: &Context, bytes: u64) -> Outcome<()> {
    const ROWS: u64 = 7;
    let keys = bytes / RECORD / (ROWS + 1);
    let left = sc.partitioned(PARTITIONS).range(0..keys * ROWS).with(keys).map(|keys, i| (i % keys, text(i)));
    let right = sc.partitioned(PARTITIONS).range(0..keys).map(|i| (i, text(i + 1)));
    let sums = left.partitioned(PARTITIONS).join(&right).with(keys).aggregate(
        (0u64, 0u64, 0u64),
        |keys, (count, numbers, wrong), (key, (left, right))| {
            let i = number_of(left);
            let right = i % keys == *key && is_text(left, i) && is_text(right, key + 1);
            (count + 1, numbers.wrapping_add(mix(i)), wrong + u64::from(!right))
        },
        |_, a, b| (a.0 + b.0, a.1.wrapping_add(b.1), a.2 + b.2),
    )?;
    let numbers = (0..keys * ROWS).fold(0u64, |sum, i| sum.wrapping_add(mix(i)));
    expect("rows, their numbers, and wrong ones", sums, (keys * ROWS, numbers, 0))
}

fn reduce_by_key(sc: &Context, bytes: u64) -> Outcome<()> {
    /// Keys in no order that follows from their numbers; odd, so that none comes twice.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let keys = bytes / RECORD / 2;
    let sums = sc
        .partitioned(PARTITIONS)
        .range(0..2 * keys)
        .with(keys)
        .map(|keys, i| ((i % keys).wrapping_mul(SPREAD), std::array::from_fn::<u64, 11, _>(|n| i + n as u64)))
        .partitioned(PARTITIONS)
        .reduce_by_key(|a, b| std::array::from_fn(|n| a[n] + b[n]))
        .with(keys)
        .aggregate(
            (0u64, 0u64, 0u64),
            |keys, (count, numbers, wrong), (key, sums)| {
                // Those of i and of i + keys.
                let i = sums[0].wrapping_sub(*keys) / 2;
                let right = i.wrapping_mul(SPREAD) == *key && (0..11).all(|n| sums[n] == 2 * (i + n as u64) + keys);
                (count + 1, numbers.wrapping_add(mix(i)), wrong + u64::from(!right))
            },
            |_, a, b| (a.0 + b.0, a.1.wrapping_add(b.1), a.2 + b.2),
        )?;
    let numbers = (0..keys).fold(0u64, |sum, i| sum.wrapping_add(mix(i)));
    expect("keys, their numbers, and wrong ones", sums, (keys, numbers, 0))
}

/// Records that the executor has made, in its process.
static MADE: AtomicU64 = AtomicU64::new(0);

fn cache(sc: &Context, bytes: u64) -> Outcome<()> {
    let n = bytes / RECORD;
    let records = sc
        .partitioned(16)
        .range(0..n)
        .map(|i| {
            MADE.fetch_add(1, Ordering::Relaxed);
            (i, text(i))
        })
        .persist(StorageLevel::MEMORY_AND_DISK);
    let numbers = (0..n).fold(0u64, |sum, i| sum.wrapping_add(mix(i)));
    for _ in 0..3 {
        let sums = records.aggregate(
            (0u64, 0u64, 0u64),
            |(count, numbers, wrong), (i, text)| {
                (count + 1, numbers.wrapping_add(mix(*i)), wrong + u64::from(!is_text(text, *i)))
            },
            |a, b| (a.0 + b.0, a.1.wrapping_add(b.1), a.2 + b.2),
        )?;
        expect("records, their numbers, and wrong ones", sums, (n, numbers, 0))?;
    }
    let made = sc.partitioned(1).range(0..1u64).map(|_| MADE.load(Ordering::Relaxed)).collect()?;
    // What did not stay in memory was read again, not made again.
    expect("records made", made, vec![n])
}
