//! What others on the host can read of a cluster whose users have an umask that hides nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use firesteel::prelude::*;

use crate::cluster::Cluster;

/// Set in the process that runs the test under an umask of its own: daemons, executors and the driver inherit it.
const INNER: &str = "E2E_UMASK_IS_ZERO";

/// All below `dir` that others may read, write or pass. What is being removed may be gone.
fn open_to_others(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if !metadata.is_symlink() && metadata.permissions().mode() & 0o077 != 0 {
            found.push(entry.path());
        }
        if metadata.is_dir() {
            found.extend(open_to_others(&entry.path()));
        }
    }
    found
}

#[test]
fn under_an_umask_of_zero_nothing_of_ours_can_be_read_by_others() {
    if std::env::var_os(INNER).is_none() {
        let name = "private::under_an_umask_of_zero_nothing_of_ours_can_be_read_by_others";
        let own = std::env::current_exe().unwrap();
        let shell = ["-c", "umask 000; exec \"$0\" --exact \"$1\" --nocapture"];
        let out = Command::new("sh").args(shell).arg(own).arg(name).env(INNER, "1").output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let locals = tempfile::tempdir().unwrap();
    let defaults = format!(
        "spark.local.dir {}\nspark.shuffle.service.enabled true\nspark.shuffle.service.port 0\n",
        locals.path().join("daemons").display()
    );
    let cluster = Cluster::configured(2, 1, &defaults);
    let driver_dir = locals.path().join("driver");
    let context = cluster.context().set("spark.local.dir", driver_dir.to_str().unwrap());
    let sc = context.set("spark.shuffle.service.enabled", true).build().unwrap();
    // Map outputs, spills, kept partitions, large results, broadcast pieces.
    let words = sc.partitioned(4).range(0..200_000u64).map(|x| (x % 50_000, x.to_string().repeat(20)));
    let kept = words.partitioned(4).group_by_key().map_values(|all| all.len() as u64).persist(StorageLevel::DISK_ONLY);
    assert_eq!(kept.values().reduce(|a, b| a + b).unwrap(), 200_000);
    let value = sc.broadcast(vec![1u8; 8 << 20]).unwrap();
    let large = sc.partitioned(2).range(0..2u64).with(value).map(|value, _| value.value().clone()).collect().unwrap();
    assert_eq!(large.iter().map(Vec::len).sum::<usize>(), 16 << 20);
    // What users ask to be written is theirs: it follows their umask.
    let output = cluster.dir.path().join("output");
    kept.keys().map(|key| key.to_string()).save_as_text_file(output.to_str().unwrap()).unwrap();
    let part = fs::metadata(output.join("part-00000")).unwrap();
    assert_eq!(part.permissions().mode() & 0o777, 0o666, "the umask of this test");

    let open = open_to_others(locals.path()).into_iter().chain(open_to_others(cluster.dir.path()));
    let ours: Vec<PathBuf> = open.filter(|path| !path.starts_with(&output) && !made_by_the_test(path)).collect();
    assert!(ours.is_empty(), "open to others: {ours:#?}");
    let blocks = fs::read_dir(locals.path().join("daemons")).unwrap().count();
    assert!(blocks > 0, "the workers use their local directory");
}

/// The configuration and the logs of daemons, which this test makes itself and hands over.
fn made_by_the_test(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name == "spark-defaults.conf" || ["master.log", "worker-0.log", "worker-1.log"].contains(&name)
}
