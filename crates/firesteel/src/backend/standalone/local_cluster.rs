//! `local-cluster[N,cores,MB]`: a master and N workers in this process, their executors as processes of their own.
//!
//! One thread with a runtime of its own runs them all. They listen on loopback, with a secret that nobody else has;
//! executors are started from this very executable. Everything they write is below directories that go with the cluster.

use std::{
    fs::File,
    io::Read,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use firesteel_closure::binary::running_binary;
use firesteel_common::{
    ExecutorId,
    conf::{Conf, keys},
};
use firesteel_master::{MasterConfig, MasterListeners, MasterRules};
use firesteel_rpc::{MasterUrl, RpcError, Secret, Transport};
use firesteel_worker::{
    Launcher, ShuffleServiceConfig, Standing, WorkerConfig, WorkerError, WorkerListeners, WorkerSettings,
};
use tokio::{sync::watch, task::JoinSet};

use super::{link, master_link::MasterLink, settings::Settings};
use crate::{
    Error, Result,
    backend::{
        Backend, Capabilities, ClusterManager, Start,
        coarse::{self, Application, Manager, News, join_within},
        failed,
        local::local_dirs,
    },
    driver::Driver,
    scratch::Scratch,
    setting::get,
};

const HOST: &str = "127.0.0.1";

/// Workers wait for their executors' ends, which takes this long at most.
const FAREWELL: Duration = Duration::from_secs(15);

/// What the runtime's last tasks have to end.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// A cluster that an application brings along.
#[derive(Debug)]
pub(in crate::backend) struct LocalClusterManager {
    pub workers: u32,
    /// Cores of each.
    pub cores: u32,
    /// Memory of each, MiB.
    pub memory_mb: u64,
}

impl ClusterManager for LocalClusterManager {
    fn capabilities(&self, conf: &Conf) -> Result<Capabilities> {
        let executor_cores = Some(get(conf, &keys::EXECUTOR_CORES)?.unwrap_or(self.cores));
        Ok(Capabilities { executor_cores, max_task_failures: None, elastic: true })
    }

    fn start(self: Box<Self>, start: Start<'_>) -> Result<(Driver, Box<dyn Backend>)> {
        let cluster = LocalCluster::start(start.conf, self.workers, self.cores, self.memory_mb)?;
        let settings = Settings::of_local_cluster(start.conf, &cluster)?;
        let (driver, floor) = (settings.driver.clone(), cluster.cores().max(2));
        let (url, failure) = (cluster.url().clone(), cluster.failure());
        let connect = move |application: Application| Watched { link: link(url, &settings, &application), failure };
        let (driver, application) = coarse::start(driver, floor, connect, start)?;
        Ok((driver, Box::new(Brought { application, cluster })))
    }
}

/// The way to a master in this process, which may fail.
struct Watched {
    link: MasterLink,
    failure: watch::Receiver<Option<String>>,
}

impl Manager for Watched {
    async fn next(&mut self) -> News {
        tokio::select! {
            news = self.link.next() => news,
            reason = failure(&mut self.failure) => News::Failed(reason),
        }
    }

    fn request_total(&mut self, total: u32) {
        self.link.request_total(total);
    }

    fn kill(&mut self, executor: ExecutorId) {
        self.link.kill(executor);
    }

    async fn leave(self) {
        self.link.leave().await;
    }
}

/// Completes with the reason when master or workers fail.
async fn failure(failure: &mut watch::Receiver<Option<String>>) -> String {
    if let Ok(reason) = failure.wait_for(Option::is_some).await
        && let Some(reason) = reason.clone()
    {
        return reason;
    }
    // The cluster has ended, as it was told to.
    std::future::pending().await
}

/// An application and its cluster, which ends with it.
struct Brought {
    application: Box<dyn Backend>,
    cluster: LocalCluster,
}

impl Backend for Brought {
    fn app_id(&self) -> String {
        self.application.app_id()
    }

    fn stop(&mut self) {
        self.application.stop();
        self.cluster.stop();
    }
}

/// The cluster; see the module.
pub(super) struct LocalCluster {
    url: MasterUrl,
    transport: Transport,
    workers: u32,
    cores: u32,
    memory_mb: u64,
    failure: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
    thread: Option<(mpsc::Receiver<()>, JoinHandle<()>)>,
    scratch: Vec<Scratch>,
}

impl LocalCluster {
    /// Starts `workers` workers with `cores` cores and `memory_mb` MiB each; returns when all have registered.
    pub fn start(conf: &Conf, workers: u32, cores: u32, memory_mb: u64) -> Result<LocalCluster> {
        let scratch = Scratch::of_dirs(&local_dirs(conf)?)?;
        let root = scratch.first().ok_or_else(|| failed("spark.local.dir names no directory"))?;
        let transport = Transport::new(fresh_secret()?);
        let listen = || transport.bind(HOST, 0).map_err(failed);
        let listener = listen()?;
        let port = listener.local_addr().map_err(failed)?.port();
        let url = MasterUrl { hosts: vec![(HOST.to_owned(), port)] };
        let rules = MasterRules::from_conf(conf, url.to_string()).map_err(failed)?;
        let executable = running_binary().map_err(failed)?.file.try_clone().map_err(failed)?;
        let launcher = Launcher::Executable(Arc::new(executable));
        let mut settings = WorkerSettings::from_conf(conf).map_err(failed)?;
        // They share a host, so each takes a port of its own.
        settings.shuffle_service = settings.shuffle_service.map(|service| ShuffleServiceConfig { port: 0, ..service });
        // Its directories go with it.
        settings.cleanup.enabled = false;
        let mut members = Vec::new();
        for number in 0..workers {
            let (standing, is_standing) = watch::channel(Standing::default());
            let config = WorkerConfig {
                master: url.clone(),
                host: HOST.to_owned(),
                cores,
                memory_mb,
                work_dir: root.path().join(format!("worker-{number}")),
                local_dirs: scratch.iter().map(|dir| dir.path().to_owned()).collect(),
                transport: transport.clone(),
                launcher: launcher.clone(),
                settings: settings.clone(),
                standing: Some(standing),
                decommission: None,
            };
            members.push(Member { listener: listen()?, config, standing: is_standing });
        }
        let (stop, stopping) = watch::channel(false);
        let (fail, failure) = watch::channel(None);
        let (started, has_started) = mpsc::channel();
        let (done, ended) = mpsc::channel();
        let master = MasterConfig { rules, transport: transport.clone() };
        let work = move || {
            run(listener, master, members, &started, &fail, stopping);
            // Nobody waits any more when this fails.
            let _ = done.send(());
        };
        let thread = std::thread::Builder::new().name("firesteel-cluster".into()).spawn(work).map_err(failed)?;
        // From here on an early return ends what runs.
        let thread = Some((ended, thread));
        let cluster = LocalCluster { url, transport, workers, cores, memory_mb, failure, stop, thread, scratch };
        match has_started.recv() {
            Ok(Ok(())) => Ok(cluster),
            Ok(Err(reason)) => Err(Error::Start(reason)),
            Err(_) => Err(failed("the thread of the local-cluster ended unexpectedly")),
        }
    }

    pub fn url(&self) -> &MasterUrl {
        &self.url
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Cores of all workers.
    pub fn cores(&self) -> u32 {
        self.workers.saturating_mul(self.cores)
    }

    /// Cores of one worker.
    pub fn worker_cores(&self) -> u32 {
        self.cores
    }

    /// Memory of one worker.
    pub fn memory_mb(&self) -> u64 {
        self.memory_mb
    }

    /// Gives the reason when master or workers fail.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.clone()
    }

    /// Ends workers, executors and master, then removes their files. Again it does nothing.
    pub fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some((ended, thread)) = self.thread.take() {
            join_within("the local-cluster", &ended, thread, FAREWELL);
        }
        self.scratch.clear();
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A secret of this cluster alone: other users of this host can reach loopback too.
fn fresh_secret() -> Result<Secret> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| failed(format!("cannot read /dev/urandom: {e}")))?;
    Ok(Secret::from_bytes(bytes))
}

/// One worker that is to be run.
struct Member {
    listener: std::net::TcpListener,
    config: WorkerConfig,
    standing: watch::Receiver<Standing>,
}

/// What master and workers end with.
enum End {
    Master(Result<(), RpcError>),
    Worker(Result<(), WorkerError>),
}

fn run(
    listener: std::net::TcpListener,
    master: MasterConfig,
    members: Vec<Member>,
    started: &mpsc::Sender<Result<(), String>>,
    fail: &watch::Sender<Option<String>>,
    stopping: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("firesteel-cluster")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(supervise(listener, master, members, started, fail, stopping));
            runtime.shutdown_timeout(SHUTDOWN);
        }
        // Fails only when nobody waits any more.
        Err(error) => _ = started.send(Err(format!("no threads for the local-cluster: {error}"))),
    }
}

async fn supervise(
    listener: std::net::TcpListener,
    master: MasterConfig,
    members: Vec<Member>,
    started: &mpsc::Sender<Result<(), String>>,
    fail: &watch::Sender<Option<String>>,
    stopping: watch::Receiver<bool>,
) {
    let (stop_master, master_stops) = watch::channel(false);
    let (stop_workers, workers_stop) = watch::channel(false);
    let mut running = JoinSet::new();
    running.spawn(async move {
        End::Master(firesteel_master::run(MasterListeners::rpc_alone(listener), master, turned(master_stops)).await)
    });
    let mut registrations = Vec::new();
    for Member { listener, config, standing } in members {
        registrations.push(standing);
        let stop = workers_stop.clone();
        running.spawn(async move {
            End::Worker(firesteel_worker::run(WorkerListeners::place_alone(listener), config, turned(stop)).await)
        });
    }
    let all_registered = async {
        for registration in &mut registrations {
            // An error is the worker's end, which is seen below.
            let _ = registration.wait_for(Standing::is_registered).await;
        }
    };
    let begun = tokio::select! {
        biased;
        Some(ended) = running.join_next() => Err(premature(ended)),
        () = all_registered => Ok(()),
    };
    let lives = begun.is_ok();
    // Fails only when nobody waits any more.
    let _ = started.send(begun);
    if lives {
        tokio::select! {
            () = turned(stopping.clone()) => {}
            Some(ended) = running.join_next() => {
                fail.send_replace(Some(premature(ended)));
                // The others go on: what they run may still be of use to jobs that are about to fail.
                turned(stopping).await;
            }
        }
    }
    stop_workers.send_replace(true);
    // The master last, so that workers do not look for another.
    while running.len() > 1 {
        match running.join_next().await {
            Some(Ok(End::Worker(Ok(())))) => {}
            Some(ended) => tracing::warn!("{}", premature(ended)),
            None => break,
        }
    }
    stop_master.send_replace(true);
    while running.join_next().await.is_some() {}
}

async fn turned(mut flag: watch::Receiver<bool>) {
    // An error is "the cluster is gone": then its members shall end too.
    let _ = flag.wait_for(|on| *on).await;
}

fn premature(ended: Result<End, tokio::task::JoinError>) -> String {
    match ended {
        Ok(End::Master(Ok(()))) => "the master of the local-cluster ended".to_owned(),
        Ok(End::Master(Err(error))) => format!("the master of the local-cluster failed: {error}"),
        Ok(End::Worker(Ok(()))) => "a worker of the local-cluster ended".to_owned(),
        Ok(End::Worker(Err(error))) => format!("a worker of the local-cluster failed: {error}"),
        Err(error) => format!("a part of the local-cluster failed: {error}"),
    }
}
