//! Shuffle files that are damaged or deleted between map and reduce, and disks that are full: the right result or a clear
//! error, and nothing left behind.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use firesteel::prelude::*;
use firesteel_testing::until;

use crate::cluster::{Board, Cluster, executor_pids};

/// Sums by key. Each run of a map task puts a file up; reduce tasks say that they have begun, and read when they may.
fn gated_sums(sc: &Context, board: &Board) -> Rdd<(u64, u64)> {
    sc.partitioned(4)
        .range(0..8_000u64)
        .with(board.clone())
        .map_partitions_with_index(|board, i, elements| {
            let run = board.names(&format!("map-{i}-")).len();
            board.post(&format!("map-{i}-{run}"), "");
            elements.map(|x| (x % 100, x)).collect::<Vec<_>>()
        })
        .partition_by(HashPartitioner::new(4))
        .with(board.clone())
        .map_partitions_with_index(|board, _, elements| {
            board.post("reduce", "");
            board.wait("go");
            let mut sums = std::collections::BTreeMap::<u64, u64>::new();
            elements.for_each(|(k, x)| *sums.entry(k).or_default() += x);
            sums.into_iter().collect::<Vec<_>>()
        })
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_damaged_or_deleted_shuffle_file_is_made_again() {
    let cluster = Cluster::start(2, 1);
    let expected: Vec<(u64, u64)> = (0..100).map(|k| (k, (0..80).map(|i| k + 100 * i).sum())).collect();
    let damages: [(&str, &str, fn(&Path)); 5] = [
        ("corrupt-data", "data", |path| flip(path, path.metadata().unwrap().len() / 2)),
        // In the offset of the second reducer's block, and in its checksum.
        ("corrupt-offset", "index", |path| flip(path, 24)),
        ("corrupt-checksum", "index", |path| flip(path, 32)),
        ("deleted-data", "data", |path| fs::remove_file(path).unwrap()),
        ("deleted-index", "index", |path| fs::remove_file(path).unwrap()),
    ];
    for local in [true, false] {
        for (name, extension, damage) in &damages {
            let case = format!("{name}-{local}");
            let sc = cluster.context().set("spark.shuffle.readHostLocalDisk", local).build().unwrap();
            executor_pids(&sc, &cluster.board(&format!("{case}-pids")), 2);
            let board = cluster.board(&case);
            let sums = gated_sums(&sc, &board);
            let job = sums.collect_async().unwrap();
            board.wait("reduce");
            assert_eq!(board.names("map-").len(), 4, "{case}");
            let files = cluster.block_files();
            let path = files.iter().find(|path| path.extension().is_some_and(|e| e == *extension)).unwrap();
            damage(path);
            board.post("go", "");
            let mut got = job.wait().unwrap_or_else(|e| panic!("{case}: {e}"));
            got.sort_unstable();
            assert_eq!(got, expected, "{case}");
            assert!(board.names("map-").len() > 4, "{case}: nothing was made again");
            drop(sums);
            sc.stop();
            until("the end of the application's files", || cluster.block_files().is_empty());
        }
    }
}

/// A small file system that goes with this value.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// Of so many MiB, below `dir`.
    pub fn mount(dir: &Path, mib: u32) -> SmallDisk {
        let path = dir.join("small-disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mounted = mounted.expect("the program mount, which this test needs");
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(
            mounted.status.success(),
            "this test must be allowed to mount a tmpfs (run it as root, or under `unshare -rm`): {said}"
        );
        SmallDisk(path)
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.0.clone()];
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: also when a worker that failed to end still has it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Text that does not compress.
pub fn noise(x: u64) -> String {
    let mut state = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let text = (0..1000).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state >> 32) as u8 % 95)
    });
    text.collect()
}

#[test]
fn a_full_disk_fails_the_job_with_the_directorys_name_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path(), 4);
    let name = disk.0.to_str().unwrap();
    let cluster = Cluster::configured(1, 1, &format!("spark.local.dir {name}\n"));
    // What a map task writes at its end, and what it spills before.
    for (records, maps) in [(16_000u64, 2), (150_000, 1)] {
        let sc = cluster.context().set("spark.task.maxFailures", 2).build().unwrap();
        let pairs = sc.partitioned(maps).range(0..records).map(|x| (x, noise(x))).partition_by(HashPartitioner::new(2));
        let e = pairs.count().unwrap_err().to_string();
        assert!(e.contains(name) && e.contains("spark.local.dir"), "{records} records: {e}");
        assert!(e.contains("No space left"), "{records} records: {e}");
        // What fits goes on working.
        assert_eq!(
            sc.partitioned(2)
                .range(0..100u64)
                .map(|x| (x, noise(x)))
                .partition_by(HashPartitioner::new(2))
                .count()
                .unwrap(),
            100
        );
        drop(pairs);
        sc.stop();
        until("the end of all files", || disk.files().is_empty());
    }
    drop(cluster);
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0, "the worker leaves nothing");
}

#[test]
fn a_program_whose_disk_is_full_ends_with_a_status_that_is_not_0() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path(), 1);
    let name = disk.0.to_str().unwrap();
    let input = dir.path().join("input");
    let lines: Vec<String> = (0..4_000).map(|x| noise(x).replace(' ', "_")).collect();
    fs::write(&input, lines.join("\n")).unwrap();
    let out = Command::new(crate::examples::example("wordcount"))
        .arg(&input)
        .env("SPARK_LOCAL_DIRS", name)
        .env("SPARK_CONF_DIR", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success(), "{said}");
    assert!(said.contains(name) && said.contains("No space left"), "{said}");
    let left = disk.files();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn of_several_local_directories_one_that_fails_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let (good, never) = (dir.path().join("good"), "/proc/no/such/place");
    let cluster = Cluster::configured(1, 2, &format!("spark.local.dir {never},{}\n", good.display()));
    let sc = cluster.context().build().unwrap();
    assert_eq!(
        sc.partitioned(4)
            .range(0..1000u64)
            .map(|x| (x % 10, x))
            .partitioned(2)
            .reduce_by_key(|a, b| a + b)
            .count()
            .unwrap(),
        10
    );
}

#[test]
fn what_a_full_local_directory_does_not_take_goes_to_the_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, good) = (SmallDisk::mount(dir.path(), 1), dir.path().join("good"));
    let cluster = Cluster::configured(1, 2, &format!("spark.local.dir {},{}\n", disk.0.display(), good.display()));
    let sc = cluster.context().set("spark.task.maxFailures", 1).build().unwrap();
    // What map tasks write at their end, and what one spills before.
    for (records, maps) in [(8_000u64, 4), (150_000, 1)] {
        let pairs = sc.partitioned(maps).range(0..records).map(|x| (x, noise(x))).partition_by(HashPartitioner::new(2));
        assert_eq!(pairs.count().unwrap(), records);
    }
    // A kept partition goes on in the other one.
    let kept = sc.partitioned(4).range(0..8_000u64).map(noise).persist(StorageLevel::DISK_ONLY);
    assert_eq!((kept.count().unwrap(), kept.count().unwrap()), (8_000, 8_000));
    drop(kept);
    sc.stop();
    until("the end of all files", || disk.files().is_empty());
}

#[test]
fn local_and_work_directories_that_somebody_removes_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("local");
    let cluster = Cluster::configured(1, 2, &format!("spark.local.dir {}\n", local.display()));
    let sums = |sc: &Context| {
        sc.partitioned(4).range(0..1000u64).map(|x| (x % 10, x)).partitioned(2).reduce_by_key(|a, b| a + b)
    };
    let sc = cluster.context().set("spark.cores.max", 1).build().unwrap();
    let before = sums(&sc);
    assert_eq!(before.count().unwrap(), 10);
    fs::remove_dir_all(&local).unwrap();
    assert_eq!((sums(&sc).count().unwrap(), before.count().unwrap()), (10, 10));
    fs::remove_dir_all(cluster.dir.path().join("work-0")).unwrap();
    assert_eq!(sums(&sc).count().unwrap(), 10);
    let another = cluster.context().set("spark.cores.max", 1).build().unwrap();
    assert_eq!(sums(&another).count().unwrap(), 10, "its executor has a directory");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&local).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    drop(before);
    another.stop();
    sc.stop();
}
