//! What map tasks write is what reduce tasks read, in map order, from here and from there.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{executor, executor_with, input, small_buffers, uncompressed};
use firesteel_common::TaskFailure;
use firesteel_shuffle::{Abort, RecordReader};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_record_arrives_once_and_in_order(
        maps in prop::collection::vec(prop::collection::vec((0u32..5, any::<(u64, String)>()), 0..200), 0..4),
        plain: bool, spills: bool,
    ) {
        let there = executor_with(1, |c| {
            if plain { uncompressed(c) }
            if spills { small_buffers(c) }
        });
        let here = executor(2);
        let locations: Vec<_> = maps.iter().enumerate().map(|(task, records)| {
            if task % 2 == 0 { there.map(task as u64, 5, records) } else { here.map(task as u64, 5, records) }
        }).collect();
        let input = input(locations);
        for reduce in 0..5 {
            let wanted: Vec<&(u64, String)> =
                maps.iter().flatten().filter(|(r, _)| *r == reduce).map(|(_, record)| record).collect();
            let got: Vec<(u64, String)> = here.reduce(&input, reduce).unwrap();
            prop_assert_eq!(got.iter().collect::<Vec<_>>(), wanted);
        }
    }
}

#[test]
fn large_outputs_are_spilled_and_merged_in_order() {
    for compressed in [true, false] {
        let here = executor_with(1, |c| {
            small_buffers(c);
            if !compressed {
                uncompressed(c);
            }
        });
        let records: Vec<(u32, u64)> = (0..300_000u64).map(|i| ((i * 7 % 10) as u32, i << 20)).collect();
        let mut writer_files_seen = false;
        let mut writer =
            firesteel_shuffle::MapWriter::new(&here.manager, common::SHUFFLE, firesteel_common::TaskId(0), 10);
        for (reduce, record) in &records {
            writer.write(*reduce, record).unwrap();
            writer_files_seen |= *record == 250_000 << 20 && here.files() == ["shuffle_3_0.spill.tmp"];
        }
        let sizes = writer.finish().unwrap().sizes;
        assert!(writer_files_seen, "it must have spilled");
        assert_eq!(here.files(), ["shuffle_3_0.data", "shuffle_3_0.index"]);
        let mut location = here.map(1, 10, &[(0u32, 0u64); 0]);
        location.map_task = firesteel_common::TaskId(0);
        location.sizes = sizes;
        let input = input(vec![location]);
        for reduce in 0..10 {
            let got: Vec<u64> = here.reduce(&input, reduce).unwrap();
            assert!(got.iter().copied().eq(records.iter().filter(|r| r.0 == reduce).map(|r| r.1)));
        }
    }
}

#[test]
fn empty_outputs_and_empty_partitions_give_nothing() {
    let (here, there) = (executor(1), executor(2));
    let maps = vec![here.map::<u64>(0, 3, &[]), there.map(1, 3, &[(1, 5u64)]), there.map::<u64>(2, 3, &[])];
    assert_eq!(maps[0].sizes, [0, 0, 0]);
    let input = input(maps);
    assert_eq!(here.reduce::<u64>(&input, 0).unwrap(), []);
    assert_eq!(here.reduce::<u64>(&input, 1).unwrap(), [5]);
    assert_eq!(here.reduce::<u64>(&common::input(vec![]), 0).unwrap(), []);
}

#[test]
fn records_that_take_no_bytes_are_counted() {
    let (here, there) = (executor(1), executor(2));
    let input = input(vec![there.map(0, 2, &[(0, ()), (1, ()), (0, ())]), here.map(1, 2, &[(0, ()); 20])]);
    assert_eq!(here.reduce::<()>(&input, 0).unwrap().len(), 22);
    assert_eq!(here.reduce::<()>(&input, 1).unwrap().len(), 1);
}

#[test]
fn records_larger_than_a_frame_arrive() {
    let (here, there) = (executor_with(1, small_buffers), executor(2));
    let records: Vec<(u32, String)> =
        (0..20).map(|i| (i % 2, char::from(b'a' + i as u8).to_string().repeat(i as usize * 30_000))).collect();
    let input = input(vec![there.map(0, 2, &records), here.map(1, 2, &records)]);
    for reduce in 0..2 {
        let wanted: Vec<String> = records.iter().filter(|r| r.0 == reduce).map(|r| r.1.clone()).collect();
        assert_eq!(here.reduce::<String>(&input, reduce).unwrap(), [wanted.clone(), wanted].concat());
    }
}

#[test]
fn many_reducers_and_many_maps_keep_map_order() {
    let reducers = 2000;
    let here = executor_with(1, |c| c.max_bytes_in_flight = 100);
    let there = [executor(2), executor(3)];
    let records: Vec<(u32, u32)> = (0..reducers).map(|r| (r, r)).collect();
    let mut maps = vec![here.map(0, reducers, &records)];
    for task in 1..7 {
        maps.push(there[task as usize % 2].map(task, reducers, &records));
    }
    let input = input(maps);
    for reduce in [0, 1, 777, 1999] {
        assert_eq!(here.reduce::<u32>(&input, reduce).unwrap(), [reduce; 7]);
    }
}

#[test]
fn more_blocks_of_one_peer_than_requests_at_once() {
    let (here, there) = (executor(1), executor(2));
    let maps = (0..1500u64).map(|task| there.map(task, 1, &[(0, task)])).collect();
    assert!(here.reduce::<u64>(&input(maps), 0).unwrap().into_iter().eq(0..1500));
}

#[test]
fn blocks_larger_than_the_bound_in_flight_are_read_one_by_one() {
    let here = executor_with(1, |c| c.max_bytes_in_flight = 1000);
    let there = executor_with(2, uncompressed);
    let records: Vec<(u32, u64)> = (0..400_000u64).map(|i| (0, i * 0x9e37_79b9)).collect();
    let maps = (0..4).map(|task| there.map(task, 1, &records)).collect();
    let got: Vec<u64> = here.reduce(&input(maps), 0).unwrap();
    assert!(got.iter().copied().eq((0..4).flat_map(|_| records.iter().map(|r| r.1))));
}

#[test]
fn for_each_goes_on_where_batches_ended_and_stops_at_an_error() {
    let here = executor(1);
    let records: Vec<(u32, u64)> = (0..50_000).map(|i| (0, i)).collect();
    let input = input(vec![here.map(0, 1, &records), here.map(1, 1, &records)]);
    let mut reader = RecordReader::<u64>::new(here.manager.read(&input, 0, Abort::never()));
    assert_eq!(reader.next_batch(3).unwrap().unwrap(), [0, 1, 2]);
    let mut next = 3;
    let result = reader.for_each(|record| {
        assert_eq!(record, next % 50_000);
        next += 1;
        if next == 60_000 { Err(TaskFailure::Killed { reason: "enough".into() }) } else { Ok(()) }
    });
    assert_eq!(result, Err(TaskFailure::Killed { reason: "enough".into() }));
    assert_eq!(next, 60_000);
}

#[test]
fn many_reducers_get_their_records_in_order() {
    for (bypass, buffer) in [(200, 64 << 20), (200, 0), (10_000, 0)] {
        let here = executor_with(1, |c| {
            c.bypass_merge_threshold = bypass;
            c.write_buffer_bytes = buffer;
        });
        let records: Vec<(u32, (u32, u64))> =
            (0..100_000u64).map(|i| ((i * i % 997) as u32, i)).map(|(r, i)| (r, (r, i))).collect();
        let input = input(vec![here.map(0, 1000, &records)]);
        for reduce in [0, 1, 500, 996, 999] {
            let got = here.reduce::<(u32, u64)>(&input, reduce).unwrap();
            let expected: Vec<(u32, u64)> = records.iter().filter(|(r, _)| *r == reduce).map(|(_, x)| *x).collect();
            assert!(got == expected, "reducer {reduce} with {bypass}, {buffer}");
        }
        assert_eq!(here.files(), ["shuffle_3_0.data", "shuffle_3_0.index"]);
    }
}

#[test]
fn every_codec_is_read_by_every_reader() {
    use firesteel_shuffle::Compression::{Lz4, None, Snappy, Zstd};
    let records: Vec<(u32, String)> = (0..5000).map(|i| (i % 2, format!("record number {i}"))).collect();
    let owners: Vec<_> =
        [None, Lz4, Snappy, Zstd { level: 3 }].map(|codec| executor_with(1, |c| c.compression = codec)).into();
    let reader = executor(2);
    for owner in &owners {
        let got = reader.reduce::<String>(&input(vec![owner.map(0, 2, &records)]), 1).unwrap();
        assert!(got.into_iter().eq(records.iter().filter(|(r, _)| *r == 1).map(|(_, s)| s.clone())));
    }
}
