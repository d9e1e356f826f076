//! The driver in the virtual cluster: the production [`MasterClient`] and [`DriverCore`], and what the driver's shell
//! would do between them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use firesteel_common::{ExecutorId, JobId, StageAttempt};
use firesteel_rpc::{
    MasterClient, PROTOCOL_VERSION,
    master_client::{Attempt, Effect, Event},
    proto::deploy::{
        ApplicationDescription, ExecutorState, ExecutorUpdated, RegisterApplication, from_master, to_master,
    },
};
use firesteel_scheduler::{DriverCore, DriverEvent, JobError, JobGraph};

use crate::{
    cluster::{Action, Cluster},
    network::{LinkId, Message, Node, Side, ToDriver, ToExecutor},
    task_run::StageInfo,
};

/// A job as the user submitted it.
pub(crate) struct Submitted {
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) partitions: Vec<u32>,
    pub(crate) cancelled: bool,
}

pub(crate) struct DriverNode {
    pub(crate) client: MasterClient,
    link: Option<(Attempt, LinkId)>,
    pub(crate) app_id: String,
    next_executor_id: u32,
    pub(crate) core: DriverCore,
    pub(crate) stages: BTreeMap<StageAttempt, Arc<StageInfo>>,
    /// Stage attempts that are over, to be told with the next launch.
    pub(crate) ended: Vec<StageAttempt>,
    pub(crate) executors: BTreeMap<u32, LinkId>,
    pub(crate) jobs: BTreeMap<JobId, Submitted>,
    pub(crate) results: BTreeMap<(JobId, u32), Bytes>,
    pub(crate) over: BTreeMap<JobId, Result<(), JobError>>,
    /// The master removed the application: the cluster gives nothing more.
    pub(crate) removed: bool,
    pub(crate) stopped: bool,
}

impl DriverNode {
    pub(crate) fn new(client: MasterClient, core: DriverCore) -> Self {
        DriverNode {
            client,
            link: None,
            app_id: String::new(),
            next_executor_id: 0,
            core,
            stages: BTreeMap::new(),
            ended: Vec::new(),
            executors: BTreeMap::new(),
            jobs: BTreeMap::new(),
            results: BTreeMap::new(),
            over: BTreeMap::new(),
            removed: false,
            stopped: false,
        }
    }
}

impl Cluster {
    // ---- with the master ----

    pub(crate) fn driver_search(&mut self, event: Event) {
        let mut out = Vec::new();
        self.driver.client.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                Effect::Connect { attempt, .. } => {
                    let at = self.now + self.latency();
                    self.schedule(at, Action::DriverConnects { attempt });
                }
                Effect::Register { .. } => self.register_application(),
                Effect::Disconnect { attempt } => {
                    if let Some((_, link)) = self.driver.link.take_if(|(a, _)| *a == attempt) {
                        self.close(link, Side::Opener);
                    }
                }
                Effect::Lost { reason, .. } => self.note(format_args!("driver has lost the master: {reason}")),
                Effect::GiveUp { error } => self.cluster_failed(error.to_string()),
            }
        }
    }

    pub(crate) fn driver_connects(&mut self, attempt: Attempt) {
        if self.chance(self.faults.refuse_connection) {
            let error = "master:7077: connection refused".to_owned();
            return self.driver_search(Event::ConnectFailed { attempt, error, permanent: false });
        }
        let link = self.open(Node::Driver, Node::Master);
        self.driver.link = Some((attempt, link));
        self.driver_search(Event::Connected { attempt });
    }

    fn register_application(&mut self) {
        let application = ApplicationDescription {
            name: "simulated".to_owned(),
            memory_per_executor_mb: 1024,
            cores_per_executor: Some(self.executor_cores),
            driver_address: "driver:4040".to_owned(),
            ..ApplicationDescription::default()
        };
        let message = to_master::Message::RegisterApplication(RegisterApplication {
            protocol_version: PROTOCOL_VERSION,
            application: Some(application),
            app_id: self.driver.app_id.clone(),
            next_executor_id: self.driver.next_executor_id,
            executor_limit: None,
        });
        self.tell_master(message);
    }

    pub(crate) fn tell_master(&mut self, message: to_master::Message) {
        if let Some((_, link)) = self.driver.link {
            self.send(link, Side::Opener, Message::ToMaster(message));
        }
    }

    pub(crate) fn driver_received(&mut self, link: LinkId, message: from_master::Message) {
        use from_master::Message as M;
        let Some((attempt, _)) = self.driver.link.filter(|(_, l)| *l == link) else { return };
        match message {
            M::RegisteredApplication(m) => {
                self.driver.app_id = m.app_id;
                self.driver_search(Event::Registered { attempt });
            }
            M::RegisterApplicationFailed(m) => self.driver_search(Event::Rejected { attempt, reason: m.reason }),
            M::ExecutorAdded(m) => {
                self.driver.next_executor_id = self.driver.next_executor_id.max(m.executor_id + 1);
            }
            M::ExecutorUpdated(m) => self.executor_updated(m),
            M::ApplicationRemoved(m) => self.cluster_failed(m.reason),
            other => self.violated(format!("the driver received {other:?}")),
        }
    }

    fn executor_updated(&mut self, update: ExecutorUpdated) {
        let state = update.state();
        if matches!(state, ExecutorState::Unspecified | ExecutorState::Launching | ExecutorState::Running) {
            return;
        }
        let event = DriverEvent::ExecutorRemoved {
            executor: ExecutorId(update.executor_id),
            message: update.message,
            by_application: state == ExecutorState::Exited && update.exit_code == Some(3),
            worker_lost: update.worker_lost,
        };
        if let Some(link) = self.driver.executors.remove(&update.executor_id) {
            self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Stop));
            self.close(link, Side::Listener);
        }
        self.driver_handle(event);
    }

    fn cluster_failed(&mut self, message: String) {
        if !std::mem::replace(&mut self.driver.removed, true) {
            self.note(format_args!("driver: the application cannot go on: {message}"));
            self.driver_handle(DriverEvent::ClusterFailed { message });
        }
    }

    // ---- with executors ----

    pub(crate) fn driver_heard_executor(&mut self, link: LinkId, message: ToDriver) {
        match message {
            ToDriver::Register { app_id, executor, host, block_address, cores } => {
                if app_id != self.driver.app_id {
                    // The handshake of another application fails.
                    return self.close(link, Side::Listener);
                }
                if self.driver.executors.get(&executor).is_some_and(|l| *l == link) {
                    return; // a repeated message
                }
                let known = self.driver.executors.insert(executor, link);
                self.driver_handle(DriverEvent::ExecutorRegistered {
                    executor: ExecutorId(executor),
                    host,
                    block_address,
                    cores,
                });
                // Refused ones have lost their link by now.
                if known.is_none() && self.driver.executors.contains_key(&executor) {
                    self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Registered));
                }
            }
            ToDriver::Updates(updates) => {
                let executor = self.driver.executors.iter().find(|(_, l)| **l == link).map(|(e, _)| *e);
                if let Some(executor) = executor {
                    self.driver_handle(DriverEvent::TasksUpdated { executor: ExecutorId(executor), updates });
                }
            }
        }
    }

    pub(crate) fn driver_closed(&mut self, link: LinkId) {
        if let Some((attempt, _)) = self.driver.link.take_if(|(_, l)| *l == link) {
            let reason = "the connection ended".to_owned();
            return self.driver_search(Event::StreamClosed { attempt, reason });
        }
        let executor = self.driver.executors.iter().find(|(_, l)| **l == link).map(|(e, _)| *e);
        if let Some(executor) = executor {
            self.driver.executors.remove(&executor);
            self.driver_handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(executor) });
        }
    }

    pub(crate) fn tell_executor(&mut self, executor: u32, message: ToExecutor) {
        if let Some(link) = self.driver.executors.get(&executor) {
            self.send(*link, Side::Listener, Message::ToExecutor(message));
        }
    }
}
