//! Real processes: groups, lifelines and inherited descriptors. The test binary starts itself again; the `role_…`
//! tests are what it then is, and do nothing when started otherwise.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use firesteel_os::{Child, Lifeline, ProcessEnd, kill_group, lifeline, memfd, spawn, tail, terminate_group};

const DIR: &str = "FIRESTEEL_OS_TEST_DIR";
const FDS: &str = "FIRESTEEL_OS_TEST_FDS";

/// This binary again, as one `role_…` test.
fn as_role(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", role, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn pid_in(file: &Path) -> u32 {
    until("a pid file", || fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok())
}

fn write_pid(dir: &Path, name: &str, pid: u32) {
    fs::write(dir.join(format!("{name}.tmp")), format!("{pid}\n")).unwrap();
    fs::rename(dir.join(format!("{name}.tmp")), dir.join(name)).unwrap();
}

/// Gone, or dead and not yet reaped by whoever inherited it.
fn is_dead(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']),
        Err(_) => true,
    }
}

fn dead(pid: u32) {
    until("a process to die", || is_dead(pid).then_some(()));
}

/// Ends what a failed test would leave behind.
struct KillOnDrop(u32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = kill_group(self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The worker: holds a lifeline, starts the executor, waits to be killed.
#[test]
#[ignore = "a process that lifeline tests start"]
fn role_owner() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    runtime().block_on(async {
        let (_lifeline, read) = Lifeline::new().unwrap();
        let mut command = as_role("role_child", dir);
        command.env(FDS, read.as_raw_fd().to_string());
        let mut child = spawn(command, &[read.as_fd()]).unwrap();
        drop(read);
        write_pid(dir, "child", child.pid());
        child.wait().await.unwrap();
    });
}

/// The executor: watches its lifeline and has a child of its own.
#[test]
#[ignore = "a process that lifeline tests start"]
fn role_child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let fd = std::env::var(FDS).unwrap().parse().unwrap();
    lifeline::watch(memfd::take_inherited(fd).unwrap()).unwrap();
    let mut sleep = Command::new("sleep").arg("1000").spawn().unwrap();
    write_pid(Path::new(&dir), "grandchild", sleep.id());
    sleep.wait().unwrap();
}

/// Reads its configuration from an inherited descriptor and lists what else it got.
#[test]
#[ignore = "a process that the descriptor test starts"]
fn role_reader() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let fd = std::env::var(FDS).unwrap().parse().unwrap();
    let others: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().parse::<i32>().unwrap() > 2)
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .filter(|target| target.contains("memfd") || target.contains("leaked"))
        .collect();
    let bytes = memfd::read_all(memfd::take_inherited(fd).unwrap()).unwrap();
    fs::write(Path::new(&dir).join("read"), [bytes, format!("|{}", others.join(";")).into_bytes()].concat()).unwrap();
    std::process::exit(7);
}

#[test]
fn killing_the_owner_kills_the_child_and_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = as_role("role_owner", dir.path()).spawn().unwrap();
    let child = pid_in(&dir.path().join("child"));
    let _cleanup = KillOnDrop(child);
    let grandchild = pid_in(&dir.path().join("grandchild"));
    assert!(!is_dead(child) && !is_dead(grandchild));
    owner.kill().unwrap();
    owner.wait().unwrap();
    dead(child);
    dead(grandchild);
}

#[test]
fn dropping_the_lifeline_ends_the_group_and_the_end_is_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (lifeline, read) = Lifeline::new().unwrap();
        let mut command = as_role("role_child", dir.path());
        command.env(FDS, read.as_raw_fd().to_string());
        let mut child = spawn(command, &[read.as_fd()]).unwrap();
        let grandchild = pid_in(&dir.path().join("grandchild"));
        drop(lifeline);
        let end = child.wait().await.unwrap();
        assert_eq!(end, ProcessEnd::Signalled(9));
        assert_eq!(end.to_string(), "signal 9 (SIGKILL)");
        dead(grandchild);
    });
}

#[test]
fn a_child_reads_what_it_inherits_and_gets_no_other_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let leaked = fs::File::create(dir.path().join("leaked")).unwrap();
    // As a C library would open it: without close-on-exec.
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let _other = memfd::memfd("other", b"secret of another").unwrap();
    let end = runtime().block_on(async {
        let conf = memfd::memfd("conf", b"configuration").unwrap();
        let mut command = as_role("role_reader", dir.path());
        command.env(FDS, conf.as_raw_fd().to_string());
        spawn(command, &[conf.as_fd()]).unwrap().wait().await.unwrap()
    });
    assert_eq!((end, end.to_string().as_str()), (ProcessEnd::Exited(7), "exit code 7"));
    let read = fs::read_to_string(dir.path().join("read")).unwrap();
    assert!(
        read.starts_with("configuration|/memfd:conf") && !read.contains("other") && !read.contains("leaked"),
        "{read}"
    );
}

/// A shell that has a child of its own, and that child's pid.
fn shell(dir: &Path) -> (Child, u32) {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & echo $! > pid.tmp; mv pid.tmp pid; wait"]).current_dir(dir);
    let child = spawn(command, &[]).unwrap();
    let grandchild = pid_in(&dir.join("pid"));
    (child, grandchild)
}

#[test]
fn killing_a_group_or_dropping_the_child_ends_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (mut child, grandchild) = shell(dir.path());
        terminate_group(child.pid()).unwrap();
        assert_eq!(child.wait().await.unwrap(), ProcessEnd::Signalled(15));
        dead(grandchild);
        fs::remove_file(dir.path().join("pid")).unwrap();

        let (child, grandchild) = shell(dir.path());
        let pid = child.pid();
        drop(child);
        dead(pid);
        dead(grandchild);
    });
    assert!(kill_group(0).is_err() && kill_group(1).is_err() && kill_group(u32::MAX).is_err());
    assert!(kill_group(i32::MAX as u32).is_ok(), "a group that is gone is no error");
}

#[test]
fn the_leaders_end_takes_the_rest_of_its_group_along() {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let mut command = Command::new("sh");
        command
            .args(["-c", "sleep 1000 & echo $! > pid.tmp; mv pid.tmp pid; echo why >&2; exit 3"])
            .current_dir(dir.path());
        command.stderr(fs::File::create(dir.path().join("stderr")).unwrap());
        let mut child = spawn(command, &[]).unwrap();
        assert_eq!(child.wait().await.unwrap(), ProcessEnd::Exited(3));
        dead(pid_in(&dir.path().join("pid")));
        assert_eq!(tail(&dir.path().join("stderr"), firesteel_os::STDERR_TAIL_BYTES).unwrap(), "why\n");
        assert_eq!(child.wait().await.unwrap(), ProcessEnd::Exited(3), "asking again gives the same");
    });
}

#[test]
fn a_program_that_is_not_there_is_an_error_at_once() {
    runtime().block_on(async {
        let e = spawn(Command::new("/no/such/program"), &[]).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
    });
}
