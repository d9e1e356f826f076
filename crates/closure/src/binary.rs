//! The executable that runs, by an open descriptor: what `cargo build` puts in its place meanwhile changes nothing.
//! Used by the driver (which serves it to hosts that lack it) and by executors (which prove that they run it).

use std::{
    fmt,
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
    sync::{Mutex, OnceLock, PoisonError},
};

const SELF: &str = "/proc/self/exe";

/// BLAKE3 of an executable file: what makes two processes one build. Shown as hexadecimal digits.
///
/// Each executor hashes its file before it runs anything; this hash has assembly of its own and is fast in a build without
/// optimisation, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildHash(pub [u8; 32]);

impl fmt::Display for BuildHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for BuildHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl BuildHash {
    /// Compares what an executor says it runs with what the driver (`self`) runs.
    pub fn check(&self, executor: &[u8]) -> Result<(), BuildMismatch> {
        if self.0 == executor {
            return Ok(());
        }
        Err(BuildMismatch { driver: self.to_string(), executor: executor.iter().map(|b| format!("{b:02x}")).collect() })
    }
}

/// An executor runs another build than its driver, so that code references would mean other code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the executor runs another build than the driver (BLAKE3 {executor}, the driver has {driver}): both must run the \
     very same executable file; submit the application again"
)]
pub struct BuildMismatch {
    /// The driver's hash, in hexadecimal.
    pub driver: String,
    /// The executor's, in hexadecimal.
    pub executor: String,
}

/// The running executable's file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the running executable through {SELF}: {source}")]
pub struct BinaryError {
    /// What was tried.
    pub action: &'static str,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// The executable that this process runs.
#[derive(Debug)]
pub struct RunningBinary {
    /// Open for reading and closed on exec; read it by position, it is shared.
    pub file: File,
    /// BLAKE3 of its bytes.
    pub hash: BuildHash,
    /// Its length in bytes.
    pub size: u64,
    /// Device it lies on.
    pub device: u64,
    /// Its inode on that device.
    pub inode: u64,
    /// When it was last written, nanoseconds since 1970.
    pub modified_ns: i64,
}

impl RunningBinary {
    fn open() -> Result<RunningBinary, BinaryError> {
        let failed = |action| move |source| BinaryError { action, source };
        let file = File::open(SELF).map_err(failed("open"))?;
        let meta = file.metadata().map_err(failed("examine"))?;
        let hash = hash_file(&file).map_err(failed("read"))?;
        Ok(RunningBinary {
            hash,
            size: meta.len(),
            device: meta.dev(),
            inode: meta.ino(),
            modified_ns: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
            file,
        })
    }
}

/// BLAKE3 of a whole file, read by position.
pub fn hash_file(file: &File) -> std::io::Result<BuildHash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(BuildHash(hasher.finalize().into())),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                at += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The executable that this process runs; opened and hashed at the first call that succeeds, then kept.
pub fn running_binary() -> Result<&'static RunningBinary, BinaryError> {
    static BINARY: OnceLock<RunningBinary> = OnceLock::new();
    static OPENING: Mutex<()> = Mutex::new(());
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let _one_reader = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let binary = RunningBinary::open()?;
    Ok(BINARY.get_or_init(|| binary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_executable_is_opened_once_and_known_by_its_hash() {
        let binary = running_binary().unwrap();
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(binary.size, bytes.len() as u64);
        assert_eq!(binary.hash.0, *blake3::hash(&bytes).as_bytes());
        assert!(std::ptr::eq(binary, running_binary().unwrap()));
    }

    #[test]
    fn another_build_is_refused_with_both_hashes() {
        let ours = BuildHash([1; 32]);
        assert_eq!(ours.check(&[1; 32]), Ok(()));
        let error = ours.check(&[2; 32]).unwrap_err().to_string();
        assert!(error.contains(&"01".repeat(32)) && error.contains(&"02".repeat(32)), "{error}");
        assert!(ours.check(&[]).is_err());
    }
}
