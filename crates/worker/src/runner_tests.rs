use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use firesteel_rpc::proto::deploy::ApplicationDescription;

use super::*;
use crate::config::Cleanup;

/// More files than are deleted in a moment.
const FILES: usize = 300;

/// An executor in place of one: a script. Written by another process, as a child that is just being forked might inherit
/// a descriptor of ours that is open for writing, and the script could not be executed then.
fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("executor.sh");
    let write = r#"printf '%s\n' '#!/bin/sh' "$1" > "$2""#;
    let status = Command::new("/bin/sh").args(["-c", write, "sh", text]).arg(&path).status().unwrap();
    assert!(status.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn files_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { files_below(&e.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn an_end_is_reported_before_a_file_of_the_executor_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("local");
    let dirs = WorkDir::open(&dir.path().join("work"), std::slice::from_ref(&local), Cleanup::default()).unwrap();
    dirs.hold_trash(true);
    let key = ExecutorKey::parse("app-1", 0).unwrap();
    let blocks = dirs.block_roots()[0].join("app-1/0");
    let make = format!("for i in $(seq {FILES}); do : > {}/spill-$i; done; exit 3", blocks.display());
    let site = Site {
        dirs,
        worker_id: "worker".to_owned(),
        host: "127.0.0.1".to_owned(),
        bind_host: "127.0.0.1".to_owned(),
        security: Security::none(),
        launcher: Launcher::Bootstrap(script(dir.path(), &make)),
        binary_cache_bytes: 1,
        shuffle_service: None,
    };
    let site = Arc::new(site);
    let application = ApplicationDescription::default();
    let launch = LaunchExecutor { application: Some(application), ..Default::default() };
    let (_kill, kill) = watch::channel(false);
    let (inbox, mut heard) = mpsc::channel(8);
    let runner = ExecutorRunner { site: site.clone(), key: key.clone(), launch, kill, inbox };
    let running = tokio::spawn(runner.run());
    // Nothing is deleted all the while: who waited for that would wait for ever.
    let told = tokio::time::timeout(Duration::from_secs(60), heard.recv()).await.expect("a report meanwhile");
    let Some(Input::Event(WorkerEvent::ExecutorEnded { key: ended, end })) = told else { panic!("no end") };
    running.await.unwrap();
    assert_eq!(ended, key);
    assert_eq!(end.exit_code, Some(3), "{}", end.message);
    assert_eq!(files_below(&local), FILES, "they were deleted before the report");
    site.dirs.remove_application(&key.app_id);
    assert_eq!(files_below(&local), FILES);
    site.dirs.hold_trash(false);
    site.dirs.settle_trash();
    assert_eq!(files_below(&local), 0);
}
