//! The master's rules, one test each; `Cluster` speaks to the machine as workers and drivers do.

mod applications;
mod chaos;
mod decommission;
mod executors;
mod recovery;
mod status;
mod trouble;
mod workers;

use std::time::Duration;

use firesteel_common::{AppId, Tick};
use firesteel_machine::Machine;
use firesteel_rpc::{
    Issuer, PROTOCOL_VERSION, Role, Security,
    proto::deploy::{
        ApplicationDescription, ExecutorDescription, ExecutorState, ExecutorStateChanged, LaunchExecutor,
        RegisterApplication, RegisterWorker, WorkerDecommissioning, WorkerHeartbeat, from_master, to_master,
    },
};

use crate::{ConnectionId, Master, MasterEffect, MasterEvent, MasterRules, Records, roles::role_of};

/// A master, its clock, and what it said since it was last asked.
struct Cluster {
    master: Master,
    now: Tick,
    said: Vec<MasterEffect>,
}

impl Cluster {
    fn new(rules: MasterRules) -> Cluster {
        Cluster::recovering(rules, Records::default())
    }

    /// One that leads with what another has left behind.
    fn recovering(rules: MasterRules, records: Records) -> Cluster {
        let mut cluster = Cluster::standing_by(rules);
        cluster.event(MasterEvent::Elected { records });
        cluster
    }

    fn standing_by(rules: MasterRules) -> Cluster {
        Cluster { master: Master::new(rules, 1_795_267_353_000, issuer()), now: Tick::ZERO, said: Vec::new() }
    }

    fn default() -> Cluster {
        Cluster::new(MasterRules { url: "spark://m:7077".to_owned(), ..MasterRules::default() })
    }

    fn event(&mut self, event: MasterEvent) {
        self.master.handle(self.now, event, &mut self.said);
        self.master.check_invariants().unwrap();
    }

    fn say(&mut self, from: u64, message: to_master::Message) {
        let role = role_of(&message).unwrap_or(Role::Client);
        self.say_as(role, from, message);
    }

    fn say_as(&mut self, role: Role, from: u64, message: to_master::Message) {
        self.event(MasterEvent::Received { from: ConnectionId(from), role, message });
    }

    fn close(&mut self, connection: u64) {
        self.event(MasterEvent::Closed { connection: ConnectionId(connection) });
    }

    /// Lets time pass, waking the machine whenever it asked for it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.master.next_deadline().filter(|d| *d <= end) {
            self.now = self.now.max(deadline);
            self.event(MasterEvent::Wake);
        }
        self.now = end;
    }

    /// What was said to this stream since the last call, which forgets the rest.
    fn heard(&mut self, connection: u64) -> Vec<from_master::Message> {
        std::mem::take(&mut self.said)
            .into_iter()
            .filter_map(|effect| match effect {
                MasterEffect::Send { to, message } if to.0 == connection => Some(message),
                _ => None,
            })
            .collect()
    }

    /// The launches since the last call as (connection, executor, cores).
    fn launches(&mut self) -> Vec<(u64, u32, u32)> {
        std::mem::take(&mut self.said)
            .into_iter()
            .filter_map(|effect| match effect {
                MasterEffect::Send { to, message: from_master::Message::LaunchExecutor(l) } => {
                    Some((to.0, l.executor_id, l.cores))
                }
                _ => None,
            })
            .collect()
    }

    /// Registers worker `w<n>` at port `n` on connection `n`.
    fn worker(&mut self, n: u32, cores: u32, memory_mb: u64) {
        self.say(n.into(), register_worker(&format!("w{n}"), n, cores, memory_mb, Vec::new()));
    }

    /// Registers an application on that connection; its id.
    fn application(&mut self, connection: u64, description: ApplicationDescription) -> AppId {
        self.say(connection, register_application(description, ""));
        let registered = self.said.iter().rev().find_map(|effect| match effect {
            MasterEffect::Send { message: from_master::Message::RegisteredApplication(m), .. } => Some(&m.app_id),
            _ => None,
        });
        AppId::parse(registered.unwrap()).unwrap()
    }

    fn state(&mut self, from: u64, app_id: &str, executor_id: u32, state: ExecutorState) {
        self.say(from, ended(app_id, executor_id, state, None, None, true));
    }
}

fn register_worker(
    id: &str,
    port: u32,
    cores: u32,
    memory_mb: u64,
    executors: Vec<ExecutorDescription>,
) -> to_master::Message {
    to_master::Message::RegisterWorker(RegisterWorker {
        protocol_version: PROTOCOL_VERSION,
        worker_id: id.to_owned(),
        host: "h".to_owned(),
        port,
        cores,
        memory_mb,
        executors,
        decommissioning: false,
        // Another process for each name, as it is.
        incarnation: id.as_bytes().to_vec(),
    })
}

fn issuer() -> Issuer {
    Issuer::new(Security::none(), [7; 32])
}

/// With an id, that of a driver which comes back and shows its token.
fn register_application(description: ApplicationDescription, app_id: &str) -> to_master::Message {
    to_master::Message::RegisterApplication(RegisterApplication {
        protocol_version: PROTOCOL_VERSION,
        application: Some(description),
        app_id: app_id.to_owned(),
        next_executor_id: 0,
        executor_limit: None,
        incarnation: b"driver".to_vec(),
        token: AppId::parse(app_id).map_or_else(|_| Vec::new(), |id| issuer().token(&id)),
    })
}

fn application(cores_max: Option<u32>, memory_mb: u64, cores_per_executor: Option<u32>) -> ApplicationDescription {
    ApplicationDescription {
        name: "test".to_owned(),
        cores_max,
        memory_per_executor_mb: memory_mb,
        cores_per_executor,
        ..ApplicationDescription::default()
    }
}

fn ended(
    app_id: &str,
    executor_id: u32,
    state: ExecutorState,
    exit_code: Option<i32>,
    signal: Option<i32>,
    registered: bool,
) -> to_master::Message {
    to_master::Message::ExecutorStateChanged(ExecutorStateChanged {
        app_id: app_id.to_owned(),
        executor_id,
        state: state.into(),
        exit_code,
        signal,
        registered,
        ..ExecutorStateChanged::default()
    })
}

fn beat(id: &str) -> to_master::Message {
    to_master::Message::Heartbeat(WorkerHeartbeat { worker_id: id.to_owned() })
}

fn leaves(id: &str) -> to_master::Message {
    to_master::Message::WorkerDecommissioning(WorkerDecommissioning { worker_id: id.to_owned() })
}

fn described(app_id: &str, executor_id: u32, state: ExecutorState) -> ExecutorDescription {
    ExecutorDescription { app_id: app_id.to_owned(), executor_id, cores: 1, memory_mb: 1, state: state.into() }
}

/// One worker with room for one executor of one application, which is on connection 10. The worker is never too silent.
fn one_executor(rules: MasterRules) -> (Cluster, AppId) {
    let mut c = Cluster::new(MasterRules { worker_timeout: Duration::from_secs(1_000_000), ..rules });
    c.worker(1, 1, 1024);
    let app = c.application(10, application(None, 512, None));
    c.said.clear();
    (c, app)
}

fn removed(messages: &[from_master::Message]) -> Option<String> {
    messages.iter().find_map(|m| match m {
        from_master::Message::ApplicationRemoved(m) => Some(m.reason.clone()),
        _ => None,
    })
}

/// Whether a message is of this kind.
macro_rules! says {
    ($messages:expr, $pattern:pat $(if $guard:expr)?) => {
        $messages.iter().any(|m| matches!(m, $pattern $(if $guard)?))
    };
}
use says;

/// What a launch was for.
fn launch_of(messages: &[from_master::Message]) -> Option<&LaunchExecutor> {
    messages.iter().find_map(|m| match m {
        from_master::Message::LaunchExecutor(l) => Some(l),
        _ => None,
    })
}
