//! Whether this host can run an executable that was built elsewhere, asked before `exec`, whose own answer is a bare
//! "No such file or directory" or "Exec format error". Called by the executor bootstrap and the worker.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Why this host cannot run a file.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file could not be read.
    #[error("cannot read the executable: {0}")]
    Read(#[from] io::Error),
    /// The file is no ELF executable.
    #[error("not an ELF executable: {0}")]
    NotExecutable(&'static str),
    /// The file lacks the permission to be executed.
    #[error("no execute permission (mode {mode:o}); chmod +x it")]
    Permission {
        /// The permission bits.
        mode: u32,
    },
    /// The file is for other hardware.
    #[error("built for {theirs}, but this host runs {ours}; build the application for this host")]
    Machine {
        /// What it was built for.
        theirs: String,
        /// What runs here.
        ours: String,
    },
    /// The dynamic loader that the file names is not on this host.
    #[error("needs the dynamic loader {0}, which this host lacks; install that C library or build for this host's")]
    Interpreter(PathBuf),
}

/// Class, byte order and machine of an ELF file: equal for files that run on the same hardware.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Machine {
    class: u8,
    order: u8,
    machine: u16,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = if self.class == 2 { 64 } else { 32 };
        match self.machine {
            3 => f.write_str("x86"),
            40 => f.write_str("arm"),
            62 => f.write_str("x86_64"),
            183 => f.write_str("aarch64"),
            243 => write!(f, "riscv{bits}"),
            other => write!(f, "ELF machine {other} ({bits} bit)"),
        }
    }
}

const HEADER: usize = 64;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_SHARED: u16 = 3;
const PROGRAM_INTERPRETER: u32 = 3;
/// Longer than any path that the kernel takes.
const LONGEST_PATH: u64 = 4096;

/// Checks that this host can run `file`: an ELF executable for this machine, whose dynamic loader is here, with
/// permission to execute.
pub fn check(file: &File) -> Result<(), ElfError> {
    let header = header(file)?;
    let (theirs, ours) = (machine(&header), machine(&self::header(&File::open("/proc/self/exe")?)?));
    if theirs != ours {
        return Err(ElfError::Machine { theirs: theirs.to_string(), ours: ours.to_string() });
    }
    // From here on the layout is that of this very process: 64 bit (the only one we support), its own byte order.
    if theirs.class != 2 {
        return Err(ElfError::NotExecutable("only 64 bit executables are supported"));
    }
    let kind = u16_at(&header, 16);
    if kind != TYPE_EXECUTABLE && kind != TYPE_SHARED {
        return Err(ElfError::NotExecutable("it is an object or core file"));
    }
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o111 == 0 {
        return Err(ElfError::Permission { mode });
    }
    match interpreter(file, &header)? {
        Some(path) if !path.exists() => Err(ElfError::Interpreter(path)),
        _ => Ok(()),
    }
}

fn header(file: &File) -> Result<[u8; HEADER], ElfError> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => ElfError::NotExecutable("it is too short"),
        _ => ElfError::Read(e),
    })?;
    if header[..4] != *b"\x7fELF" {
        return Err(ElfError::NotExecutable("it does not begin with the ELF magic"));
    }
    Ok(header)
}

fn machine(header: &[u8; HEADER]) -> Machine {
    let bytes = [header[18], header[19]];
    let machine = if header[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    Machine { class: header[4], order: header[5], machine }
}

/// The path in the PT_INTERP segment; none in a static executable.
fn interpreter(file: &File, header: &[u8; HEADER]) -> Result<Option<PathBuf>, ElfError> {
    let table = u64_at(header, 32);
    let (entry_bytes, entries) = (u64::from(u16_at(header, 54)), u64::from(u16_at(header, 56)));
    if entry_bytes < 56 {
        return Err(ElfError::NotExecutable("its program headers are malformed"));
    }
    let truncated = |_| ElfError::NotExecutable("it is cut off");
    for index in 0..entries {
        let mut entry = [0; 56];
        let offset = table.checked_add(index * entry_bytes);
        let offset = offset.ok_or(ElfError::NotExecutable("its program headers are malformed"))?;
        file.read_exact_at(&mut entry, offset).map_err(truncated)?;
        if u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]) != PROGRAM_INTERPRETER {
            continue;
        }
        let (offset, size) = (u64_at(&entry, 8), u64_at(&entry, 32));
        if size > LONGEST_PATH {
            return Err(ElfError::NotExecutable("the path of its dynamic loader is malformed"));
        }
        let mut path = vec![0; size as usize];
        file.read_exact_at(&mut path, offset).map_err(truncated)?;
        while path.last() == Some(&0) {
            path.pop();
        }
        use std::os::unix::ffi::OsStrExt;
        return Ok(Some(Path::new(std::ffi::OsStr::from_bytes(&path)).to_owned()));
    }
    Ok(None)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    fn file(bytes: &[u8], mode: u32) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn this_very_program_can_run() {
        check(&File::open("/proc/self/exe").unwrap()).unwrap();
    }

    #[test]
    fn each_reason_is_told_apart() {
        let bytes = own();
        assert!(matches!(check(&file(&bytes, 0o600)), Err(ElfError::Permission { mode: 0o600 })));
        let mut other = bytes[..4096].to_vec();
        other[18] ^= 0x55;
        let e = check(&file(&other, 0o700)).unwrap_err();
        assert!(matches!(e, ElfError::Machine { .. }), "{e}");
        assert!(matches!(check(&file(b"#!/bin/sh\n", 0o700)), Err(ElfError::NotExecutable(_))));
        assert!(matches!(check(&file(&[b'#'; 100], 0o700)), Err(ElfError::NotExecutable(_))));
        assert!(matches!(check(&file(&bytes[..80], 0o700)), Err(ElfError::NotExecutable("it is cut off"))));
        let mut object = bytes[..4096].to_vec();
        object[16] = 1;
        assert!(matches!(check(&file(&object, 0o700)), Err(ElfError::NotExecutable(_))));
    }

    #[test]
    fn a_loader_that_is_not_here_is_named() {
        let mut bytes = own();
        let Some(path) =
            interpreter(&File::open("/proc/self/exe").unwrap(), &bytes[..HEADER].try_into().unwrap()).unwrap()
        else {
            return; // A static test binary has none.
        };
        let name = path.to_str().unwrap().as_bytes();
        let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
        bytes[at + 1..at + 4].copy_from_slice(b"zzz");
        let e = check(&file(&bytes, 0o700)).unwrap_err();
        assert!(matches!(&e, ElfError::Interpreter(path) if path.to_string_lossy().contains("zzz")), "{e}");
    }
}
