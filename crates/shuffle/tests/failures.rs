//! Damaged files, dead peers, full disks: always the typed failure, with the file's name, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    fs,
    os::unix::fs::{FileExt, symlink},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Executor, SHUFFLE, executor, executor_with, input, small_buffers, uncompressed};
use firesteel_common::{ExecutorId, TaskFailure, TaskId};
use firesteel_shuffle::{Abort, MapWriter, RecordReader, ShuffleError, ShuffleInput};

/// The output of task 7 is damaged; both the executor that has it and another one must find out.
fn finds(damage: impl Fn(&Executor), file: &str) {
    let (owner, other) = (executor_with(1, uncompressed), executor(2));
    // One that holds next to nothing in memory.
    let frugal = executor_with(3, |c| c.max_block_in_memory = 16);
    let records: Vec<(u32, u64)> = (0..1000).map(|i| (i % 2, u64::from(i))).collect();
    let remote = input(vec![owner.map(6, 2, &records), owner.map(7, 2, &records)]);
    let beside = Arc::new(ShuffleInput { host_local: owner.files_on_this_host(), ..(*remote).clone() });
    damage(&owner);
    for (reader, input) in
        [(&owner, &remote), (&other, &remote), (&other, &beside), (&frugal, &remote), (&frugal, &beside)]
    {
        let failure = reader.reduce::<u64>(input, 1).unwrap_err();
        let TaskFailure::FetchFailed { shuffle, map_index, map_task, reduce, executor, message } = failure else {
            panic!("{failure:?}");
        };
        assert_eq!((shuffle, map_index, map_task), (SHUFFLE, 1, TaskId(7)));
        assert_eq!((reduce, executor), (1, ExecutorId(1)));
        assert!(message.contains(file), "{message}");
    }
}

#[test]
fn a_corrupt_byte_in_a_data_file_is_found() {
    let damage = |owner: &Executor| {
        let file = fs::File::options().read(true).write(true).open(owner.path(7, "data")).unwrap();
        let at = file.metadata().unwrap().len() - 10;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    finds(damage, "shuffle_3_7.data");
}

#[test]
fn a_truncated_data_file_is_found() {
    let damage = |owner: &Executor| {
        let file = fs::File::options().write(true).open(owner.path(7, "data")).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    };
    finds(damage, "shuffle_3_7.data");
}

#[test]
fn a_missing_data_file_is_found() {
    finds(|owner| fs::remove_file(owner.path(7, "data")).unwrap(), "shuffle_3_7.data");
}

#[test]
fn a_missing_index_is_found() {
    finds(|owner| fs::remove_file(owner.path(7, "index")).unwrap(), "shuffle_3_7.index");
}

#[test]
fn a_truncated_index_is_found() {
    let damage = |owner: &Executor| {
        let file = fs::File::options().write(true).open(owner.path(7, "index")).unwrap();
        file.set_len(30).unwrap();
    };
    finds(damage, "shuffle_3_7.index");
}

#[test]
fn an_index_that_is_none_is_found() {
    finds(|owner| fs::write(owner.path(7, "index"), [0; 100]).unwrap(), "shuffle_3_7.index");
}

#[test]
fn an_index_that_calls_a_written_block_empty_is_found() {
    let damage = |owner: &Executor| {
        let path = owner.path(7, "index");
        let mut index = fs::read(&path).unwrap();
        // The end of block 1 becomes its start; the checksum of nothing is 0.
        index.copy_within(24..32, 36);
        index[32..36].fill(0);
        fs::write(path, index).unwrap();
    };
    finds(damage, "empty");
}

#[test]
fn an_executor_that_is_gone_fails_the_fetch_of_its_first_block() {
    let (here, mut there) = (executor(1), executor(2));
    let input = input(vec![here.map(0, 1, &[(0, 1u64)]), there.map(1, 1, &[(0, 2u64)])]);
    assert_eq!(here.reduce::<u64>(&input, 0).unwrap(), [1, 2]);
    there.server = None;
    let failure = here.reduce::<u64>(&input, 0).unwrap_err();
    assert!(
        matches!(&failure, TaskFailure::FetchFailed { map_index: 1, executor: ExecutorId(2), message, .. }
            if message.contains(&there.address)),
        "{failure:?}"
    );
}

#[test]
fn a_kill_ends_reading() {
    let here = executor(1);
    let records: Vec<(u32, u64)> = (0..100_000).map(|i| (0, i)).collect();
    let input = input(vec![here.map(0, 1, &records)]);
    let asked = AtomicUsize::new(0);
    let abort = Abort::new(move || (asked.fetch_add(1, Ordering::SeqCst) == 2).then(|| "cancelled".to_owned()));
    let reader = RecordReader::<u64>::new(here.manager.read(&input, 0, abort));
    let mut count = 0;
    let result: Result<(), TaskFailure> = reader.for_each(|_| {
        count += 1;
        Ok(())
    });
    assert_eq!(result, Err(TaskFailure::Killed { reason: "cancelled".into() }));
    assert!((1..100_000).contains(&count));
}

#[test]
fn after_a_failure_there_is_no_end_of_input() {
    let here = executor(1);
    let mut location = here.map(0, 1, &[(0, 1u64)]);
    location.map_task = TaskId(99);
    let input = input(vec![location]);
    let mut blocks = here.manager.read(&input, 0, Abort::never());
    let first = blocks.advance().unwrap_err();
    assert_eq!(blocks.advance().unwrap_err(), first);
    assert!(blocks.frame().is_empty());
}

#[test]
fn a_full_disk_names_the_file_and_leaves_nothing() {
    for ending in ["data", "index", "spill"] {
        let here = executor_with(1, |c| {
            if ending == "spill" {
                small_buffers(c);
            }
        });
        drop(here.map(2, 2, &[(0, 1u64)]));
        // The same in every directory: of one alone nobody would notice.
        let temp = here.path(4, &format!("{ending}.tmp"));
        let other = here.path(5, "").parent().unwrap().join(temp.file_name().unwrap());
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        for temp in [&temp, &other] {
            symlink("/dev/full", temp).unwrap();
        }
        let mut writer = MapWriter::new(&here.manager, SHUFFLE, TaskId(4), 2);
        let written = (0..100_000u64).try_for_each(|i| writer.write((i % 2) as u32, &(i << 40)));
        let e = written.and_then(|()| writer.finish().map(drop)).unwrap_err();
        let text = e.to_string();
        assert!(
            text.contains(temp.to_str().unwrap())
                && text.contains(other.to_str().unwrap())
                && text.contains("spark.local.dir"),
            "{text}"
        );
        assert!(matches!(TaskFailure::from(e), TaskFailure::Exception { panic: false, .. }));
        assert_eq!(here.files(), ["shuffle_3_2.data", "shuffle_3_2.index"]);
    }
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let here = executor_with(1, small_buffers);
    let mut writer = MapWriter::new(&here.manager, SHUFFLE, TaskId(0), 2);
    (0..100_000u64).for_each(|i| writer.write((i % 2) as u32, &(i << 40)).unwrap());
    assert_eq!(here.files(), ["shuffle_3_0.spill.tmp"]);
    drop(writer);
    assert_eq!(here.files(), [""; 0]);
}

#[test]
fn a_reducer_that_does_not_exist_is_refused() {
    let here = executor(1);
    let mut writer = MapWriter::new(&here.manager, SHUFFLE, TaskId(0), 2);
    let e = writer.write(2, &1u64).unwrap_err();
    assert!(matches!(e, ShuffleError::NoSuchReducer { reduce: 2, reducers: 2, .. }), "{e}");
}

#[test]
fn files_go_with_their_shuffle_and_the_rest_with_the_manager() {
    let mut here = executor(1);
    drop(here.map(0, 2, &[(0, 1u64)]));
    let mut writer = MapWriter::new(&here.manager, firesteel_common::ShuffleId(9), TaskId(5), 1);
    writer.write(0, &1u64).unwrap();
    drop(writer.finish().unwrap());
    here.manager.remove_shuffle(SHUFFLE);
    assert_eq!(here.files(), ["shuffle_9_5.data", "shuffle_9_5.index"]);
    here.server = None;
    let other = executor(2).manager.clone();
    let manager = std::mem::replace(&mut here.manager, other);
    assert_eq!(Arc::strong_count(&manager), 1);
    drop(manager);
    assert_eq!(here.files(), [""; 0]);
}

#[test]
fn large_blocks_are_read_piece_by_piece_from_wherever_they_are_and_leave_nothing() {
    let owner = executor_with(1, |c| c.max_block_in_memory = 1000);
    let other = executor_with(2, |c| c.max_block_in_memory = 1000);
    let records: Vec<(u32, u64)> = (0..200_000).map(|i| (i % 2, u64::from(i))).collect();
    let remote = input(vec![owner.map(1, 2, &records), owner.map(2, 2, &[(1, 5u64)])]);
    let beside = Arc::new(ShuffleInput { host_local: owner.files_on_this_host(), ..(*remote).clone() });
    let expected: Vec<u64> = (0..200_000).filter(|i| i % 2 == 1).chain([5]).collect();
    for (reader, input) in [(&owner, &remote), (&other, &remote), (&other, &beside)] {
        assert_eq!(reader.reduce::<u64>(input, 1).unwrap(), expected);
    }
    assert_eq!(other.files(), [""; 0]);
}

#[test]
fn files_on_this_host_need_no_server_and_what_is_not_there_is_fetched() {
    let (mut owner, other) = (executor(1), executor(2));
    let remote = input(vec![owner.map(1, 1, &[(0, 5u64)])]);
    let wrong = [(ExecutorId(1), vec![other.dir.path().join("nowhere")])].into();
    let wrong = Arc::new(ShuffleInput { host_local: wrong, ..(*remote).clone() });
    assert_eq!(other.reduce::<u64>(&wrong, 0).unwrap(), [5], "over the network");
    let fresh = executor(3);
    owner.server = None;
    let beside = Arc::new(ShuffleInput { host_local: owner.files_on_this_host(), ..(*remote).clone() });
    assert_eq!(fresh.reduce::<u64>(&beside, 0).unwrap(), [5], "from disk");
    let not_asked = executor_with(4, |c| c.read_host_local = false);
    assert!(not_asked.reduce::<u64>(&beside, 0).is_err());
}

#[test]
fn where_a_large_block_finds_no_room_the_reader_has_failed_and_not_the_block() {
    let owner = executor(1);
    let records: Vec<(u32, u64)> = (0..100_000).map(|i| (0, i)).collect();
    let remote = input(vec![owner.map(1, 1, &records)]);
    let other = executor_with(2, |c| {
        c.max_block_in_memory = 10;
        c.dirs.truncate(1);
    });
    fs::remove_dir_all(&other.manager.config().dirs[0]).unwrap();
    fs::write(&other.manager.config().dirs[0], "a file in its place").unwrap();
    let failure = other.reduce::<u64>(&remote, 0).unwrap_err();
    let TaskFailure::Exception { message, .. } = &failure else { panic!("{failure:?}") };
    assert!(message.contains(other.dir.path().to_str().unwrap()), "{message}");
}

#[test]
fn a_local_directory_that_fails_is_skipped_and_one_that_never_was_is_left_out() {
    let mut dirs = Vec::new();
    let here = executor_with(1, |c| {
        c.dirs.push("/proc/no/directory".into());
        dirs.clone_from(&c.dirs);
    });
    assert_eq!(here.manager.config().dirs, dirs[..2]);
    fs::remove_dir_all(&dirs[1]).unwrap();
    fs::write(&dirs[1], "a file in its place").unwrap();
    let maps: Vec<_> = (0..4).map(|task| here.map(task, 1, &[(0, task)])).collect();
    let input = input(maps);
    assert_eq!(here.reduce::<u64>(&input, 0).unwrap(), [0, 1, 2, 3]);
    assert_eq!(executor(2).reduce::<u64>(&input, 0).unwrap(), [0, 1, 2, 3]);
}

#[test]
fn what_a_full_directory_does_not_take_goes_to_another_one_in_the_same_attempt() {
    for ending in ["data", "index", "spill"] {
        let here = executor_with(1, |c| {
            if ending == "spill" {
                small_buffers(c);
            }
        });
        drop(here.map(2, 2, &[(0, 1u64)]));
        symlink("/dev/full", here.path(4, &format!("{ending}.tmp"))).unwrap();
        let records: Vec<(u32, u64)> = (0..100_000u64).map(|i| ((i % 2) as u32, i << 40)).collect();
        let input = input(vec![here.map(4, 2, &records)]);
        let expected: Vec<u64> = (0..100_000u64).filter(|i| i % 2 == 1).map(|i| i << 40).collect();
        assert_eq!(here.reduce::<u64>(&input, 1).unwrap(), expected, "{ending}");
        assert_eq!(executor(2).reduce::<u64>(&input, 1).unwrap(), expected, "{ending}");
        // The next task does not try it, though its number says so.
        drop(here.map(6, 1, &[(0, 1u64)]));
        assert!(!here.path(6, "data").exists(), "{ending}");
    }
}

#[test]
fn a_local_directory_that_somebody_removed_is_made_again() {
    let here = executor(1);
    let before = input(vec![here.map(0, 1, &[(0, 1u64)])]);
    for dir in &here.manager.config().dirs {
        fs::remove_dir_all(dir).unwrap();
    }
    let after = input(vec![here.map(2, 1, &[(0, 2u64)]), here.map(3, 1, &[(0, 3u64)])]);
    assert_eq!(here.reduce::<u64>(&after, 0).unwrap(), [2, 3]);
    assert!(here.reduce::<u64>(&before, 0).is_err(), "what was there is gone");
    assert!(here.path(2, "data").exists() && here.path(3, "data").exists(), "each in its place");
}
