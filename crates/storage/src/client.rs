//! The fetching side: connections to block servers, pooled by address.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use firesteel_common::{
    ShuffleId, TaskId,
    conf::{Conf, ConfError, keys},
};
use firesteel_rpc::{Role, Transport};

use crate::{
    Abort, BlockError, BlockId, BlockStream, StorageLevel,
    connection::{Connection, Target, not_connected},
    wire,
};

/// Requests that [`BlockClient::fetch`] has under way at once; their answers wait in the system's buffers.
const PIPELINED: usize = 64;

/// Bounds of a [`BlockClient`], beside those of its [`Transport`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Idle connections that are kept for each address.
    pub idle_connections: usize,
    /// After failures that may pass.
    pub retries: Retries,
}

/// How often, and after how long a wait each time, a fetch is tried again after a failure that may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retries {
    /// `spark.shuffle.io.maxRetries`.
    pub max: u32,
    /// `spark.shuffle.io.retryWait`.
    pub wait: Duration,
}

impl Retries {
    /// None: the first failure counts.
    pub const NONE: Retries = Retries { max: 0, wait: Duration::ZERO };
}

impl ClientConfig {
    /// Reads `spark.shuffle.io.maxRetries` and `spark.shuffle.io.retryWait`.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<ClientConfig, ConfError> {
        let (max, wait) = (conf.get(&keys::SHUFFLE_IO_MAX_RETRIES)?, conf.get(&keys::SHUFFLE_IO_RETRY_WAIT)?);
        Ok(ClientConfig { retries: Retries { max, wait }, ..ClientConfig::default() })
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig { idle_connections: 4, retries: Retries::NONE }
    }
}

/// Fetches blocks from the block servers of one application. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct BlockClient {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    app_id: String,
    role: Role,
    config: ClientConfig,
    idle: Mutex<HashMap<String, Vec<Connection>>>,
}

impl BlockClient {
    /// A client of the servers of application `app_id`, whose transport this is.
    pub fn new(transport: Transport, app_id: impl Into<String>, role: Role) -> BlockClient {
        Self::with_config(transport, app_id, role, ClientConfig::default())
    }

    /// As [`BlockClient::new`], with bounds of one's own.
    pub fn with_config(
        transport: Transport,
        app_id: impl Into<String>,
        role: Role,
        config: ClientConfig,
    ) -> BlockClient {
        BlockClient {
            inner: Arc::new(Inner { transport, app_id: app_id.into(), role, config, idle: Mutex::default() }),
        }
    }

    /// A pipelined stream of blocks from one server; it connects at its first request.
    pub fn open(&self, address: &str, abort: Abort) -> BlockStream {
        BlockStream::new(self.clone(), address, abort)
    }

    /// Fetches blocks from one server and hands each over, with its index into `ids`, in their order.
    ///
    /// A failed block does not keep the others from being tried.
    pub fn fetch(
        &self,
        address: &str,
        ids: &[BlockId],
        abort: &Abort,
        on_block: &mut dyn FnMut(usize, Result<Bytes, BlockError>),
    ) {
        let mut stream = self.open(address, abort.clone());
        let mut requested = 0;
        for index in 0..ids.len() {
            // Asks again for half a window at a time, so that requests share a write.
            if stream.outstanding() <= PIPELINED / 2 {
                while requested < ids.len() && stream.outstanding() < PIPELINED {
                    stream.request(ids[requested]);
                    requested += 1;
                }
            }
            on_block(index, stream.next_block());
        }
    }

    /// Fetches one block.
    pub fn fetch_one(&self, address: &str, id: BlockId, abort: &Abort) -> Result<Bytes, BlockError> {
        let mut stream = self.open(address, abort.clone());
        stream.request(id);
        stream.next_block()
    }

    /// Copies one block into a new file, without holding it in memory, and returns its size; an error when it has more
    /// than `limit` bytes. Meant for files whose content the caller checks by its hash. After an error there is no file.
    pub fn fetch_to_file(
        &self,
        address: &str,
        id: BlockId,
        path: &Path,
        limit: u64,
        abort: &Abort,
    ) -> Result<u64, BlockError> {
        let failed = |action| move |source| BlockError::File { action, path: path.to_owned(), source };
        let mut file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(failed("create"))?;
        let mut stream = self.open(address, abort.clone());
        stream.request(id);
        let result = stream.copy_next(&mut file, path, limit);
        if result.is_err() {
            std::fs::remove_file(path).map_err(failed("remove"))?;
        }
        result
    }

    /// Has a shuffle service remove the files of a shuffle.
    pub fn remove_shuffle(&self, address: &str, shuffle: ShuffleId, abort: &Abort) -> Result<(), BlockError> {
        let mut connection = self.connect_new(address)?;
        connection.remove_shuffle(shuffle, abort)
    }

    /// Has the executor at `address` fetch a cached partition from `from` and keep it at `level`; waits until it has.
    pub fn replicate(
        &self,
        address: &str,
        id: BlockId,
        level: StorageLevel,
        from: &str,
        abort: &Abort,
    ) -> Result<(), BlockError> {
        self.connect_new(address)?.replicate(id, level, from, abort)
    }

    /// Has the executor at `address` fetch all that a map task wrote from `from` and serve it; waits until it does.
    pub fn adopt(
        &self,
        address: &str,
        shuffle: ShuffleId,
        map_task: TaskId,
        from: &str,
        abort: &Abort,
    ) -> Result<(), BlockError> {
        self.connect_new(address)?.adopt(shuffle, map_task, from, abort)
    }

    /// An idle connection that is still alive, or a new one.
    pub(crate) fn connect(&self, address: &str) -> Result<Connection, BlockError> {
        loop {
            let idle = {
                let mut pool = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
                pool.get_mut(address).and_then(Vec::pop)
            };
            match idle {
                Some(connection) if connection.is_alive() => return Ok(connection),
                Some(_) => {}
                None => return self.connect_new(address),
            }
        }
    }

    /// A new connection, past its handshake.
    pub(crate) fn connect_new(&self, address: &str) -> Result<Connection, BlockError> {
        let Inner { transport, app_id, role, .. } = &*self.inner;
        match transport.dial(address, wire::SERVICE, *role, app_id) {
            Ok(stream) => Connection::new(address, stream, transport.network_timeout()),
            Err(error) => Err(not_connected(address, &error)),
        }
    }

    /// One block over a new connection, after it had arrived corrupt; a second corrupt copy is an error.
    pub(crate) fn refetch(
        &self,
        address: &str,
        id: BlockId,
        target: &mut Target<'_>,
        abort: &Abort,
    ) -> Result<(), BlockError> {
        self.connect_new(address)?.fetch_once(id, target, abort)
    }

    /// How failures that may pass are dealt with.
    pub(crate) fn retries(&self) -> Retries {
        self.inner.config.retries
    }

    /// Takes back a connection that owes nothing.
    pub(crate) fn put_back(&self, address: &str, connection: Connection) {
        let mut pool = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = match pool.get_mut(address) {
            Some(idle) => idle,
            None => pool.entry(address.to_owned()).or_default(),
        };
        if idle.len() < self.inner.config.idle_connections {
            idle.push(connection);
        }
    }

    /// Closes the idle connections to a server that is known to be gone.
    pub fn forget(&self, address: &str) {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}
