//! The shuffle service of a worker: a block server over the map outputs of all executors that the worker started. Spark:
//! `ExternalShuffleService`.
//!
//! Executors and drivers come in with the key of their application and see nothing but its files. Started by the shell;
//! `WorkDir` says where an application's files are, `shuffle` finds the blocks in them.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firesteel_common::AppId;
use firesteel_rpc::{Transport, bind::host_port};
use firesteel_shuffle::{ApplicationShuffles, ServedOutputs};
use firesteel_storage::{ApplicationSources, BlockServer, Served};

use crate::{config::ShuffleServiceConfig, error::WorkerError};

/// The running service; dropping it closes its connections.
pub(crate) struct ShuffleService {
    address: String,
    applications: Arc<Applications>,
    _server: BlockServer,
}

/// The applications that were asked for.
struct Applications {
    /// The worker's block directories; below them one an application.
    roots: Vec<PathBuf>,
    known: Mutex<BTreeMap<AppId, Arc<ApplicationShuffles>>>,
    served: Arc<ServedOutputs>,
}

impl ShuffleService {
    /// Serves what lies below `roots` on the port of `ip` that the configuration says; others reach it under `host`.
    pub(crate) fn start(
        ip: &str,
        host: &str,
        ShuffleServiceConfig { port, bounds }: ShuffleServiceConfig,
        roots: Vec<PathBuf>,
        transport: &Transport,
    ) -> Result<ShuffleService, WorkerError> {
        let listener = transport.bind(ip, port);
        let listener: TcpListener = listener.map_err(|e| WorkerError::ShuffleService { reason: e.to_string() })?;
        let applications =
            Arc::new(Applications { roots, known: Mutex::default(), served: Arc::new(ServedOutputs::new(bounds)) });
        let server = BlockServer::of_applications(listener, applications.clone(), transport.clone())
            .map_err(|e| WorkerError::ShuffleService { reason: e.to_string() })?;
        let address = host_port(host, server.local_addr().port());
        tracing::info!(address, "shuffle service started");
        Ok(ShuffleService { address, applications, _server: server })
    }

    /// host:port under which executors reach it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Closes the files of an application that is over.
    pub(crate) fn forget(&self, app_id: &AppId) {
        if let Some(shuffles) = self.applications.known().remove(app_id) {
            shuffles.close();
        }
    }
}

impl std::fmt::Debug for ShuffleService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShuffleService").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Applications {
    fn known(&self) -> MutexGuard<'_, BTreeMap<AppId, Arc<ApplicationShuffles>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApplicationSources for Applications {
    fn source(&self, app_id: &str) -> Option<Served> {
        if let Some(shuffles) = self.known().get(app_id) {
            return Some(shuffles.served());
        }
        // The name came over the network and becomes a path.
        let app_id = AppId::parse(app_id).ok()?;
        let dirs: Vec<PathBuf> = self.roots.iter().map(|root| root.join(&*app_id)).collect();
        if !dirs.iter().any(|dir| dir.is_dir()) {
            return None;
        }
        let shuffles = Arc::new(ApplicationShuffles::new(dirs, self.served.clone()));
        Some(self.known().entry(app_id).or_insert(shuffles).served())
    }
}
