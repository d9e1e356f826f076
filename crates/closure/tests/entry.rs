//! An executor process runs the library's function instead of the application's `main`, in every profile.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Command, Output},
};

use support::Profile;

mod support;

/// Runs the application as an executor whose configuration is `what`.
fn executor(profile: Profile, what: &str) -> (Output, String) {
    let app = support::app(profile);
    let (read, mut config) = std::io::pipe().unwrap();
    config.write_all(what.as_bytes()).unwrap();
    drop(config);
    // The pipe's end is not inherited (close on exec), standard input is: so the executor gets it as descriptor 0. In
    // the place of a lifeline there is standard error, which these tests do not wait on.
    let mut command = Command::new(app);
    command.env("FIRESTEEL_EXECUTOR", "0,2").stdin(read);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

fn behaves(profile: Profile) {
    let (output, text) = executor(profile, "code");
    assert!(text.starts_with("executor constructed=") && text.ends_with("and this line has no end"), "{text}");
    // The one promise that a static executable does not give.
    if !matches!(profile, Profile::Static) {
        assert!(text.contains("constructed=true"), "constructors of later crates have run: {text}");
    }
    assert_eq!(output.status.code(), Some(7), "what run returned is the exit status");

    let (output, text) = executor(profile, "dead peer");
    assert!(text.contains("write: BrokenPipe"), "{text}");
    assert_eq!(output.status.code(), Some(0));

    let (output, text) = executor(profile, "child");
    assert!(text.contains("child: main, marker None"), "a child that links the library runs its own main: {text}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn in_dev() {
    behaves(Profile::Dev);
}

#[test]
fn in_release() {
    behaves(Profile::Release);
}

#[test]
fn with_thin_lto() {
    behaves(Profile::ThinLto);
}

#[test]
fn with_fat_lto() {
    behaves(Profile::FatLto);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn in_a_static_executable() {
    if std::path::Path::new("/usr/lib/x86_64-linux-gnu/libc.a").exists() {
        behaves(Profile::Static);
    } else {
        eprintln!("no static libc here: not tried");
    }
}

#[test]
fn without_the_marker_main_runs() {
    let output = Command::new(support::app(Profile::Dev)).arg("hello").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "main, marker None\n");
}

#[test]
fn a_marker_that_cannot_be_read_ends_the_process_before_main() {
    for bad in ["", "1", "a,b", "-1,3", "3,3", "3,4,5"] {
        let output =
            Command::new(support::app(Profile::Dev)).arg("hello").env("FIRESTEEL_EXECUTOR", bad).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(output.stdout.is_empty(), "main ran for {bad}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("FIRESTEEL_EXECUTOR"));
    }
}

#[test]
fn a_panic_of_run_is_exit_status_101() {
    let (output, _) = executor(Profile::Dev, "panic");
    assert_eq!(output.status.code(), Some(101));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run failed"));
}

#[test]
fn a_stack_overflow_is_named() {
    let (output, _) = executor(Profile::Dev, "overflow");
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("overflowed its stack"), "{output:?}");
}

#[test]
fn another_fault_stays_what_it_is() {
    let (output, _) = executor(Profile::Dev, "segv");
    assert_eq!(output.status.signal(), Some(11), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("overflowed"), "{output:?}");
}
