//! The main job by `firesteel-submit`, against the counts of the shell's own tools.

use std::{
    collections::BTreeMap,
    fs,
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
fn the_words_of_a_text_are_counted_as_the_shell_counts_them() {
    let cluster = Cluster::start(2, 1);
    let out = cluster.dir.path().join("out");
    let (text, program) = (text(), example("wordcount"));
    let ran = submit(
        &cluster,
        &[
            "--master",
            &cluster.url,
            "--executor-memory",
            "512m",
            program.to_str().unwrap(),
            text.to_str().unwrap(),
            out.to_str().unwrap(),
        ],
    );
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let mut counted = BTreeMap::new();
    for entry in fs::read_dir(&out).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == "_SUCCESS" {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let (word, n) = line[1..line.len() - 1].rsplit_once(',').unwrap();
            assert_eq!(counted.insert(word.to_owned(), n.parse::<u64>().unwrap()), None, "{word} twice");
        }
    }
    assert!(out.join("_SUCCESS").exists());

    let shell = Command::new("sh")
        .args(["-c", "tr -s '[:space:]' '\\n' < \"$1\" | sed '/^$/d' | sort | uniq -c", "sh"])
        .arg(&text)
        .output()
        .unwrap();
    let expected: BTreeMap<String, u64> = String::from_utf8(shell.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim_start().split_once(' ').map(|(n, word)| (word.to_owned(), n.parse().unwrap())).unwrap())
        .collect();
    assert!(expected.len() > 100);
    assert_eq!(counted, expected);
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
