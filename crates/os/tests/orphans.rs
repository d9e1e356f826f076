//! What hides from its own parent ends all the same. A program of its own: it is as a whole one that adopts orphans.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use firesteel_os::{orphans, spawn};

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn pid_in(file: &Path) -> u32 {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok()) {
            return pid;
        }
        assert!(Instant::now() < give_up, "no process id in {}", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn orphans_in_sessions_of_their_own_end_and_own_children_live() {
    orphans::adopt().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null());
        spawn(command, &[]).unwrap()
    };
    let bystander = shell("echo $$ > bystander.tmp; mv bystander.tmp bystander; exec sleep 1000");
    // A child in another session, which has one in a third: the inner one is an orphan only when the outer one is dead.
    let hide = "setsid sh -c 'echo $$ > outer; setsid sh -c \"echo \\$\\$ > inner; exec sleep 1000\" & wait' & \
                while ! [ -s outer ] || ! [ -s inner ]; do sleep 0.01; done";
    let mut parent = shell(hide);
    assert!(parent.wait().await.unwrap().is_success());
    let (outer, inner) = (pid_in(&dir.path().join("outer")), pid_in(&dir.path().join("inner")));
    assert!(exists(outer) && exists(inner), "they outlive their parent");
    let ended = tokio::task::spawn_blocking(orphans::end_all).await.unwrap().unwrap();
    assert_eq!((ended, exists(outer), exists(inner)), (2, false, false));
    assert!(exists(pid_in(&dir.path().join("bystander"))), "it was started here");
    assert_eq!(tokio::task::spawn_blocking(orphans::end_all).await.unwrap().unwrap(), 0);
    drop(bystander);
}
