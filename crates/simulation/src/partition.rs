//! Nodes that stand still and networks that fall apart.
//!
//! A node that is stopped (SIGSTOP, a host that swaps) takes nothing and does nothing until it goes on; what was sent to
//! it waits. Across a partition what is sent arrives after it is healed. If either takes long, the connections' keep-alive
//! ends them, for each side at its own time.

use std::{collections::BTreeSet, time::Duration};

use firesteel_common::Tick;

use crate::{
    cluster::{Action, Cluster},
    state::{
        network::{LinkId, Node, Side},
        partition::{Host, Partition},
    },
};

/// The earliest that a connection's keep-alive takes a silent peer for lost; at most twice that.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Cluster {
    fn host_of(&self, node: Node) -> Host {
        match node {
            Node::Master(m) => Host::Master(m),
            Node::Worker(n) => Host::Worker(n),
            Node::Driver(d) => Host::Driver(d),
            Node::Executor(p) => Host::Worker(p.worker),
        }
    }

    /// When messages between the two pass again; None when they do now.
    pub(crate) fn parted_until(&self, a: Node, b: Node) -> Option<Tick> {
        let p = self.partition.as_ref()?;
        (p.part.contains(&self.host_of(a)) != p.part.contains(&self.host_of(b))).then_some(p.until)
    }

    /// Whether one can hear the other at this time.
    pub(crate) fn reaches(&self, a: Node, b: Node) -> bool {
        self.parted_until(a, b).is_none() && !self.frozen.contains_key(&b)
    }

    /// Mostly short, sometimes longer than any patience.
    fn how_long(&mut self) -> Duration {
        let most = if self.rng.chance(70) { 5_000 } else { 80_000 };
        Duration::from_millis(100 + self.rng.below(most))
    }

    /// Stops some node for a while.
    pub(crate) fn freeze_some(&mut self) {
        let mut all: Vec<Node> = self.executors.keys().map(|p| Node::Executor(*p)).collect();
        if self.rng.chance(40) {
            all = (0..self.workers.len()).filter(|n| self.workers[*n].is_some()).map(Node::Worker).collect();
            all.extend((0..self.drivers.len()).filter(|d| self.drivers[*d].lives()).map(Node::Driver));
            all.extend(self.master().map(|_| Node::Master(self.leader)));
        }
        let (node, long) = (self.rng.pick(&all).copied(), self.how_long());
        let Some(node) = node.filter(|n| !self.frozen.contains_key(n)) else { return };
        let thaw = self.now + long;
        self.note(format_args!("{node} STANDS STILL for {long:?}"));
        self.counts.frozen += 1;
        self.frozen.insert(node, thaw);
        self.schedule(thaw, Action::Thaw { node });
        let silent: Vec<(LinkId, Side)> = self
            .network
            .links
            .iter()
            .flat_map(|(id, l)| [Side::Opener, Side::Listener].map(|side| (*id, side, l.end(side))))
            .filter(|(_, _, end)| *end == node)
            .map(|(id, side, _)| (id, side.other()))
            .collect();
        self.expect_keep_alive(silent);
    }

    pub(crate) fn thaw(&mut self, node: Node) {
        if self.frozen.get(&node).is_some_and(|thaw| *thaw <= self.now) {
            self.note(format_args!("{node} goes on"));
            self.frozen.remove(&node);
            self.calm_since = self.now;
        }
    }

    /// Cuts the network in two.
    pub(crate) fn part_network(&mut self) {
        if self.partition.is_some() {
            return;
        }
        let mut hosts: Vec<Host> = (0..self.masters.len()).map(Host::Master).collect();
        hosts.extend((0..self.workers.len()).map(Host::Worker));
        hosts.extend((0..self.drivers.len()).map(Host::Driver));
        let part: BTreeSet<Host> = hosts.into_iter().filter(|_| self.rng.chance(40)).collect();
        let long = self.how_long();
        let until = self.now + long;
        self.note(format_args!("the network FALLS APART for {long:?}: {part:?} here, the others there"));
        self.counts.partitions += 1;
        self.partition = Some(Partition { part, until });
        self.schedule(until, Action::Heal);
        let links: Vec<LinkId> = self.network.links.keys().copied().collect();
        let silent = links.into_iter().flat_map(|id| [(id, Side::Opener), (id, Side::Listener)]).collect();
        self.expect_keep_alive(silent);
    }

    pub(crate) fn heal(&mut self) {
        self.note(format_args!("the network is whole again"));
        self.partition = None;
        self.calm_since = self.now;
    }

    /// How long a peer is silent before a connection's keep-alive ends it.
    pub(crate) fn silence(&mut self) -> Duration {
        KEEP_ALIVE + Duration::from_nanos(self.rng.below(KEEP_ALIVE.as_nanos() as u64))
    }

    fn expect_keep_alive(&mut self, ends: Vec<(LinkId, Side)>) {
        for (link, side) in ends {
            let at = self.now + self.silence();
            self.schedule(at, Action::KeepAlive { link, side });
        }
    }

    /// The keep-alive of a connection that may be silent since then.
    pub(crate) fn keep_alive(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.network.links.get(&id).filter(|l| l.is_open(side)) else { return };
        let (me, other) = (link.end(side), link.end(side.other()));
        if self.reaches(me, other) {
            return;
        }
        self.note(format_args!("{me} hears nothing of {other} any more"));
        // The other hears of it when it can.
        let thaw = self.frozen.get(&other).copied();
        let again = self.parted_until(me, other).max(thaw).unwrap_or(self.now);
        let at = again + self.latency();
        if let Some(link) = self.network.links.get_mut(&id) {
            link.cut();
        }
        self.schedule(at, Action::Closed { link: id, side: side.other() });
        self.link_closed(id, side);
    }
}
