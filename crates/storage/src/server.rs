//! The block server: one thread that accepts and shakes hands ([`crate::acceptor`]), one thread a peer that answers its
//! requests in order.
//!
//! Plain blocking threads: an answer is then one read, one `sendfile` and no hop between threads. A process has as many
//! as it has peers that fetch from it; who has not shown who it is, or asks for nothing, has none. When there are too many,
//! the one goes that has asked for nothing for longest: whoever belongs here connects anew when it has something to ask.

use std::{
    collections::HashMap,
    io::{self, PipeWriter},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use firesteel_rpc::{
    Role, SparseLog, StrangerLimits, Transport,
    handshake::{Accepts, Identity, ServerHandshake},
};

use crate::{
    ApplicationSources, BlockData, BlockError, BlockId, BlockSource, Served, acceptor::Acceptor, answering, wire,
};

/// There are no more peers than this at once: each costs a thread.
const MAX_CONNECTIONS: usize = 4096;
/// A connection's thread only moves bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Serves what a process offers ([`Served`]) until it is dropped; dropping it closes its connections and ends its threads.
pub struct BlockServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    wake: Option<PipeWriter>,
    acceptor: Option<JoinHandle<()>>,
}

/// Who is let in, and what it finds.
enum Guests {
    /// Processes of one application, whose transport this is.
    Of { app_id: String, transport: Transport, served: Served },
    /// Processes of all applications, each with its key, which is derived from the cluster's secret.
    OfAll { transport: Transport, sources: Arc<dyn ApplicationSources> },
}

/// What the acceptor and the connections of one server share.
pub(crate) struct Shared {
    guests: Guests,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
    most_connections: usize,
    origin: Instant,
    pub log: SparseLog,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
    quiet: Arc<Quiet>,
    /// It had to go, and its thread is about to end.
    pushed_out: bool,
}

/// Since when a peer owes its next request, in microseconds of its server.
pub(crate) struct Quiet {
    origin: Instant,
    since: AtomicU64,
}

impl Quiet {
    /// While a request is answered.
    const BUSY: u64 = u64::MAX;

    /// It is waited for the peer's next bytes.
    pub fn waits(&self) {
        self.since.store(self.origin.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// They have come.
    pub fn works(&self) {
        self.since.store(Self::BUSY, Ordering::Relaxed);
    }
}

impl BlockServer {
    /// Serves on `listener` the processes of application `app_id`, whose transport this is.
    pub fn start(
        listener: TcpListener,
        served: impl Into<Served>,
        transport: Transport,
        app_id: impl Into<String>,
    ) -> io::Result<BlockServer> {
        let guests = Guests::Of { app_id: app_id.into(), transport, served: served.into() };
        Self::serve(listener, guests, StrangerLimits::of_this_process(), most_connections())
    }

    /// Serves on `listener` the processes of every application of which `sources` has something: each must hold the key
    /// that is derived from the cluster's secret, if `transport` asks for one, for its application.
    pub fn of_applications(
        listener: TcpListener,
        sources: Arc<dyn ApplicationSources>,
        transport: Transport,
    ) -> io::Result<BlockServer> {
        Self::serve(
            listener,
            Guests::OfAll { transport, sources },
            StrangerLimits::of_this_process(),
            most_connections(),
        )
    }

    fn serve(
        listener: TcpListener,
        guests: Guests,
        limits: StrangerLimits,
        most_connections: usize,
    ) -> io::Result<BlockServer> {
        let address = listener.local_addr()?;
        let (wake_read, wake_write) = io::pipe()?;
        let (stopping, connections) = (AtomicBool::new(false), Mutex::default());
        let (origin, log) = (Instant::now(), SparseLog::new(wire::SERVICE));
        let shared = Arc::new(Shared { guests, stopping, connections, most_connections, origin, log });
        let acceptor = Acceptor::new(listener, wake_read, shared.clone(), limits)?;
        let acceptor =
            thread::Builder::new().name("block-accept".into()).stack_size(STACK_BYTES).spawn(move || acceptor.run())?;
        Ok(BlockServer { address, shared, wake: Some(wake_write), acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BlockServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // The acceptor sees the end of its pipe.
        self.wake = None;
        if let Some(acceptor) = self.acceptor.take() {
            // A panic there was reported by the panic hook.
            let _ = acceptor.join();
        }
        let open: Vec<Open> = self.shared.connections().open.drain().map(|(_, open)| open).collect();
        for connection in &open {
            // Fails when the peer closed first: then there is nothing to shut down.
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        for connection in open {
            if let Some(thread) = connection.thread {
                let _ = thread.join();
            }
        }
    }
}

/// What is served of an application that has nothing here.
struct Nothing;

impl BlockSource for Nothing {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        Err(BlockError::NotFound { id: *id })
    }
}

impl Shared {
    /// Whether the server ends.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The handshake of one connection.
    pub fn handshake(&self) -> ServerHandshake {
        let roles = &[Role::Executor, Role::Driver];
        let accepts = |app_id| Accepts { service: wire::SERVICE, roles, app_id };
        match &self.guests {
            Guests::Of { app_id, transport, .. } => transport.handshake(accepts(Some(app_id.clone()))),
            Guests::OfAll { transport, .. } => transport.handshake_of_any_application(accepts(None)),
        }
    }

    fn served(&self, guest: &Identity) -> Served {
        match &self.guests {
            Guests::Of { served, .. } => served.clone(),
            // Some ask for blocks of an application that has left nothing here.
            Guests::OfAll { sources, .. } => sources.source(&guest.app_id).unwrap_or_else(|| Arc::new(Nothing).into()),
        }
    }

    /// Gives a peer that has shown who it is its thread.
    pub fn start_connection(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, guest: Identity) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        let registered = stream.try_clone()?;
        // Held until the thread's handle is in its place, so that the thread's end cannot come before its entry.
        let mut connections = self.connections();
        if connections.open.len() >= self.most_connections && !connections.push_one_out() {
            let most = self.most_connections;
            return Err(io::Error::other(format!("{most} block connections are open, and all are being answered")));
        }
        let quiet = Arc::new(Quiet { origin: self.origin, since: AtomicU64::new(Quiet::BUSY) });
        let number = connections.next;
        connections.next += 1;
        let thread = {
            let (shared, quiet) = (self.clone(), quiet.clone());
            thread::Builder::new().name("block-serve".into()).stack_size(STACK_BYTES).spawn(move || {
                if let Err(e) = serve(&stream, &guest, &shared, &quiet) {
                    tracing::debug!(%peer, error = %e, "a block connection ended");
                }
                shared.connections().open.remove(&number);
            })?
        };
        connections.open.insert(number, Open { stream: registered, thread: Some(thread), quiet, pushed_out: false });
        Ok(())
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Closes the connection that has been quiet for longest; false when none is.
    fn push_one_out(&mut self) -> bool {
        let since = |open: &&mut Open| open.quiet.since.load(Ordering::Relaxed);
        let quiet = self.open.values_mut().filter(|open| !open.pushed_out && since(open) != Quiet::BUSY);
        let Some(longest) = quiet.min_by_key(since) else { return false };
        longest.pushed_out = true;
        // Fails when the peer has closed it: then it goes by itself.
        let _ = longest.stream.shutdown(Shutdown::Both);
        true
    }
}

/// Each has two descriptors, which are to be half of those that this process may have.
fn most_connections() -> usize {
    let most = firesteel_os::descriptors::limit().map_or(MAX_CONNECTIONS, |limit| (limit / 4) as usize);
    most.clamp(64, MAX_CONNECTIONS)
}

fn serve(stream: &TcpStream, guest: &Identity, shared: &Shared, quiet: &Quiet) -> io::Result<()> {
    // The peer may be idle, or busy with what it got, as long as it lives; keep-alive finds a dead host.
    answering::keep_alive(stream)?;
    let served = shared.served(guest);
    let result = answering::Answering::new(stream, guest.role, quiet).run(&served);
    // Ends the peer's wait also while the registry still holds a descriptor; fails when the peer has closed already.
    let _ = stream.shutdown(Shutdown::Both);
    result
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
