//! What is left when all is over: processes that nobody owns, files that nobody will read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use firesteel::prelude::*;
use firesteel_testing::{Signal, alive, comes_true, signal};

use crate::cluster::{Cluster, of_this_program};

#[derive(Default)]
pub struct Leaks {
    pub processes: Vec<String>,
    pub files: Vec<String>,
}

/// Looks for executors while the daemons live, then ends the daemons and looks for all the rest.
pub fn find(mut cluster: Cluster) -> Leaks {
    let mut leaks = Leaks::default();
    for mut driver in cluster.drivers.drain(..) {
        driver.kill().unwrap();
        driver.wait().unwrap();
    }
    if !comes_true(|| of_this_program().is_empty()) {
        leaks.processes.extend(of_this_program().iter().map(|pid| format!("executor {pid}: {}", command(*pid))));
        of_this_program().into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    }
    let dir = cluster.dir.path().to_owned();
    // A driver that was killed cannot remove its directory: whoever is the next to use its parent does.
    let local = dir.join("driver");
    drop(Context::builder().master("local[1]").set("spark.local.dir", local.to_str().unwrap()).build().unwrap());
    if !comes_true(|| files(&dir).is_empty()) {
        leaks.files = files(&dir).iter().map(|path| path.display().to_string()).collect();
    }
    for daemon in cluster.workers.iter_mut().chain([&mut cluster.master]).filter_map(Option::as_mut) {
        signal(daemon.pid(), Signal::SIGTERM);
        if !comes_true(|| !daemon.lives()) {
            leaks.processes.push(format!("a daemon does not end: {}", command(daemon.pid())));
        }
    }
    let named = dir.to_str().unwrap().to_owned();
    let rest = || -> Vec<u32> {
        let entries = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
        entries.filter(|pid: &u32| alive(*pid) && command(*pid).contains(&named)).collect()
    };
    if !comes_true(|| rest().is_empty()) {
        leaks.processes.extend(rest().iter().map(|pid| format!("process {pid}: {}", command(*pid))));
    }
    if !leaks.processes.is_empty() || !leaks.files.is_empty() {
        // Off the disk that goes with the cluster.
        let kept = Command::new("cp").arg("-r").arg(dir.join("logs")).arg(dir.join("logs-kept")).status();
        println!("the daemons' logs are in {}: {kept:?}", cluster.dir.keep().join("logs-kept").display());
    }
    leaks
}

fn command(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// What should have gone with executors and drivers: all but logs and the record of whose they are, the lock of a worker and
/// what is installed.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    todo.retain(|path| path.is_dir() && !path.ends_with("conf") && !path.ends_with("logs"));
    while let Some(path) = todo.pop() {
        // Whoever removes it is faster: then it is no leak.
        let Ok(entries) = fs::read_dir(&path) else { continue };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() && name != ".binaries" && name != ".applications" {
                todo.push(path);
            } else if !path.is_dir() && !["stdout", "stderr", ".lock"].contains(&name) {
                found.push(path);
            }
        }
    }
    found
}
