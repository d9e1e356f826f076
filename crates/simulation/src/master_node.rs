//! The masters in the virtual cluster: one leads, the production [`Master`] behind virtual connections; another of the
//! URL, if there is one, stands by until the leader crashes. A master that starts knows nothing of the past.

use std::time::Duration;

use firesteel_common::Tick;
use firesteel_master::{ConnectionId, Master, MasterEffect, MasterEvent, MasterRules};
use firesteel_rpc::{
    Issuer, Role, Secret,
    proto::deploy::{MasterInStandby, from_master, to_master},
};

use crate::{
    cluster::{Action, Cluster},
    network::{LinkId, Message, Node, Side},
};

#[derive(Default)]
pub(crate) struct MasterNode {
    pub(crate) up: bool,
    /// The leader has one.
    pub(crate) machine: Option<Master>,
    /// When it began to lead, the machine's tick 0.
    began: Tick,
}

impl MasterNode {
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        Some(self.began + self.machine.as_ref()?.next_deadline()?.since(Tick::ZERO))
    }
}

impl Cluster {
    /// The master that leads, while there is one.
    pub(crate) fn master(&self) -> Option<&Master> {
        self.masters[self.leader].machine.as_ref()
    }

    /// A master's process starts, as the leader or to stand by.
    pub(crate) fn master_starts(&mut self, m: usize) {
        self.masters[m].up = true;
        if m == self.leader {
            self.lead(m);
        } else {
            self.note(format_args!("master {m} stands by"));
        }
    }

    fn lead(&mut self, m: usize) {
        let rules = MasterRules { url: self.url.to_string(), ..MasterRules::default() };
        let mut own = [0; 32];
        own[..8].copy_from_slice(&self.now.0.to_le_bytes());
        let issuer = Issuer::new(Some(Secret::from_bytes("the virtual cluster's")), own);
        self.masters[m].machine = Some(Master::new(rules, self.now.0 / 1_000_000, issuer));
        self.masters[m].began = self.now;
        self.leader = m;
        self.note(format_args!("master {m} leads and knows nothing"));
    }

    /// The leader dies with all that it knew. Another takes over at once, or it is started again.
    pub(crate) fn crash_master(&mut self) {
        let m = self.leader;
        // Names of applications are the leader's from the second after it began: none leads for less.
        if self.now.since(self.masters[m].began) < Duration::from_secs(1) || self.masters[m].machine.take().is_none() {
            return;
        }
        self.note(format_args!("master {m} CRASHES"));
        self.counts.master_restarts += 1;
        self.masters[m].up = false;
        self.frozen.remove(&Node::Master(m));
        self.close_all(Node::Master(m));
        let at = self.now + Duration::from_millis(200 + self.rng.below(6000));
        self.schedule(at, Action::MasterStarts { master: m });
        let other = (m + 1) % self.masters.len();
        if other != m && self.masters[other].up {
            self.close_all(Node::Master(other));
            self.lead(other);
        }
    }

    pub(crate) fn master_received(&mut self, m: usize, sender: Node, link: LinkId, message: to_master::Message) {
        let role = match sender {
            Node::Worker(_) => Role::Worker,
            Node::Driver(_) => Role::Driver,
            Node::Executor(_) => Role::Executor,
            Node::Master(_) => Role::Master,
        };
        if self.masters[m].machine.is_some() {
            return self.master_handle(MasterEvent::Received { from: ConnectionId(link.0), role, message });
        }
        let message = from_master::Message::MasterInStandby(MasterInStandby {});
        self.send(link, Side::Listener, Message::FromMaster(message));
    }

    pub(crate) fn master_closed(&mut self, m: usize, link: LinkId) {
        if self.masters[m].machine.is_some() {
            self.master_handle(MasterEvent::Closed { connection: ConnectionId(link.0) });
        }
    }

    pub(crate) fn wake_master(&mut self) {
        self.master_handle(MasterEvent::Wake);
    }

    fn master_handle(&mut self, event: MasterEvent) {
        let mut out = Vec::new();
        self.touched.insert(Node::Master(self.leader));
        let now = Tick::ZERO + self.now.since(self.masters[self.leader].began);
        let Some(machine) = self.masters[self.leader].machine.as_mut() else { return };
        machine.handle(now, event, &mut out);
        for effect in out {
            match effect {
                MasterEffect::Send { to, message } => {
                    self.send(LinkId(to.0), Side::Listener, Message::FromMaster(message));
                }
                MasterEffect::Close { connection } => self.close(LinkId(connection.0), Side::Listener),
            }
        }
    }
}
