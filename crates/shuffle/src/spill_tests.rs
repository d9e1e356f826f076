use super::*;
use crate::test_support::spills;

#[test]
fn partitions_come_back_in_the_order_in_which_they_were_written() {
    let (spills, dir) = spills(1 << 20);
    let mut file = spills.file().unwrap();
    for round in 0..3u64 {
        for partition in [2u32, 0, 5] {
            (0..20_000u64).for_each(|i| file.write(partition, &(round, u64::from(partition), i << 30)).unwrap());
        }
    }
    let spilled = file.finish().unwrap();
    assert!(spilled.is_empty(1) && !spilled.is_empty(5));
    for partition in [0, 2, 5] {
        let mut reader = spilled.read::<(u64, u64, u64)>(partition);
        let mut all = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            all.extend(batch);
        }
        let expected = (0..3).flat_map(|r| (0..20_000u64).map(move |i| (r, u64::from(partition), i << 30)));
        assert!(all.into_iter().eq(expected));
    }
    drop(spilled);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_changed_byte_is_found() {
    let (spills, dir) = spills(1 << 20);
    let mut file = spills.file().unwrap();
    (0..1000u64).for_each(|i| file.write(0, &i).unwrap());
    let spilled = file.finish().unwrap();
    let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let e = spilled.read::<u64>(0).next_batch().unwrap_err().to_string();
    assert!(e.contains("changed") && e.contains(path.to_str().unwrap()), "{e}");
}

#[test]
fn levels_split_what_the_levels_above_left_together() {
    let together: Vec<u64> = (0..2_000_000u64)
        .map(|i| firesteel_common::hash::fixed_hash(&i))
        .filter(|h| digit(*h, 0) == 3 && digit(*h, 1) == 5)
        .collect();
    for level in 2..=MAX_LEVEL {
        let mut counts = [0; 1 << NEXT_BITS];
        together.iter().for_each(|h| counts[digit(*h, level)] += 1);
        assert!(counts.iter().filter(|n| **n > 0).count() > 20, "level {level}: {counts:?}");
    }
}
