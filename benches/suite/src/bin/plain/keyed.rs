//! Works by key: rows are dealt into a part a thread, and each part has a hash map of its own.

use std::collections::HashMap;

use firesteel_bench::{edge, mix};
use foldhash::fast::RandomState;

use crate::{THREADS, exchange, share, threads, threads_with};

type Map<K, V> = HashMap<K, V, RandomState>;

fn part(key: u64) -> usize {
    (mix(key) >> 32) as usize % THREADS
}

fn buckets<T>() -> Vec<Vec<T>> {
    (0..THREADS).map(|_| Vec::new()).collect()
}

fn total(sums: Vec<[u64; 3]>) -> String {
    let add = |a: [u64; 3], b: [u64; 3]| std::array::from_fn(|i| a[i].wrapping_add(b[i]));
    let [count, sum, check]: [u64; 3] = sums.into_iter().fold([0; 3], add);
    format!("{count} {} {}", sum as i64, check as i64)
}

pub fn reduce_by_key(rows: u64, keys: u64) -> String {
    let dealt = threads(|t| {
        let mut buckets = buckets();
        for i in share(rows, t) {
            let key = mix(i) % keys;
            buckets[part(key)].push((key, i & 0xff));
        }
        buckets
    });
    total(threads_with(exchange(dealt), |blocks| {
        let mut sums: Map<u64, u64> = Map::default();
        for (key, value) in blocks.into_iter().flatten() {
            *sums.entry(key).or_default() += value;
        }
        sums.iter().fold([0; 3], |s, (key, sum)| [s[0] + 1, s[1] + sum, s[2].wrapping_add(key.wrapping_mul(*sum))])
    }))
}

pub fn join(rows: u64, small: u64) -> String {
    let deal = |n: u64, t: usize, row: &dyn Fn(u64) -> (u64, u64)| {
        let mut buckets = buckets();
        for i in share(n, t) {
            let (key, value) = row(i);
            buckets[part(key)].push((key, value));
        }
        buckets
    };
    let names = exchange(threads(|t| deal(small, t, &|i| (i, mix(i) & 0xffff))));
    let facts = exchange(threads(|t| deal(rows, t, &|i| (mix(i) % (2 * small), i))));
    total(threads_with(names.into_iter().zip(facts).collect(), |(names, facts)| {
        let names: Map<u64, u64> = names.into_iter().flatten().collect();
        let mut sums = [0u64; 3];
        for (key, row) in facts.into_iter().flatten() {
            if let Some(name) = names.get(&key) {
                sums = [sums[0] + 1, sums[1].wrapping_add(row), sums[2].wrapping_add(key.wrapping_mul(*name))];
            }
        }
        sums
    }))
}

pub fn pagerank(edges: u64, bits: u32, iterations: u32) -> String {
    let dealt = threads(|t| {
        let mut buckets = buckets();
        for i in share(edges, t) {
            let (from, to) = edge(i, bits);
            buckets[part(from.into())].push((from, to));
        }
        buckets
    });
    let links: Vec<Map<u32, Vec<u32>>> = threads_with(exchange(dealt), |blocks| {
        let mut links: Map<u32, Vec<u32>> = Map::default();
        for (from, to) in blocks.into_iter().flatten() {
            links.entry(from).or_default().push(to);
        }
        links
    });
    let mut ranks: Vec<Map<u32, f64>> =
        links.iter().map(|links| links.keys().map(|page| (*page, 1.0)).collect()).collect();
    for _ in 0..iterations {
        let shares =
            threads_with(links.iter().zip(ranks).collect(), |(links, ranks): (&Map<_, Vec<u32>>, Map<u32, f64>)| {
                let mut buckets = buckets();
                for (page, rank) in &ranks {
                    let Some(targets) = links.get(page) else { continue };
                    let share = rank / targets.len() as f64;
                    for target in targets {
                        buckets[part((*target).into())].push((*target, share));
                    }
                }
                buckets
            });
        ranks = threads_with(exchange(shares), |blocks| {
            let mut ranks: Map<u32, f64> = Map::default();
            for (page, share) in blocks.into_iter().flatten() {
                *ranks.entry(page).or_default() += share;
            }
            ranks.values_mut().for_each(|rank| *rank = 0.15 + 0.85 * *rank);
            ranks
        });
    }
    let ranks = || ranks.iter().flat_map(|ranks| ranks.values());
    let (sum, largest) = (ranks().sum::<f64>(), ranks().copied().fold(0.0, f64::max));
    format!("{} {sum:?} {largest:?}", ranks().count())
}
