//! The executors of the application: granted by the cluster manager, connected to the driver, gone.
//!
//! ```text
//!  manager ──Granted──▶ granted ──RegisterExecutor──▶ connected ──stream ends──▶ disconnected
//!                          └────────────── Ended ◀──────────────────────────────────┘  ─▶ gone for good
//! ```
//!
//! On the way its node may be about to leave: it lives on, and its end is nobody's fault.
//!
//! Shared by the session, which brings the manager's news, and the tasks of the executors' streams. What they find out
//! goes to the driver's event loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use firesteel_closure::binary::BuildHash;
use firesteel_common::ExecutorId;
use firesteel_protocol::RegisterExecutor;
use firesteel_rpc::{Sender, proto::executor::ToExecutor};
use firesteel_scheduler::DriverEvent;
use tokio::sync::{mpsc as async_mpsc, watch};

use super::manager::{Grant, Loss};
use crate::driver::Message;

/// An executor may be faster than the word that it was granted; the word has this long to come.
const GRANT: Duration = Duration::from_secs(10);

/// What a process that has ended had still sent has this long to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The stream of a connected executor.
pub(super) struct Stream {
    pub tx: Sender<ToExecutor>,
    /// Turns true when everything that came has been handed on.
    pub ended: watch::Sender<bool>,
    given_up: OnceLock<String>,
    retired: OnceLock<()>,
}

impl Stream {
    pub fn new(tx: Sender<ToExecutor>) -> Stream {
        Stream { tx, ended: watch::Sender::new(false), given_up: OnceLock::new(), retired: OnceLock::new() }
    }

    /// The executor is to end: that it does is no news.
    fn retire(&self, reason: &str) {
        // The first time counts.
        let _ = self.retired.set(());
        self.give_up(reason);
    }

    /// Closes the stream by the driver's own wish: that the executor then ends is not its fault.
    pub fn give_up(&self, reason: &str) {
        // The first reason stays.
        let _ = self.given_up.set(reason.to_owned());
        self.tx.close(reason);
    }
}

struct Granted {
    cores: u32,
    stream: Option<Arc<Stream>>,
    /// It is to go with its node.
    decommissioned: bool,
}

#[derive(Default)]
struct Table {
    granted: BTreeMap<u32, Granted>,
    /// The executors that each node was ever to run; of nodes that are not lost.
    nodes: BTreeMap<String, BTreeSet<u32>>,
    /// One above the highest id that the manager has named.
    next_id: u32,
}

/// All executors of one application.
pub(super) struct Executors {
    table: Mutex<Table>,
    /// Counts the grants.
    grants: watch::Sender<u64>,
    messages: mpsc::Sender<Message>,
    /// Executors whose end the manager shall see to.
    kills: async_mpsc::UnboundedSender<ExecutorId>,
    build: BuildHash,
    cores: Arc<AtomicU32>,
    floor: u32,
}

impl Executors {
    /// None yet. `cores` is kept at the granted cores, but never below `floor`; ids in `kills` are to be killed.
    pub fn new(
        messages: mpsc::Sender<Message>,
        kills: async_mpsc::UnboundedSender<ExecutorId>,
        build: BuildHash,
        cores: Arc<AtomicU32>,
        floor: u32,
    ) -> Executors {
        let (table, grants) = (Mutex::default(), watch::Sender::new(0));
        Executors { table, grants, messages, kills, build, cores, floor }
    }

    /// The manager has granted an executor, or says again that it has.
    pub fn granted(&self, Grant { executor, node, host, cores }: &Grant) {
        let mut table = self.table();
        table.nodes.entry(node.clone()).or_default().insert(executor.0);
        table.next_id = table.next_id.max(executor.0.saturating_add(1));
        let granted = Granted { cores: *cores, stream: None, decommissioned: false };
        table.granted.entry(executor.0).or_insert(granted);
        self.count_cores(&table);
        drop(table);
        tracing::info!(executor_id = executor.0, node, host, cores, "executor granted");
        self.grants.send_modify(|n| *n += 1);
    }

    /// An executor is gone. That is passed on when all that it had sent has been.
    pub fn ended(&self, executor: ExecutorId, mut loss: Loss) {
        let executor_id = executor.0;
        let mut table = self.table();
        let granted = table.granted.remove(&executor_id);
        self.count_cores(&table);
        drop(table);
        let decommissioned = granted.as_ref().is_some_and(|granted| granted.decommissioned);
        let stream = granted.and_then(|granted| granted.stream);
        // It was to end, however it did.
        loss.by_application &= !decommissioned;
        if let Some(reason) = stream.as_ref().and_then(|stream| stream.given_up.get()) {
            loss = Loss { message: format!("{reason}; {}", loss.message), by_application: false, ..loss };
        }
        if decommissioned || stream.as_ref().is_some_and(|stream| stream.retired.get().is_some()) {
            tracing::info!(executor_id, "executor ended: {}", loss.message);
        } else {
            tracing::warn!(executor_id, by_application = loss.by_application, "executor lost: {}", loss.message);
        }
        let messages = self.messages.clone();
        match stream {
            None => report(&messages, executor, loss),
            Some(stream) => _ = tokio::spawn(report_after_last_words(stream, messages, executor, loss)),
        }
    }

    /// The node of an executor is to leave, and with it all that are there. The manager says so of each, and may say it again.
    pub fn node_leaves(&self, executor: ExecutorId, message: String) {
        let mut table = self.table();
        let Table { granted, nodes, .. } = &mut *table;
        let beside = nodes.values().find(|executors| executors.contains(&executor.0));
        let mut executors = Vec::new();
        for id in beside.into_iter().flatten() {
            if let Some(granted) = granted.get_mut(id).filter(|g| !g.decommissioned) {
                granted.decommissioned = true;
                executors.push(ExecutorId(*id));
            }
        }
        if executors.is_empty() {
            return;
        }
        self.count_cores(&table);
        drop(table);
        tracing::info!(?executors, "executors decommissioned: {message}");
        // A driver that has ended needs no executors.
        let _ = self.messages.send(Message::WorkerLeaves { executors, message });
    }

    /// A node is gone, and what it kept of executors that had gone before. So are those there of which the manager has not
    /// said that they are lost: a master that has taken over does not know the executors of a worker that has not come back.
    pub fn node_lost(&self, node: &str, message: String) {
        let mut table = self.table();
        let Some(executors) = table.nodes.remove(node) else { return };
        let unsaid: Vec<u32> = executors.iter().copied().filter(|id| table.granted.contains_key(id)).collect();
        drop(table);
        tracing::info!(node, executors = executors.len(), "node lost: {message}");
        for executor in unsaid.into_iter().map(ExecutorId) {
            self.ended(executor, Loss { message: message.clone(), by_application: false, node_lost: true });
        }
        let executors = executors.into_iter().map(ExecutorId).collect();
        // A driver that has ended needs no nodes.
        let _ = self.messages.send(Message::Event(DriverEvent::WorkerRemoved { executors, message }));
    }

    /// Takes an executor's registration; the error says why it may not come in.
    pub async fn admit(&self, register: &RegisterExecutor, stream: &Arc<Stream>) -> Result<(), String> {
        self.build.check(&register.build_hash).map_err(|e| e.to_string())?;
        let id = register.executor.0;
        let mut grants = self.grants.subscribe();
        let in_time = async {
            loop {
                grants.mark_unchanged();
                if let Some(answer) = self.try_admit(id, stream) {
                    return answer;
                }
                if grants.changed().await.is_err() {
                    return Err("the driver ends".to_owned());
                }
            }
        };
        let unknown = |_| Err(format!("executor {id} was not granted to this application"));
        tokio::time::timeout(GRANT, in_time).await.unwrap_or_else(unknown)
    }

    /// `None`: it may yet be granted.
    fn try_admit(&self, id: u32, stream: &Arc<Stream>) -> Option<Result<(), String>> {
        let mut table = self.table();
        let next_id = table.next_id;
        match table.granted.get_mut(&id) {
            Some(granted) if granted.stream.is_none() => {
                granted.stream = Some(stream.clone());
                Some(Ok(()))
            }
            Some(_) => Some(Err(format!("executor {id} has registered before; an executor that was lost stays lost"))),
            None if id < next_id => Some(Err(format!("executor {id} was removed from this application"))),
            None => None,
        }
    }

    /// Gives up an executor that does not work as it must: its tasks run elsewhere, the manager sees to its end.
    pub fn give_up(&self, executor: ExecutorId, stream: &Stream, reason: &str) {
        tracing::warn!(executor_id = executor.0, reason, "giving up an executor");
        stream.give_up(reason);
        report(&self.messages, executor, Loss { message: reason.to_owned(), by_application: false, node_lost: false });
        // Fails only when the session ends, and every executor with it.
        let _ = self.kills.send(executor);
    }

    /// Gives an executor without tasks back to the cluster.
    pub fn retire(&self, executor: ExecutorId, reason: &str) {
        let stream = self.table().granted.get(&executor.0).and_then(|granted| granted.stream.clone());
        if let Some(stream) = stream {
            stream.retire(reason);
        }
        // Fails only when the session ends, and every executor with it.
        let _ = self.kills.send(executor);
    }

    /// An executor was told to end when it holds nothing any more.
    pub fn leaving(&self, executor: ExecutorId) {
        let stream = self.table().granted.get(&executor.0).and_then(|granted| granted.stream.clone());
        // The first time counts.
        stream.inspect(|stream| _ = stream.retired.set(()));
    }

    /// Passes something on to the event loop; false when that has ended.
    pub fn tell(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }

    fn count_cores(&self, table: &Table) {
        let sum = table.granted.values().filter(|g| !g.decommissioned).map(|g| g.cores).sum::<u32>();
        self.cores.store(sum.max(self.floor), Ordering::Relaxed);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn report_after_last_words(
    stream: Arc<Stream>,
    messages: mpsc::Sender<Message>,
    executor: ExecutorId,
    loss: Loss,
) {
    let ended = async {
        // The error is "the sender is gone", which `stream` holds.
        let _ = stream.ended.subscribe().wait_for(|ended| *ended).await;
    };
    if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
        stream.give_up("the executor's process has ended");
    }
    report(&messages, executor, loss);
}

fn report(messages: &mpsc::Sender<Message>, executor: ExecutorId, loss: Loss) {
    let Loss { message, by_application, node_lost: worker_lost } = loss;
    let event = DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost };
    // A driver that has ended needs no executors.
    let _ = messages.send(Message::Event(event));
}
