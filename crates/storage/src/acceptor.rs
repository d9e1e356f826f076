//! The thread that accepts the connections of a [`crate::BlockServer`] and shakes hands with all of them at once.
//!
//! Nobody gets more than a descriptor and a kilobyte before it has shown who it is and asks for something: sockets do not
//! block here, and [`Strangers`] says who has to go when too many wait or one takes too long. Without a secret everybody
//! gets through the handshake; a thread it gets with its first request.

use std::{
    collections::BTreeMap,
    io::{self, PipeReader},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use firesteel_common::Tick;
use firesteel_rpc::{
    StrangerLimits, Strangers,
    handshake::{Accepting, HandshakeError, Identity},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::server::Shared;

/// So many are accepted before those who wait get on with their handshakes.
const AT_ONCE: usize = 32;
/// Of more connections than this, none is looked at more often than once in [`ROUND`]: each look costs what all of them
/// cost, and bytes that come one by one must not buy one each. Whoever belongs here waits for a few rounds then.
const CROWD: usize = 32;
const ROUND: Duration = Duration::from_millis(2);
/// How long nothing is accepted after that has failed: descriptors do not come back faster than they are closed.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection on the way through its handshake.
struct Stranger {
    stream: TcpStream,
    peer: SocketAddr,
    phase: Phase,
}

/// What is awaited of a connection.
enum Phase {
    /// The next bytes of its handshake.
    Handshake(Box<Accepting>),
    /// Its first request.
    Request(Identity),
}

/// The listener and those who wait.
pub(crate) struct Acceptor {
    listener: TcpListener,
    wake: PipeReader,
    shared: Arc<Shared>,
    started: Instant,
    next: u64,
    waiting: BTreeMap<u64, Stranger>,
    strangers: Strangers,
    /// Those that are through the handshake and have not asked for anything.
    newcomers: Strangers,
    paused_until: Option<Tick>,
    looked: Instant,
}

impl Acceptor {
    /// Accepts from `listener` until `wake` ends.
    pub fn new(
        listener: TcpListener,
        wake: PipeReader,
        shared: Arc<Shared>,
        limits: StrangerLimits,
    ) -> io::Result<Acceptor> {
        // Whoever is ready in `poll` may have gone before `accept`.
        listener.set_nonblocking(true)?;
        let (strangers, newcomers) = (Strangers::new(limits), Strangers::new(limits.of_newcomers()));
        Ok(Acceptor {
            listener,
            wake,
            shared,
            started: Instant::now(),
            next: 0,
            waiting: BTreeMap::new(),
            strangers,
            newcomers,
            paused_until: None,
            looked: Instant::now(),
        })
    }

    /// Runs until the server stops. Who still waits then is closed.
    pub fn run(mut self) {
        loop {
            let (listens, ready) = match self.wait() {
                Ok(ready) => ready,
                Err(e) => return tracing::error!(error = %e, "the block server stops: it cannot wait for connections"),
            };
            if self.shared.is_stopping() {
                return;
            }
            for number in ready {
                self.advance(number);
            }
            while let Some(number) = self.strangers.overdue(self.now()) {
                self.close(number, "no handshake in time");
            }
            while let Some(number) = self.newcomers.overdue(self.now()) {
                self.close(number, "no request in time");
            }
            if listens {
                self.accept();
            }
            if self.shared.log.next_deadline().is_some_and(|due| due <= Instant::now()) {
                self.shared.log.catch_up();
            }
        }
    }

    /// Waits until there is something to do; whether somebody may be accepted, and who has sent something.
    fn wait(&mut self) -> io::Result<(bool, Vec<u64>)> {
        if self.waiting.len() > CROWD {
            // The end of the server is seen in the round that follows.
            thread::sleep(ROUND.saturating_sub(self.looked.elapsed()));
        }
        self.looked = Instant::now();
        let now = self.now();
        self.paused_until.take_if(|until| *until <= now);
        let log = self.shared.log.next_deadline().map(|due| Tick::ZERO + due.saturating_duration_since(self.started));
        let deadlines = self.strangers.next_deadline().into_iter().chain(self.newcomers.next_deadline());
        let deadline = deadlines.chain(self.paused_until).chain(log).min();
        let timeout = match deadline {
            // Rounded up, or it would be looked for again and again within the last millisecond.
            Some(tick) => PollTimeout::try_from(tick.since(now).as_millis() as u64 + 1).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.waiting.values().map(|s| PollFd::new(s.stream.as_fd(), PollFlags::POLLIN)));
        if self.paused_until.is_none() {
            fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let strangers = self.waiting.keys().zip(&fds[1..]).filter(|(_, fd)| ready(fd)).map(|(number, _)| *number);
        let strangers = strangers.collect();
        let listens = self.paused_until.is_none() && fds.last().is_some_and(ready);
        Ok((listens, strangers))
    }

    fn accept(&mut self) {
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if let Err(e) = self.enter(stream, peer) {
                        self.shared.log.refused(peer, e);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                Err(e) => {
                    // Out of descriptors, mostly: the backlog keeps others waiting until there are some again.
                    self.shared.log.not_accepted(e);
                    if let Some(oldest) = self.strangers.oldest().or_else(|| self.newcomers.oldest()) {
                        self.close(oldest, "its descriptor is needed");
                    }
                    self.paused_until = Some(self.now() + PAUSE);
                    return;
                }
            }
        }
    }

    fn enter(&mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = self.next;
        self.next += 1;
        let phase = Phase::Handshake(Box::new(Accepting::new(self.shared.handshake())));
        self.waiting.insert(number, Stranger { stream, peer, phase });
        if let Some(oldest) = self.strangers.arrived(self.now(), number, peer.ip()) {
            self.close(oldest, "too many wait for their handshake");
        }
        Ok(())
    }

    /// Goes on with one that has sent something, or has left.
    fn advance(&mut self, number: u64) {
        let Some(stranger) = self.waiting.get_mut(&number) else { return };
        let handshake = match &mut stranger.phase {
            Phase::Handshake(handshake) => handshake,
            Phase::Request(_) => return self.let_in(number),
        };
        match handshake.advance(&mut stranger.stream) {
            Ok(None) => {}
            Ok(Some(guest)) => {
                stranger.phase = Phase::Request(guest);
                let from = stranger.peer.ip();
                self.strangers.left(number);
                if let Some(oldest) = self.newcomers.arrived(self.now(), number, from) {
                    self.close(oldest, "too many have nothing to ask for");
                }
            }
            Err(e) => {
                self.strangers.left(number);
                let peer = self.waiting.remove(&number).map(|stranger| stranger.peer);
                match (peer, &e) {
                    // One that merely looked whether the port is open.
                    (Some(peer), HandshakeError::Ended(_)) => tracing::debug!(%peer, error = %e, "a stranger left"),
                    (Some(peer), _) => self.shared.log.refused(peer, e),
                    (None, _) => {}
                }
            }
        }
    }

    /// Gives one that asks for something its thread; one that has left instead is forgotten.
    fn let_in(&mut self, number: u64) {
        self.newcomers.left(number);
        let Some(Stranger { stream, peer, phase }) = self.waiting.remove(&number) else { return };
        let Phase::Request(guest) = phase else { return };
        if !matches!(stream.peek(&mut [0]), Ok(1..)) {
            return tracing::debug!(%peer, "a peer left without a request");
        }
        if let Err(e) = self.shared.start_connection(stream, peer, guest) {
            self.shared.log.refused(peer, e);
        }
    }

    /// Closes a connection that is forgotten among the strangers.
    fn close(&mut self, number: u64, why: &str) {
        if let Some(stranger) = self.waiting.remove(&number) {
            self.shared.log.refused(stranger.peer, why);
        }
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.started.elapsed()
    }
}
