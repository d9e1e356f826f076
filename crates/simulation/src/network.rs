//! Virtual connections: messages of one direction arrive in order, after a delay, sometimes twice. A lost message cuts
//! its connection, as TCP does: what is behind it is gone, and both sides see the end, each in its own time.

use std::time::Duration;

use firesteel_common::Tick;

use crate::{
    cluster::{Action, Cluster},
    state::network::{Link, LinkId, Message, Node, Side},
    summary::Summary,
};

/// What is on its way when one side ends a connection has this long to arrive.
const DRAIN: Duration = Duration::from_secs(5);

impl Cluster {
    /// Opens a connection that stands at once; the listener learns of it by the first message.
    pub(crate) fn open(&mut self, from: Node, to: Node, app_id: &str) -> LinkId {
        let id = LinkId(self.network.next);
        self.network.next += 1;
        let app_id = app_id.to_owned();
        let link =
            Link { ends: [from, to], app_id, open: [true; 2], last: [self.now; 2], shut: [false; 2], cut: false };
        self.network.links.insert(id, link);
        id
    }

    pub(crate) fn send(&mut self, id: LinkId, from: Side, message: Message) {
        let lost = self.chance(self.faults.lose_message);
        let repeated = self.chance(self.faults.repeat_message);
        let delay = self.latency();
        let Some(link) = self.network.links.get_mut(&id) else { return };
        if link.cut || link.shut[from as usize] || !link.open[from as usize] {
            return;
        }
        let to = from.other();
        if lost {
            let (a, b) = (link.end(from), link.end(to));
            self.note(format_args!("{a} → {b}: LOST {}", Summary(&message)));
            self.cut(id);
            return;
        }
        let ends = link.ends;
        let parted = self.parted_until(ends[0], ends[1]).unwrap_or(self.now);
        let Some(link) = self.network.links.get_mut(&id) else { return };
        let at = link.last[to as usize].max(parted + delay);
        link.last[to as usize] = at;
        if repeated {
            self.schedule(at, Action::Deliver { link: id, side: to, message: message.clone() });
        }
        self.schedule(at, Action::Deliver { link: id, side: to, message });
    }

    /// Breaks a connection in the middle.
    pub(crate) fn cut(&mut self, id: LinkId) {
        for side in [Side::Opener, Side::Listener] {
            // One that hears of the break at once loses also what was on its way to it.
            let at_once = self.rng.chance(50);
            self.announce_end(id, side, at_once);
        }
    }

    /// One side closes; what it sent before still arrives.
    pub(crate) fn close(&mut self, id: LinkId, side: Side) {
        if let Some(link) = self.network.links.get_mut(&id) {
            link.open[side as usize] = false;
            self.announce_end(id, side.other(), false);
        }
    }

    /// One side sends nothing more. What comes from the other still arrives: until its end, with which it answers, or for so
    /// long.
    pub(crate) fn shut(&mut self, id: LinkId, side: Side) {
        let delay = self.latency();
        let Some(ends) = self.network.links.get(&id).map(|l| l.ends) else { return };
        let parted = self.parted_until(ends[0], ends[1]).unwrap_or(self.now);
        let Some(link) = self.network.links.get_mut(&id) else { return };
        if link.cut || !link.open[side as usize] || std::mem::replace(&mut link.shut[side as usize], true) {
            return;
        }
        let at = link.last[side.other() as usize].max(parted + delay);
        link.last[side.other() as usize] = at;
        self.schedule(at, Action::Closed { link: id, side: side.other() });
        let at = self.now + DRAIN;
        self.schedule(at, Action::Closed { link: id, side });
    }

    fn announce_end(&mut self, id: LinkId, side: Side, at_once: bool) {
        let delay = self.latency();
        let Some(ends) = self.network.links.get(&id).map(|l| l.ends) else { return };
        let parted = self.parted_until(ends[0], ends[1]);
        let at_once = at_once && parted.is_none();
        let parted = parted.unwrap_or(self.now);
        let Some(link) = self.network.links.get_mut(&id) else { return };
        link.cut = true;
        let behind = if at_once { self.now } else { link.last[side as usize] };
        let at = behind.max(parted + if at_once { Duration::ZERO } else { delay });
        self.schedule(at, Action::Closed { link: id, side });
    }

    /// All connections of a node that is gone.
    pub(crate) fn close_all(&mut self, node: Node) {
        let mut ends = Vec::new();
        for (id, link) in &self.network.links {
            for side in [Side::Opener, Side::Listener] {
                if link.end(side) == node && link.is_open(side) {
                    ends.push((*id, side));
                }
            }
        }
        ends.into_iter().for_each(|(id, side)| self.close(id, side));
    }

    /// All connections of a node whose host is gone: nobody tells the others, their keep-alive does.
    pub(crate) fn fall_silent(&mut self, node: Node) {
        let mut others = Vec::new();
        for (id, link) in &mut self.network.links {
            for side in [Side::Opener, Side::Listener] {
                if link.end(side) == node && link.is_open(side) {
                    link.open[side as usize] = false;
                    link.cut = true;
                    others.push((*id, side.other()));
                }
            }
        }
        for (link, side) in others {
            let at = self.now + self.silence();
            self.schedule(at, Action::Closed { link, side });
        }
    }

    /// Cuts a connection that somebody uses.
    pub(crate) fn cut_some_link(&mut self) {
        let used: Vec<LinkId> = self.network.links.iter().filter(|(_, l)| !l.cut).map(|(id, _)| *id).collect();
        if let Some(id) = self.rng.pick(&used).copied()
            && let Some(ends) = self.network.links.get(&id).map(|l| l.ends)
        {
            self.note(format_args!("the connection of {} and {} is CUT", ends[0], ends[1]));
            self.cut(id);
        }
    }

    /// Something arrives at an end; it is taken only while the end has not seen the connection's end.
    pub(crate) fn deliver(&mut self, id: LinkId, side: Side, message: Message) {
        let Some(link) = self.network.links.get(&id).filter(|l| l.is_open(side)) else { return };
        let (from, to) = (link.end(side.other()), link.end(side));
        self.note(format_args!("{from} → {to}: {}", Summary(&message)));
        match (to, message) {
            (Node::Master(m), Message::ToMaster(message)) => self.master_received(m, from, id, message),
            (Node::Worker(n), Message::FromMaster(m)) => self.worker_received(n, id, m),
            (Node::Driver(d), Message::FromMaster(m)) => self.driver_received(d, id, m),
            (Node::Driver(d), Message::ToDriver(m)) => self.driver_heard_executor(d, id, m),
            (Node::Executor(n), Message::ToExecutor(m)) => self.executor_received(n, m),
            (to, message) => self.violated(format!("{to} received {}", Summary(&message))),
        }
    }

    pub(crate) fn link_closed(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.network.links.get_mut(&id) else { return };
        let (node, other) = (link.end(side), link.end(side.other()));
        let news = std::mem::replace(&mut link.open[side as usize], false);
        let answers = news && !link.cut && link.shut[side.other() as usize] && link.open[side.other() as usize];
        if !link.open[side.other() as usize] {
            self.network.links.remove(&id);
        }
        if !news {
            return;
        }
        self.note(format_args!("{node} sees its connection to {other} end"));
        if answers {
            self.announce_end(id, side.other(), false);
        }
        match node {
            Node::Master(m) => self.master_closed(m, id),
            Node::Worker(n) => self.worker_closed(n, id),
            Node::Driver(d) => self.driver_closed(d, id),
            Node::Executor(n) => self.executor_closed(n),
        }
    }

    pub(crate) fn latency(&mut self) -> Duration {
        let most = self.faults.delay.as_nanos() as u64;
        Duration::from_nanos(50_000 + self.rng.below(most))
    }

    /// True with a chance in 10,000, while faults happen at all.
    pub(crate) fn chance(&mut self, in_ten_thousand: u64) -> bool {
        let drawn = self.rng.below(10_000);
        drawn < in_ten_thousand && self.now < Tick::ZERO + self.faults.until
    }
}
