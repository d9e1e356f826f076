//! Where an application's executable comes from, and what is said when it cannot.

use std::{io::Write, net::TcpListener, os::fd::AsRawFd, sync::Arc};

use firesteel_closure::binary::running_binary;
use firesteel_storage::{BlockData, BlockServer, BlockSource};

use super::*;

fn own_binary(block_address: String) -> ApplicationBinary {
    let own = running_binary().unwrap();
    ApplicationBinary {
        build_hash: own.hash.0.to_vec(),
        size: own.size,
        boot_id: host::boot_id().unwrap(),
        driver_pid: std::process::id(),
        driver_fd: own.file.as_raw_fd(),
        device: own.device,
        inode: own.inode,
        modified_ns: own.modified_ns,
        block_address,
    }
}

fn launch(cache: &Path, binary: ApplicationBinary) -> ExecutorLaunch {
    ExecutorLaunch {
        app_id: "app-1".to_owned(),
        binary_cache_dir: cache.to_str().unwrap().to_owned(),
        binary_cache_bytes: binary.size * 2,
        binary: Some(binary),
        ..ExecutorLaunch::default()
    }
}

/// Serves the bytes whatever is asked for.
struct Bytes(Vec<u8>);

impl BlockSource for Bytes {
    fn open(&self, _: &BlockId) -> Result<BlockData, BlockError> {
        Ok(BlockData::Bytes(self.0.clone().into()))
    }
}

fn serve(bytes: Vec<u8>) -> (BlockServer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (BlockServer::start(listener, Arc::new(Bytes(bytes)), Transport::default(), "app-1").unwrap(), address)
}

#[test]
fn the_very_file_on_this_host_is_not_copied() {
    let (_, path) = on_this_host(&own_binary(String::new())).unwrap();
    assert_eq!(path, std::env::current_exe().unwrap());
    let other = ApplicationBinary { inode: 1, ..own_binary(String::new()) };
    assert!(on_this_host(&other).is_none());
    let elsewhere = ApplicationBinary { boot_id: "another boot".to_owned(), ..own_binary(String::new()) };
    assert!(on_this_host(&elsewhere).is_none());
}

#[test]
fn a_file_that_lost_its_name_is_run_from_its_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app");
    fs::write(&path, "x").unwrap();
    let file = File::open(&path).unwrap();
    let meta = file.metadata().unwrap();
    let binary = ApplicationBinary {
        size: 1,
        driver_fd: file.as_raw_fd(),
        device: meta.dev(),
        inode: meta.ino(),
        modified_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
        ..own_binary(String::new())
    };
    fs::remove_file(&path).unwrap();
    fs::write(&path, "y").unwrap();
    let (found, path) = on_this_host(&binary).unwrap();
    assert_eq!(path, PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd())));
}

#[test]
fn a_file_from_elsewhere_is_fetched_once_and_is_executable() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let (server, address) = serve(fs::read("/proc/self/exe").unwrap());
    let binary = own_binary(address);
    let launch = launch(&cache, binary.clone());
    let (file, path) = from_cache(&launch, &binary).unwrap();
    elf::check(&file).unwrap();
    assert_eq!(fs::metadata(&cache).unwrap().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&cache).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{:?} is open to others", entry.file_name());
    }
    drop(server);
    assert_eq!(from_cache(&launch, &binary).unwrap().1, path);
    // A damaged copy is noticed, and there is nobody to fetch it from any more.
    File::options().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    assert!(matches!(from_cache(&launch, &binary), Err(BootstrapError::Fetch { .. })));
}

#[test]
fn what_does_not_have_the_announced_hash_is_refused_and_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = serve(b"something else".to_vec());
    let binary = own_binary(address.clone());
    let error = from_cache(&launch(dir.path(), binary.clone()), &binary).unwrap_err();
    assert!(matches!(&error, BootstrapError::Corrupt { .. }) && error.to_string().contains(&address), "{error}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().ends_with(".lock")), "{left:?}");
}

#[test]
fn the_cache_stays_within_its_bound_and_drops_the_longest_unused() {
    let dir = tempfile::tempdir().unwrap();
    for (index, name) in ["a", "b", "c"].iter().enumerate() {
        let path = dir.path().join(name.repeat(64));
        fs::write(&path, [0; 10]).unwrap();
        let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(index as u64 + 1);
        File::open(&path).unwrap().set_modified(used).unwrap();
    }
    make_room(dir.path(), 25).unwrap();
    assert!(!dir.path().join("a".repeat(64)).exists());
    assert!(dir.path().join("b".repeat(64)).exists());
    let small = ExecutorLaunch { binary_cache_bytes: 3, ..launch(dir.path(), own_binary(String::new())) };
    let error = from_cache(&small, &own_binary(String::new())).unwrap_err().to_string();
    assert!(error.contains("spark.firesteel.binaryCacheSize"), "{error}");
}

#[test]
fn started_by_hand_it_says_who_starts_it() {
    for marker in [None, Some("x"), Some("1000000,1000001")] {
        let error = run(marker).to_string();
        assert!(error.contains("started by firesteel-worker"), "{error}");
    }
}
