//! Executors within a test.
#![allow(dead_code, clippy::unwrap_used)]

use std::{net::TcpListener, sync::Arc};

use firesteel_common::{ExecutorId, ShuffleId, TaskFailure, TaskId};
use firesteel_rpc::{Role, Transport};
use firesteel_shuffle::{
    Abort, Compression, MapLocation, MapWriter, RecordReader, ShuffleConfig, ShuffleInput, ShuffleManager,
};
use firesteel_storage::{BlockClient, BlockServer, Served};
use serde::{Serialize, de::DeserializeOwned};

pub const SHUFFLE: ShuffleId = ShuffleId(3);

/// An executor: its shuffle files, served on a port of its own.
pub struct Executor {
    pub manager: Arc<ShuffleManager>,
    pub server: Option<BlockServer>,
    pub address: String,
    pub dir: tempfile::TempDir,
}

pub fn executor(id: u32) -> Executor {
    executor_with(id, |_| ())
}

pub fn executor_with(id: u32, change: impl FnOnce(&mut ShuffleConfig)) -> Executor {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ShuffleConfig::new(vec![dir.path().join("a"), dir.path().join("b")], ExecutorId(id));
    change(&mut config);
    let client = BlockClient::new(Transport::default(), "app", Role::Executor);
    let manager = Arc::new(ShuffleManager::new(config, client).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let served = Served { outputs: Some(manager.clone()), ..Served::blocks(manager.clone()) };
    let server = BlockServer::start(listener, served, Transport::default(), "app").unwrap();
    Executor { manager, address: server.local_addr().to_string(), server: Some(server), dir }
}

impl Executor {
    /// Runs a map task that writes `records` for their reducers.
    pub fn map<T: Serialize + DeserializeOwned>(&self, task: u64, reducers: u32, records: &[(u32, T)]) -> MapLocation {
        let mut writer = MapWriter::new(&self.manager, SHUFFLE, TaskId(task), reducers);
        records.iter().for_each(|(reduce, record)| writer.write(*reduce, record).unwrap());
        let output = writer.finish().unwrap();
        assert_eq!(output.map_task, TaskId(task));
        MapLocation {
            map_task: output.map_task,
            executor: self.manager.config().executor,
            block_address: self.address.clone(),
            sizes: output.sizes,
        }
    }

    /// Runs a reduce task that reads everything.
    pub fn reduce<T: DeserializeOwned>(&self, input: &Arc<ShuffleInput>, reduce: u32) -> Result<Vec<T>, TaskFailure> {
        let mut reader = RecordReader::new(self.manager.read(input, reduce, Abort::never()));
        let mut all = Vec::new();
        while let Some(batch) = reader.next_batch(7)? {
            assert!((1..=7).contains(&batch.len()));
            all.extend(batch);
        }
        Ok(all)
    }

    /// The names of all files below its directories.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    dirs.push(path);
                } else {
                    found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Where another executor on this host finds its files.
    pub fn files_on_this_host(&self) -> std::collections::BTreeMap<ExecutorId, Vec<std::path::PathBuf>> {
        [(self.manager.config().executor, self.manager.config().dirs.clone())].into()
    }

    /// The path of a map task's file.
    pub fn path(&self, task: u64, ending: &str) -> std::path::PathBuf {
        let dir = &self.manager.config().dirs[(task % 2) as usize];
        dir.join(format!("shuffle_{}/shuffle_{}_{task}.{ending}", SHUFFLE.0, SHUFFLE.0))
    }
}

pub fn input(maps: Vec<MapLocation>) -> Arc<ShuffleInput> {
    Arc::new(ShuffleInput { shuffle: SHUFFLE, maps, host_local: Default::default() })
}

pub fn small_buffers(config: &mut ShuffleConfig) {
    config.write_buffer_bytes = 0;
}

pub fn uncompressed(config: &mut ShuffleConfig) {
    config.compression = Compression::None;
}
