//! From `firesteel-executor`, which a worker starts, to the application's own executable, under the same process id.
//!
//! ```text
//!  worker ──spawn──▶ firesteel-executor ──exec──▶ the application's executable (enters `backend::run`)
//!                       │ the driver's very file is on this host: nothing is copied
//!                       └ else: fetched by its hash from the driver's block server into the worker's cache
//! ```
//!
//! The marker variable and both descriptors are left as they are, so that the executable finds them. Called by the binary
//! of that name; calls `storage` to fetch and `os::elf` to find out beforehand what `exec` would not explain.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use firesteel_closure::{
    binary::{BuildHash, hash_file},
    entry::MARKER,
};
use firesteel_os::{
    elf::{self, ElfError},
    host,
};
use firesteel_rpc::{
    Role, Security, Transport,
    checked::decode,
    proto::deploy::{ApplicationBinary, ExecutorLaunch},
};
use firesteel_storage::{BlockClient, BlockError, BlockId, abort::Abort};

/// Why a worker's host could not begin to run an application. It goes to the executor's standard error.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// It was started by hand.
    #[error(
        "{MARKER} is not set as a worker sets it: firesteel-executor is started by firesteel-worker, not by hand{detail}"
    )]
    NotLaunched {
        /// What is wrong with the variable.
        detail: String,
    },
    /// The launch message cannot be read.
    #[error("cannot read what the worker handed over: {reason}")]
    Launch {
        /// Why not.
        reason: String,
    },
    /// A file or directory of the cache cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Cache {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The executable is larger than the cache may be.
    #[error(
        "the application's executable has {size} bytes, more than the {limit} of spark.firesteel.binaryCacheSize on this \
         worker: raise it, or strip the executable"
    )]
    TooLarge {
        /// Its size.
        size: u64,
        /// The cache's bound.
        limit: u64,
    },
    /// The driver could not be reached, or did not send the file.
    #[error("cannot fetch the application's executable from its driver at {address}: {source}")]
    Fetch {
        /// The driver's block server.
        address: String,
        /// What went wrong.
        source: BlockError,
    },
    /// What arrived is another file.
    #[error("the executable that the driver at {address} sent has BLAKE3 {found}, but {expected} was announced")]
    Corrupt {
        /// The driver's block server.
        address: String,
        /// Hash of what came.
        found: BuildHash,
        /// Hash that was announced.
        expected: BuildHash,
    },
    /// This host cannot run it.
    #[error("this host cannot run the application's executable {}: {source}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ElfError,
    },
    /// The system refused to run it.
    #[error("cannot execute {}: {source}", path.display())]
    Exec {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Becomes the application's executable. Returns only when that is not possible; `marker` is the value of the variable
/// [`MARKER`].
pub fn run(marker: Option<&str>) -> BootstrapError {
    match prepare(marker) {
        Ok((launch, file, path)) => exec(&launch, &file, path),
        Err(error) => error,
    }
}

fn prepare(marker: Option<&str>) -> Result<(ExecutorLaunch, File, PathBuf), BootstrapError> {
    let launch = read_launch(marker)?;
    let binary = launch.binary.clone().unwrap_or_default();
    let (file, path) = match on_this_host(&binary) {
        Some(found) => found,
        None => from_cache(&launch, &binary)?,
    };
    elf::check(&file).map_err(|source| BootstrapError::Elf { path: path.clone(), source })?;
    Ok((launch, file, path))
}

/// Reads the launch message through `/proc`, so that the inherited descriptor stays open and at its place.
fn read_launch(marker: Option<&str>) -> Result<ExecutorLaunch, BootstrapError> {
    let not_launched = |detail: &str| BootstrapError::NotLaunched { detail: detail.to_owned() };
    let (config, lifeline) = marker
        .ok_or_else(|| not_launched(""))?
        .split_once(',')
        .and_then(|(config, lifeline)| Some((config.parse::<u32>().ok()?, lifeline.parse::<u32>().ok()?)))
        .ok_or_else(|| not_launched(" (it does not hold two descriptors)"))?;
    if !Path::new(&format!("/proc/self/fd/{lifeline}")).exists() {
        return Err(not_launched(" (the lifeline is not open)"));
    }
    let bytes = fs::read(format!("/proc/self/fd/{config}"))
        .map_err(|e| BootstrapError::Launch { reason: format!("descriptor {config}: {e}") })?;
    decode(bytes.as_slice()).map_err(|e| BootstrapError::Launch { reason: e.to_string() })
}

/// The driver's own file, when this host has it: the descriptor that the driver holds open names the very inode. Whatever
/// stands in the way (another user, another container) only means that the file is fetched.
fn on_this_host(binary: &ApplicationBinary) -> Option<(File, PathBuf)> {
    if binary.boot_id.is_empty() || host::boot_id().ok()? != binary.boot_id {
        return None;
    }
    let link = PathBuf::from(format!("/proc/{}/fd/{}", binary.driver_pid, binary.driver_fd));
    let file = File::open(&link).ok()?;
    if !is_same(&file.metadata().ok()?, binary) {
        return None;
    }
    // Its own name looks better in a list of processes than that of a descriptor, but the name may mean another file now.
    let path = match fs::read_link(&link) {
        Ok(path) if fs::metadata(&path).is_ok_and(|found| is_same(&found, binary)) => path,
        _ => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
    };
    Some((file, path))
}

fn is_same(found: &fs::Metadata, binary: &ApplicationBinary) -> bool {
    let modified = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    (found.dev(), found.ino(), found.len(), modified) == (binary.device, binary.inode, binary.size, binary.modified_ns)
}

/// The file from the worker's cache, fetched first when it is not there. Executors that start at the same time wait for
/// the first one's fetch.
fn from_cache(launch: &ExecutorLaunch, binary: &ApplicationBinary) -> Result<(File, PathBuf), BootstrapError> {
    let hash: [u8; 32] = binary.build_hash.as_slice().try_into().map_err(|_| BootstrapError::Launch {
        reason: format!("the executable's hash has {} bytes instead of 32", binary.build_hash.len()),
    })?;
    let expected = BuildHash(hash);
    if binary.size > launch.binary_cache_bytes {
        return Err(BootstrapError::TooLarge { size: binary.size, limit: launch.binary_cache_bytes });
    }
    let dir = Path::new(&launch.binary_cache_dir);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;
    let path = dir.join(expected.to_string());
    let lock_path = dir.join(format!("{expected}.lock"));
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
    let lock = lock.map_err(failed("create", &lock_path))?;
    lock.lock().map_err(failed("lock", &lock_path))?;

    if let Ok(file) = File::open(&path) {
        if hash_file(&file).map_err(failed("read", &path))? == expected {
            // Its time of change tells how recently it was used.
            file.set_modified(SystemTime::now()).map_err(failed("touch", &path))?;
            return Ok((file, path));
        }
        fs::remove_file(&path).map_err(failed("remove the damaged", &path))?;
    }
    make_room(dir, launch.binary_cache_bytes - binary.size)?;
    fetch(launch, binary, expected, &path)?;
    let file = File::open(&path).map_err(failed("open", &path))?;
    Ok((file, path))
}

fn fetch(
    launch: &ExecutorLaunch,
    binary: &ApplicationBinary,
    expected: BuildHash,
    path: &Path,
) -> Result<(), BootstrapError> {
    let address = &binary.block_address;
    let part = path.with_extension("part");
    // Left by an executor that was killed while it held the lock.
    match fs::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &part)(e)),
        _ => {}
    }
    let transport = Transport::new(Security::handed_down(&launch.app_key));
    let client = BlockClient::new(transport, launch.app_id.clone(), Role::Executor);
    client
        .fetch_to_file(address, BlockId::Binary(expected.0), &part, binary.size, &Abort::never())
        .map_err(|source| BootstrapError::Fetch { address: address.clone(), source })?;
    let placed = place(&part, path, address, expected);
    if placed.is_err() && part.exists() {
        fs::remove_file(&part).map_err(failed("remove", &part))?;
    }
    placed
}

/// Gives a file that has arrived whole its name and its permission.
fn place(part: &Path, path: &Path, address: &str, expected: BuildHash) -> Result<(), BootstrapError> {
    let file = File::open(part).map_err(failed("open", part))?;
    let found = hash_file(&file).map_err(failed("read", part))?;
    if found != expected {
        return Err(BootstrapError::Corrupt { address: address.to_owned(), found, expected });
    }
    file.set_permissions(Permissions::from_mode(0o700)).map_err(failed("make executable", part))?;
    drop(file);
    fs::rename(part, path).map_err(failed("rename", part))
}

/// Removes the executables that were not used for longest, until those that stay have at most `limit` bytes. One that
/// runs keeps its inode, so nothing that lives is harmed.
fn make_room(dir: &Path, limit: u64) -> Result<(), BootstrapError> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        let name = entry.file_name();
        // Only what bears a hash as its name; another executor's fetch and its lock are its own.
        if name.len() != 64 {
            continue;
        }
        match entry.metadata().and_then(|meta| Ok((meta.modified()?, meta.len(), entry.path()))) {
            Ok(found) => kept.push(found),
            // Another executor makes room too.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("examine", &entry.path())(e)),
        }
    }
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in kept {
        if total <= limit {
            break;
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(e)),
            _ => total -= size,
        }
    }
    Ok(())
}

fn exec(launch: &ExecutorLaunch, file: &File, path: PathBuf) -> BootstrapError {
    // The arguments are for people who look at a list of processes: an executor never runs the `main` that would read them.
    let source = Command::new(&path).args(["executor", &launch.app_id, &launch.executor_id.to_string()]).exec();
    // The file must stay open until here: its path may be that of the descriptor.
    let _ = file;
    BootstrapError::Exec { path, source }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BootstrapError + use<'a> {
    move |source| BootstrapError::Cache { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
