//! Builds the fixture programs. Used by the integration tests of this crate.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// How a program is compiled.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub enum Profile {
    Dev,
    Release,
    ThinLto,
    FatLto,
    /// Statically linked, where the entry is a constructor.
    Static,
}

#[allow(clippy::expect_used, reason = "a helper of tests")]
/// Runs `cargo build` on a package of the fixture workspace, with the versions of the main workspace's lock file.
/// Returns what cargo said and the directory of the programs.
pub fn cargo_build(package: &str, profile: Profile) -> (Output, PathBuf) {
    static LOCK_FILE: OnceLock<()> = OnceLock::new();
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = crate_dir.join("tests/fixtures");
    LOCK_FILE.get_or_init(|| {
        let main = crate_dir.join("../../Cargo.lock");
        std::fs::copy(main, workspace.join("Cargo.lock")).expect("the main workspace has a lock file");
    });
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fixtures-{profile:?}"));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&workspace).args(["build", "--offline", "-p", package, "--target-dir"]).arg(&target);
    let (dir, lto) = match profile {
        Profile::Dev => ("debug", None),
        Profile::Static => ("x86_64-unknown-linux-gnu/debug", None),
        Profile::Release => ("release", Some("off")),
        Profile::ThinLto => ("release", Some("thin")),
        Profile::FatLto => ("release", Some("fat")),
    };
    if let Profile::Static = profile {
        cargo.args(["--target", "x86_64-unknown-linux-gnu"]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    if let Some(lto) = lto {
        cargo.arg("--release").env("CARGO_PROFILE_RELEASE_LTO", lto);
    }
    (cargo.output().expect("cargo runs"), target.join(dir))
}

/// The fixture application.
#[allow(dead_code)]
pub fn app(profile: Profile) -> PathBuf {
    let (output, dir) = cargo_build("app", profile);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir.join("app")
}
