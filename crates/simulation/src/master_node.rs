//! The masters in the virtual cluster, production's [`Master`] behind virtual connections: one leads, another of the URL, if
//! there is one, stands by until it is elected. What leaders keep for those after them lies in [`Cluster::records`], as in a
//! store that outlives them; without one, a leader knows nothing of the past.

use std::time::Duration;

use firesteel_common::Tick;
use firesteel_machine::Machine;
use firesteel_master::{ConnectionId, Master, MasterEffect, MasterEvent, MasterRules, RecoveryState};
use firesteel_rpc::{
    Issuer, Role, Secret,
    proto::deploy::{from_master, to_master},
};

use crate::{
    cluster::{Action, Cluster},
    state::network::{LinkId, Message, Node, Side},
};

impl Cluster {
    /// The master that leads, while there is one.
    pub(crate) fn master(&self) -> Option<&Master> {
        self.masters[self.leader].machine.as_ref()
    }

    /// A master's process starts, as the leader or to stand by.
    pub(crate) fn master_starts(&mut self, m: usize) {
        let rules = MasterRules { url: self.url.to_string(), ..MasterRules::default() };
        let mut own = [m as u8; 32];
        own[..8].copy_from_slice(&self.now.0.to_le_bytes());
        let issuer = Issuer::new(Secret::from_bytes("the virtual cluster's"), own);
        let master = &mut self.masters[m];
        master.up = true;
        master.machine = Some(Master::new(rules, self.now.0 / 1_000_000, issuer));
        master.began = self.now;
        match m == self.leader {
            true => self.elect(m),
            false => self.note(format_args!("master {m} stands by")),
        }
    }

    fn elect(&mut self, m: usize) {
        let records = self.records.values().cloned().collect();
        self.leader = m;
        self.masters[m].elected = self.now;
        self.note(format_args!("master {m} leads and knows of {} workers and applications", self.records.len()));
        self.master_handle(m, MasterEvent::Elected { records });
    }

    /// The leader dies with all that it knew, but for what is kept for those after it, or is only deposed. Another takes over
    /// at once, or it is started again.
    pub(crate) fn crash_master(&mut self) {
        let m = self.leader;
        // Names of applications are the leader's from the second after it began to lead: none leads for less.
        if self.now.since(self.masters[m].elected) < Duration::from_secs(1) || self.masters[m].machine.is_none() {
            return;
        }
        let other = (m + 1) % self.masters.len();
        let other = (other != m && self.masters[other].up).then_some(other);
        self.counts.master_restarts += 1;
        if let Some(other) = other
            && self.faults.recovery
            && self.rng.chance(30)
        {
            self.note(format_args!("master {m} is DEPOSED"));
            self.master_handle(m, MasterEvent::Deposed);
            return self.elect(other);
        }
        self.note(format_args!("master {m} CRASHES"));
        self.masters[m].machine = None;
        self.masters[m].up = false;
        self.frozen.remove(&Node::Master(m));
        self.close_all(Node::Master(m));
        let at = self.now + Duration::from_millis(200 + self.rng.below(6000));
        self.schedule(at, Action::MasterStarts { master: m });
        if let Some(other) = other {
            self.elect(other);
        }
    }

    pub(crate) fn master_received(&mut self, m: usize, sender: Node, link: LinkId, message: to_master::Message) {
        let role = match sender {
            Node::Worker(_) => Role::Worker,
            Node::Driver(_) => Role::Driver,
            Node::Executor(_) => Role::Executor,
            Node::Master(_) => Role::Master,
        };
        self.master_handle(m, MasterEvent::Received { from: ConnectionId(link.0), role, message });
    }

    pub(crate) fn master_closed(&mut self, m: usize, link: LinkId) {
        self.master_handle(m, MasterEvent::Closed { connection: ConnectionId(link.0) });
    }

    pub(crate) fn wake_master(&mut self) {
        self.master_handle(self.leader, MasterEvent::Wake);
    }

    fn master_handle(&mut self, m: usize, event: MasterEvent) {
        let mut out = Vec::new();
        self.touched.insert(Node::Master(m));
        let now = Tick::ZERO + self.now.since(self.masters[m].began);
        let Some(machine) = self.masters[m].machine.as_mut() else { return };
        let (recovering, had) = (machine.recovery_state() == RecoveryState::Recovering, live_executors(machine));
        machine.handle(now, event, &mut out);
        if recovering {
            // What comes last may end the recovery, and others are launched at once.
            let launched = out.iter().filter(|effect| is_launch(effect)).count();
            self.counts.adopted += live_executors(machine).saturating_sub(had + launched);
        }
        for effect in out {
            match effect {
                MasterEffect::Send { to, message } => {
                    self.send(LinkId(to.0), Side::Listener, Message::FromMaster(message));
                }
                MasterEffect::Close { connection } => self.close(LinkId(connection.0), Side::Listener),
                MasterEffect::Persist { record } if self.faults.recovery => {
                    self.records.insert(record.id(), record);
                }
                MasterEffect::Forget { id } => {
                    self.records.remove(&id);
                }
                // There is no store.
                MasterEffect::Persist { .. } => {}
            }
        }
    }
}

fn live_executors(master: &Master) -> usize {
    master.executors().values().filter(|e| !e.killing).count()
}

fn is_launch(effect: &MasterEffect) -> bool {
    matches!(effect, MasterEffect::Send { message: from_master::Message::LaunchExecutor(_), .. })
}
