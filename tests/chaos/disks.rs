//! Small file systems within the cluster's directory that can be filled, and directories that are removed from under those
//! who use them.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// MiB for the logs of all daemons.
const LOGS: u32 = 64;
/// MiB of the local directory of each worker that gets full; it has another one.
const LOCAL: u32 = 16;

/// A file system that goes with this value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, mib: u32) -> Result<SmallDisk, String> {
        let size = format!("size={mib}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mounted = mounted.map_err(|e| format!("cannot run mount: {e}"))?;
        let said = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
        if mounted.status.success() { Ok(SmallDisk(path)) } else { Err(format!("it takes root to mount: {said}")) }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("fill")
    }

    /// Leaves no room; whether there was some.
    pub fn fill(&self) -> bool {
        if self.filler().exists() {
            return false;
        }
        let mut file = File::create(self.filler()).unwrap();
        let mut piece = 1 << 20;
        while piece > 0 {
            if file.write_all(&vec![0; piece]).is_err() {
                piece /= 16;
            }
        }
        true
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: also when somebody still has it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The file systems of a cluster.
pub struct Disks {
    pub logs: SmallDisk,
    pub locals: Vec<SmallDisk>,
}

impl Disks {
    /// For so many workers, below `dir`, where the directories are already. The error says what is missing.
    pub fn mount(dir: &Path, workers: usize) -> Result<Disks, String> {
        let logs = SmallDisk::mount(dir.join("logs"), LOGS)?;
        let locals = (0..workers).map(|n| SmallDisk::mount(dir.join(format!("small-worker-{n}")), LOCAL));
        Ok(Disks { logs, locals: locals.collect::<Result<_, _>>()? })
    }
}

/// Removes a directory with all that is in it, while others write to it; whether it was there.
pub fn remove(dir: &Path) -> bool {
    let there = dir.exists();
    for _ in 0..100 {
        match fs::remove_dir_all(dir) {
            // Something new came meanwhile.
            Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(e) if e.kind() != ErrorKind::NotFound => panic!("cannot remove {}: {e}", dir.display()),
            _ => break,
        }
    }
    there
}
