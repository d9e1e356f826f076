//! Whether a file can be run as an application, asked before `exec`, whose own answers ("No such file or directory" for
//! a missing interpreter) mislead.

use std::{
    ffi::OsStr,
    fs::File,
    io::{ErrorKind, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use firesteel_os::elf;

use crate::DeployError;

/// The longest first line of a script that the kernel reads.
const FIRST_LINE: u64 = 256;

/// Checks that `path` is a program, or a script whose interpreter is here, and that it may be executed. Returns the path
/// to give to `exec`: one with a slash, so that PATH is not searched.
pub fn check(path: &Path) -> Result<PathBuf, DeployError> {
    let not_a_program = |reason: &str| DeployError::NotAProgram { path: path.to_owned(), reason: reason.to_owned() };
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => DeployError::NoApplication { path: path.to_owned() },
        _ => DeployError::Exec { path: path.to_owned(), source },
    })?;
    if metadata.is_dir() {
        return Err(not_a_program("it is a directory; give the path of a program"));
    }
    match path.extension().and_then(OsStr::to_str) {
        Some("jar") => return Err(not_a_program("it is a jar for a JVM; build the application as a Rust program")),
        Some("py" | "R") if metadata.permissions().mode() & 0o111 == 0 => {
            return Err(not_a_program("it is a script of another language; applications are Rust programs"));
        }
        _ => {}
    }
    let read = |source| DeployError::Exec { path: path.to_owned(), source };
    let mut start = Vec::new();
    match File::open(path) {
        Ok(file) => {
            (&file).take(FIRST_LINE).read_to_end(&mut start).map_err(read)?;
            if let Some(interpreter) = interpreter(&start) {
                if metadata.permissions().mode() & 0o111 == 0 {
                    return Err(not_a_program("no execute permission; chmod +x it"));
                }
                if interpreter.as_os_str().as_bytes().ends_with(b"\r") {
                    return Err(not_a_program(
                        "its first line ends in a carriage return, as on Windows; take them out (dos2unix)",
                    ));
                }
                if !interpreter.exists() {
                    let reason = format!("its interpreter {} is not on this host", interpreter.display());
                    return Err(not_a_program(&reason));
                }
            } else {
                elf::check(&file).map_err(|source| DeployError::Elf { path: path.to_owned(), source })?;
            }
        }
        // A program may be executable without being readable; then exec itself has to tell.
        Err(e) if e.kind() == ErrorKind::PermissionDenied && metadata.permissions().mode() & 0o111 != 0 => {}
        Err(e) => return Err(read(e)),
    }
    Ok(if path.as_os_str().as_bytes().contains(&b'/') { path.to_owned() } else { Path::new(".").join(path) })
}

/// What a script's first line names.
fn interpreter(start: &[u8]) -> Option<PathBuf> {
    // Only blanks and tabs part the words: a carriage return is part of the name, for the kernel as well.
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.split(|byte| b" \t".contains(byte)).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn error(name: &str, content: &[u8], mode: u32) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = check(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        error
    }

    #[test]
    fn each_file_that_cannot_be_run_gets_its_reason() {
        let own = fs::read("/proc/self/exe").unwrap();
        let mut foreign = own[..4096].to_vec();
        foreign[18] ^= 0x55;
        assert!(error("app", &own[..4096], 0o600).contains("chmod +x"));
        assert!(error("app", &foreign, 0o700).contains("built for"));
        assert!(error("app", b"#!/no/such/interpreter -x\n", 0o700).contains("/no/such/interpreter"));
        assert!(error("app", b"#!/bin/sh\r\nexit\r\n", 0o700).contains("carriage return"));
        assert!(error("app", b"#!/bin/sh\n", 0o600).contains("chmod +x"));
        assert!(error("app.jar", b"PK", 0o600).contains("jar"));
        assert!(error("app", b"text", 0o700).contains("ELF"));
        assert!(error("app", b"", 0o700).contains("ELF"));
        assert!(check(Path::new("/no/such/app")).unwrap_err().to_string().contains("no such file"));
        assert!(check(Path::new("/tmp")).unwrap_err().to_string().contains("directory"));
    }

    #[test]
    fn programs_and_scripts_are_taken() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(check(&own).unwrap(), own);
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("run.sh");
        fs::write(&script, "#! /bin/sh\nexit 3\n").unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(check(&script).unwrap(), script);
    }
}
