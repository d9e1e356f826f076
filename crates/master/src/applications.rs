//! Events of applications, on the streams that their drivers open: registration, heartbeats, the end. Called by
//! [`Master::handle`].

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{AppId, Tick};
use firesteel_rpc::{
    Provenance,
    issuer::Token,
    proto::deploy::{
        ApplicationDescription, ApplicationFinished, ApplicationRemoved, ExecutorAdded, RegisterApplication,
        RegisterApplicationFailed, RegisteredApplication, from_master::Message,
    },
};
use tracing::{info, warn};

use crate::{
    decommission::executor_decommissioned,
    event::{ConnectionId, MasterEffect},
    limits,
    machine::{Master, Party, version_mismatch},
    records::RecordId,
    state::{ApplicationInfo, ExecutorInfo, OverApplication, WorkerInfo},
    status::{ApplicationState, ApplicationStatus},
};

/// So many applications that are over are remembered.
const REMEMBERED: usize = 1000;

impl Master {
    pub(crate) fn register_application(
        &mut self,
        now: Tick,
        from: ConnectionId,
        m: RegisterApplication,
        out: &mut Vec<MasterEffect>,
    ) {
        let executor_limit = m.executor_limit;
        let registered = match self.parties.get(&from) {
            // A repeated message, or an answer that the driver did not see.
            Some(Party::Application(id)) if m.app_id.is_empty() || *id == m.app_id => Ok(id.clone()),
            Some(_) => Err("this stream is another worker's or application's already".to_owned()),
            None => self
                .admit_application(now, from, m, out)
                // What was asked for without a stream, or got lost with one, is told here.
                .inspect(|id| self.limit_executors(id, executor_limit)),
        };
        match registered {
            Err(reason) => {
                warn!(reason, "application refused");
                let message = Message::RegisterApplicationFailed(RegisterApplicationFailed { reason });
                out.push(MasterEffect::Send { to: from, message });
            }
            Ok(app_id) => {
                let message = Message::RegisteredApplication(RegisteredApplication {
                    app_id: app_id.to_string(),
                    master_url: self.rules.url.clone(),
                    token: self.applications.get(&app_id).map(|a| a.token.0.clone()).unwrap_or_default(),
                });
                out.push(MasterEffect::Send { to: from, message });
                self.tell_of_executors(&app_id, out);
                self.schedule(now, out);
            }
        }
    }

    /// Lets an application in, or back in; the error says why not.
    fn admit_application(
        &mut self,
        now: Tick,
        from: ConnectionId,
        mut m: RegisterApplication,
        out: &mut Vec<MasterEffect>,
    ) -> Result<AppId, String> {
        if let Some(reason) = limits::refusal_of_registration(&m) {
            return Err(reason);
        }
        let description = m.application.get_or_insert_default();
        if let Some(reason) = version_mismatch(m.protocol_version).or_else(|| refusal_of_application(description)) {
            return Err(reason);
        }
        if m.app_id.is_empty() {
            let app_id = self.new_application_id(now);
            m.token = self.issuer.token(&app_id);
            self.application_is_new(now, from, &app_id, m, out);
            return Ok(app_id);
        }
        let app_id = AppId::parse(&m.app_id).map_err(|e| e.to_string())?;
        if let Some(reason) = self.refusal_of_return(&app_id, &m.token) {
            return Err(reason);
        }
        // It failed while its driver had no stream, or the news of that was lost with the stream.
        if let Some(reason) = self.over.get(&app_id).and_then(|over| over.failed.clone()) {
            return Err(reason);
        }
        match self.applications.contains_key(&app_id) {
            true => self.application_came_back(now, from, &app_id, &m, out)?,
            // A driver that outlived its master keeps its name.
            false => self.application_is_new(now, from, &app_id, m, out),
        }
        Ok(app_id)
    }

    /// Why a driver may not have the application id that it brings: only the one that a master gave it to shows its token.
    /// Without a secret, what another master may have given is known by its form alone.
    fn refusal_of_return(&self, app_id: &AppId, token: &[u8]) -> Option<String> {
        let known = self.applications.get(app_id).map(|a| &a.token);
        let admitted = match known.or_else(|| self.over.get(app_id).map(|over| &over.token)) {
            Some(known) => self.issuer.same(&known.0, token),
            None => match self.issuer.provenance(app_id, token) {
                Provenance::Issued => true,
                Provenance::Forged => false,
                Provenance::Unknown => app_id.has_issued_form(),
            },
        };
        (!admitted).then(|| {
            format!(
                "no master of this cluster gave the application id {app_id} to this driver; start the application anew"
            )
        })
    }

    fn limit_executors(&mut self, app_id: &str, limit: Option<u32>) {
        if let Some(application) = self.applications.get_mut(app_id) {
            application.executor_limit = limit;
        }
    }

    fn application_is_new(
        &mut self,
        now: Tick,
        from: ConnectionId,
        app_id: &AppId,
        m: RegisterApplication,
        out: &mut Vec<MasterEffect>,
    ) {
        let RegisterApplication { token, incarnation, .. } = m;
        let description = m.application.unwrap_or_default();
        info!(%app_id, name = description.name, "application registered");
        self.parties.insert(from, Party::Application(app_id.clone()));
        self.fifo.push(app_id.clone());
        // One that comes back after it was removed may have executors that are still being killed.
        let left = || self.executors.iter().filter(|(key, _)| key.app_id == *app_id);
        let executors: BTreeSet<u32> = left().map(|(key, _)| key.executor_id).collect();
        let cores_granted = left().filter(|(_, e)| !e.decommissioned).map(|(_, e)| e.cores).sum();
        let decommissioned = left().fold(0, |n, (_, e)| n + u32::from(e.decommissioned));
        self.completed.retain(|completed| completed.id != *app_id);
        let spent = self.over.remove(app_id).map_or(0, |over| over.next_executor_id);
        let next_executor_id = executors.last().map_or(0, |last| last + 1).max(m.next_executor_id).max(spent);
        let application = ApplicationInfo {
            description,
            token: Token(token),
            incarnation,
            connection: Some(from),
            lost_at: None,
            registered_at: now,
            last_heard: now,
            beats: false,
            next_executor_id,
            executors,
            cores_granted,
            decommissioned,
            retries: 0,
            troubles: BTreeMap::new(),
            executor_limit: None,
            warned: false,
            bounded: false,
            lines: limits::Lines::default(),
        };
        out.push(MasterEffect::Persist { record: application.record(app_id) });
        self.applications.insert(app_id.clone(), application);
    }

    /// `app-yyyyMMddHHmmss-NNNN` in UTC, as Spark names them. Names of the second in which this master was elected, and
    /// before, may have been given by one before it, whose applications live on.
    fn new_application_id(&mut self, now: Tick) -> AppId {
        loop {
            let ms = |tick: Tick| u64::try_from(tick.since(Tick::ZERO).as_millis()).unwrap_or(0);
            let second_of = |tick| (self.epoch_ms + ms(tick)) / 1000;
            let second = second_of(now).max(second_of(self.led_from) + 1);
            let id = AppId::issued(second, self.registered_applications);
            self.registered_applications += 1;
            let taken = self.applications.contains_key(&id)
                || self.over.contains_key(&id)
                || self.executors.keys().any(|key| key.app_id == id);
            if !taken {
                return id;
            }
        }
    }

    fn application_came_back(
        &mut self,
        now: Tick,
        from: ConnectionId,
        app_id: &AppId,
        m: &RegisterApplication,
        out: &mut Vec<MasterEffect>,
    ) -> Result<(), String> {
        let Some(application) = self.applications.get_mut(app_id) else { return Ok(()) };
        if application.incarnation != m.incarnation {
            let holder = &application.description.driver_address;
            return Err(format!("application {app_id} belongs to the driver at {holder}, which is another process"));
        }
        info!(%app_id, "driver came back");
        let old = application.connection.replace(from);
        application.lost_at = None;
        application.last_heard = now;
        // Under the master before this one it may have had more.
        application.next_executor_id = application.next_executor_id.max(m.next_executor_id);
        self.await_application_no_longer(app_id);
        if let Some(old) = old {
            self.drop_connection(old, out);
        }
        self.parties.insert(from, Party::Application(app_id.clone()));
        Ok(())
    }

    /// Tells a driver which executors it has; to one that is new, nothing.
    fn tell_of_executors(&self, app_id: &AppId, out: &mut Vec<MasterEffect>) {
        let Some(application) = self.applications.get(app_id) else { return };
        for &executor_id in &application.executors {
            let key = firesteel_common::ExecutorKey { app_id: app_id.clone(), executor_id };
            if let Some(executor) = self.executors.get(&key)
                && let Some(worker) = self.workers.get(&executor.worker_id)
            {
                self.tell_application(app_id, executor_added(executor_id, executor, worker), out);
                if executor.decommissioned {
                    self.tell_application(app_id, executor_decommissioned(executor_id, worker), out);
                }
            }
        }
    }

    pub(crate) fn application_heartbeat(
        &mut self,
        now: Tick,
        from: ConnectionId,
        app_id: &str,
        out: &mut Vec<MasterEffect>,
    ) {
        match self.applications.get_mut(app_id).filter(|a| a.connection == Some(from)) {
            Some(application) => {
                application.beats = true;
                application.last_heard = now;
            }
            None => {
                let reason = format!("application {app_id} is not registered with this master any more");
                let message = Message::ApplicationRemoved(ApplicationRemoved { reason });
                out.push(MasterEffect::Send { to: from, message });
            }
        }
    }

    pub(crate) fn unregister_application(
        &mut self,
        now: Tick,
        from: ConnectionId,
        app_id: &str,
        out: &mut Vec<MasterEffect>,
    ) {
        if self.is_of_application(from, app_id) {
            info!(app_id, "application unregistered by its driver");
            self.remove_application(now, app_id, ApplicationState::Finished, out);
            self.schedule(now, out);
        }
    }

    /// Ends an application that cannot go on, and tells its driver why.
    pub(crate) fn fail_application(&mut self, now: Tick, app_id: &str, reason: String, out: &mut Vec<MasterEffect>) {
        warn!(app_id, reason, "application failed");
        let removed = ApplicationRemoved { reason: reason.clone() };
        self.tell_application(app_id, Message::ApplicationRemoved(removed), out);
        self.remove_application(now, app_id, ApplicationState::Failed, out);
        if let Some(over) = self.over.get_mut(app_id) {
            over.failed = Some(reason);
        }
    }

    /// Forgets an application and has its executors killed; they keep their cores until they are gone. Its stream stays
    /// open: the driver closes it.
    fn remove_application(&mut self, now: Tick, app_id: &str, end: ApplicationState, out: &mut Vec<MasterEffect>) {
        let Some(shown) = self.application_status(now, app_id) else { return };
        let Some((app_id, application)) = self.applications.remove_entry(app_id) else { return };
        self.retain_completed(ApplicationStatus { state: end, executors: Vec::new(), ..shown });
        self.fifo.retain(|id| *id != app_id);
        self.await_application_no_longer(&app_id);
        out.push(MasterEffect::Forget { id: RecordId::Application(app_id.clone()) });
        let ApplicationInfo { next_executor_id, token, .. } = application;
        self.over.insert(app_id.clone(), OverApplication { next_executor_id, token, failed: None });
        if self.over.len() > REMEMBERED {
            // Ids begin with the time: the oldest goes.
            self.over.pop_first();
        }
        if let Some(connection) = application.connection {
            self.parties.remove(&connection);
        }
        for executor_id in application.executors {
            self.kill_executor(&app_id, executor_id, out);
        }
        for id in self.workers.keys() {
            let finished = ApplicationFinished { app_id: app_id.to_string() };
            self.tell_worker(id, Message::ApplicationFinished(finished), out);
        }
    }

    pub(crate) fn application_disconnected(&mut self, now: Tick, app_id: &str) {
        let lost_at = now + self.rules.application_grace;
        if let Some(application) = self.applications.get_mut(app_id) {
            info!(app_id, "driver's stream closed");
            application.connection = None;
            application.lost_at = Some(lost_at);
        }
    }

    /// When this application is removed if its driver is not heard of.
    pub(crate) fn application_deadline(&self, application: &ApplicationInfo) -> Option<Tick> {
        let silent = application.beats.then(|| application.last_heard + self.rules.worker_timeout);
        application.lost_at.into_iter().chain(silent).min()
    }

    pub(crate) fn remove_silent_applications(&mut self, now: Tick, out: &mut Vec<MasterEffect>) {
        let due: Vec<AppId> = self
            .applications
            .iter()
            .filter(|(_, a)| self.application_deadline(a).is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for app_id in due {
            self.drop_application(now, &app_id, "its driver was not heard of any more", out);
        }
    }

    /// Ends an application of whose driver nothing is heard. It may come back all the same, as after a pause of its host, and
    /// starts afresh.
    pub(crate) fn drop_application(&mut self, now: Tick, app_id: &str, reason: &str, out: &mut Vec<MasterEffect>) {
        self.fail_application(now, app_id, reason.to_owned(), out);
        if let Some(over) = self.over.get_mut(app_id) {
            over.failed = None;
        }
    }
}

pub(crate) fn executor_added(executor_id: u32, executor: &ExecutorInfo, worker: &WorkerInfo) -> Message {
    Message::ExecutorAdded(ExecutorAdded {
        executor_id,
        worker_id: worker.id.to_string(),
        host: worker.host.clone(),
        cores: executor.cores,
        memory_mb: executor.memory_mb,
    })
}

fn refusal_of_application(d: &ApplicationDescription) -> Option<String> {
    if d.cores_max == Some(0) {
        return Some("spark.cores.max is 0: an application without cores runs nothing; set it to 1 or more".to_owned());
    }
    if d.cores_per_executor == Some(0) {
        return Some("spark.executor.cores is 0: set it to 1 or more".to_owned());
    }
    if d.memory_per_executor_mb == 0 {
        return Some("spark.executor.memory is below 1 MiB: give executors memory".to_owned());
    }
    match (d.cores_max, d.cores_per_executor) {
        (Some(max), Some(each)) if each > max => Some(format!(
            "spark.executor.cores is {each} but spark.cores.max only {max}: no executor could ever start; \
             raise the one or lower the other"
        )),
        _ => None,
    }
}
