//! The examples by `firesteel-submit`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::cluster::Cluster;

/// A program of `examples/`, which `cargo test` builds.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

/// `firesteel-submit` with these arguments.
pub fn submit(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firesteel-submit"));
    command.env("SPARK_CONF_DIR", cluster.dir.path()).args(args).stdin(Stdio::null());
    command.output().unwrap()
}

/// A real text.
pub fn text() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../LICENSE")
}

#[test]
fn the_examples_run_on_the_cluster() {
    let cluster = Cluster::start(2, 1);
    let run = |name: &str| -> String {
        let program = example(name);
        let ran = submit(&cluster, &["--master", &cluster.url, "--executor-memory", "512m", program.to_str().unwrap()]);
        assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(run("pi").starts_with("Pi is roughly 3.14"));
    let ranks = run("pagerank");
    assert_eq!(ranks.lines().count(), 10);
    assert!(ranks.lines().next().unwrap().ends_with("index"), "{ranks}");
}
