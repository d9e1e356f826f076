//! An application that is compiled with `panic = "abort"`: the driver hears of the panic before the process is gone.

use std::{path::Path, process::Command};

#[test]
#[ignore = "compiles every crate once more, which takes minutes; dev/test --full runs it"]
fn a_panic_reaches_the_driver_before_the_process_aborts() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = crate_dir.join("tests/fixtures/abort");
    std::fs::copy(crate_dir.join("../../Cargo.lock"), fixture.join("Cargo.lock")).unwrap();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(fixture)
        .args(["run", "--offline", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixture-abort"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    let [news, more, end] = lines[..] else { panic!("{said}\n{}", String::from_utf8_lossy(&output.stderr)) };
    assert!(news.starts_with("(2, Panic(\"no luck with 0\", ") && news.contains("src/main.rs:"), "{news}");
    assert_eq!(more, "more news: None");
    assert!(end.starts_with("signal 6"), "{end}");
}
