//! Connections whose peers have not yet shown who they are, or what they came for: how many there may be, and for how long.
//!
//! A machine without I/O: the listeners of control streams (`stream`) and of blocks (`storage`) tell it who comes and
//! goes, and close whom it names. A stranger costs a descriptor and a few kilobytes, so a flood of them is worth only as
//! much as there may be at once; the oldest go, as those who mean it are through within a few round trips. While one
//! address has more of them than any other, it is its own that go: a flood from one host does not push out another's.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use firesteel_common::Tick;

/// No listener has more strangers at once.
const MOST: usize = 256;
/// So many are let in even where few descriptors are to be had.
const FEWEST: usize = 16;
/// The whole handshake has this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many times as long a peer has after that to say what it came for.
const NEWCOMERS_PATIENCE: u32 = 6;

/// What strangers are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StrangerLimits {
    /// How many there may be at once.
    pub most: usize,
    /// How long each may take, from its connection to the end of its handshake.
    pub patience: Duration,
}

impl StrangerLimits {
    /// For a process that may have so many descriptors: strangers get at most a quarter of them.
    pub fn with_descriptors(descriptors: u64) -> StrangerLimits {
        let quarter = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
        StrangerLimits { most: quarter.clamp(FEWEST, MOST), patience: PATIENCE }
    }

    /// What is allowed after the handshake to those who have not yet said what they came for: without a secret everybody
    /// passes it. As many, for longer, since they may wait for others meanwhile.
    pub fn of_newcomers(self) -> StrangerLimits {
        StrangerLimits { patience: NEWCOMERS_PATIENCE * self.patience, ..self }
    }

    /// For this process.
    pub fn of_this_process() -> StrangerLimits {
        // A system that does not tell its limit has a usual one.
        StrangerLimits::with_descriptors(firesteel_os::descriptors::limit().unwrap_or(1024))
    }
}

#[derive(Debug)]
struct Stranger {
    number: u64,
    from: IpAddr,
    until: Tick,
}

/// The strangers of one listener, oldest first.
#[derive(Debug)]
pub struct Strangers {
    limits: StrangerLimits,
    waiting: VecDeque<Stranger>,
}

impl Strangers {
    /// None yet.
    pub fn new(limits: StrangerLimits) -> Strangers {
        Strangers { limits, waiting: VecDeque::new() }
    }

    /// One has come, under a number that its owner never uses twice. The answer is who has to go for it.
    pub fn arrived(&mut self, now: Tick, number: u64, from: IpAddr) -> Option<u64> {
        let goes = (self.waiting.len() >= self.limits.most).then(|| self.oldest()).flatten();
        self.waiting.push_back(Stranger { number, from, until: now + self.limits.patience });
        goes
    }

    /// One is no stranger any more, or is gone. False when it was not here: it had to go already.
    pub fn left(&mut self, number: u64) -> bool {
        let place = self.waiting.iter().position(|s| s.number == number);
        place.is_some_and(|place| self.waiting.remove(place).is_some())
    }

    /// The oldest of the address that has most; it is forgotten here.
    pub fn oldest(&mut self) -> Option<u64> {
        let of = |from: IpAddr| self.waiting.iter().filter(|s| s.from == from).count();
        let mut most: Option<(usize, IpAddr)> = None;
        for stranger in &self.waiting {
            // All of one address is the usual case: then nobody is counted twice.
            if most.is_none_or(|(_, from)| from != stranger.from) {
                let count = of(stranger.from);
                if most.is_none_or(|(n, _)| count > n) {
                    most = Some((count, stranger.from));
                }
            }
        }
        let (_, from) = most?;
        let place = self.waiting.iter().position(|s| s.from == from)?;
        self.waiting.remove(place).map(|s| s.number)
    }

    /// One whose time is over; it is forgotten here. Ask until there is none.
    pub fn overdue(&mut self, now: Tick) -> Option<u64> {
        self.waiting.pop_front_if(|s| s.until <= now).map(|s| s.number)
    }

    /// When the first one's time is over.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.waiting.front().map(|s| s.until)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn at(seconds: u64) -> Tick {
        Tick::ZERO + Duration::from_secs(seconds)
    }

    fn three() -> Strangers {
        Strangers::new(StrangerLimits { most: 3, patience: PATIENCE })
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_more_room() {
        let mut strangers = three();
        assert!((0..3).all(|n| strangers.arrived(at(n), n, ip(1)).is_none()));
        assert_eq!(strangers.arrived(at(3), 3, ip(1)), Some(0));
        assert!(strangers.left(1));
        assert_eq!(strangers.arrived(at(4), 4, ip(1)), None);
        assert!(!strangers.left(0), "it had to go");
        assert_eq!(strangers.len(), 3);
    }

    #[test]
    fn a_flood_from_one_address_pushes_out_its_own() {
        let mut strangers = three();
        strangers.arrived(at(0), 0, ip(9));
        for n in 1..3 {
            assert_eq!(strangers.arrived(at(n), n, ip(1)), None);
        }
        assert_eq!(strangers.arrived(at(3), 3, ip(1)), Some(1));
        assert_eq!(strangers.arrived(at(3), 4, ip(1)), Some(2));
        assert!(strangers.left(0));
    }

    #[test]
    fn the_time_of_each_runs_from_its_arrival_whatever_it_does() {
        let mut strangers = three();
        strangers.arrived(at(0), 0, ip(1));
        strangers.arrived(at(4), 1, ip(2));
        assert_eq!(strangers.next_deadline(), Some(at(10)));
        assert_eq!(strangers.overdue(at(9)), None);
        assert_eq!(strangers.overdue(at(13)), Some(0));
        assert_eq!(strangers.overdue(at(13)), None);
        assert_eq!(strangers.next_deadline(), Some(at(14)));
        assert!(strangers.left(1) && strangers.is_empty());
        assert_eq!(strangers.next_deadline(), None);
    }

    #[test]
    fn where_few_descriptors_are_to_be_had_there_are_few_strangers() {
        assert_eq!(StrangerLimits::with_descriptors(1 << 20).most, MOST);
        assert_eq!(StrangerLimits::with_descriptors(256).most, 64);
        assert_eq!(StrangerLimits::with_descriptors(20).most, FEWEST);
    }
}
