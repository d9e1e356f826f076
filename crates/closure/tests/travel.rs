//! Closures travel between two processes of one executable, encoder and decoder in different crates, however the
//! executable was compiled.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

use std::process::Command;

use support::Profile;

mod support;

/// Runs the program and returns its two lines: where it found the first descriptor, and its answer.
fn run(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (address, answer) = text.trim().split_once('\n').unwrap();
    (address.to_owned(), answer.to_owned())
}

fn closures_arrive(profile: Profile) {
    let app = support::app(profile);
    let (first, table) = run(Command::new(&app).arg("encode"));
    let mut moved = false;
    for _ in 0..3 {
        let (second, answer) = run(Command::new(&app).args(["decode", &table]));
        assert_eq!(answer, "[10060, 10080, 10100, 10120, 10140]");
        moved |= first != second;
    }
    let randomized = std::fs::read_to_string("/proc/sys/kernel/randomize_va_space").unwrap();
    assert!(moved || randomized.trim() == "0", "the program always lay at {first}, so the test showed nothing");
    // A debugging section less must not matter: descriptors are loaded data.
    let stripped = app.with_extension("stripped");
    match Command::new("strip").arg("-o").arg(&stripped).arg(&app).status() {
        Ok(status) => {
            assert!(status.success());
            assert_eq!(run(Command::new(&stripped).args(["decode", &table])).1, "[10060, 10080, 10100, 10120, 10140]");
        }
        Err(e) => eprintln!("no `strip` here ({e}): the stripped program was not tried"),
    }
}

#[test]
fn in_dev() {
    closures_arrive(Profile::Dev);
}

#[test]
fn in_release() {
    closures_arrive(Profile::Release);
}

#[test]
fn with_thin_lto() {
    closures_arrive(Profile::ThinLto);
}

#[test]
fn with_fat_lto() {
    closures_arrive(Profile::FatLto);
}
