//! The block server: one thread that accepts, one thread a connection that answers its requests in order.
//!
//! Plain blocking threads: an answer is then one read, one `sendfile` and no hop between threads. A process has as many
//! as it has peers that fetch from it.

use std::{
    collections::HashMap,
    io::{self, PipeWriter},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use firesteel_rpc::{
    Role, Secret,
    handshake::{Accepts, HandshakeError, blocking},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{ApplicationSources, BlockData, BlockError, BlockId, BlockSource, answering, wire};

/// An opener that has not shown who it is by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// More connections than this at once are refused: each costs a thread.
const MAX_CONNECTIONS: usize = 4096;
/// A connection's thread only moves bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Serves the blocks of a [`BlockSource`] until it is dropped; dropping it closes its connections and ends its threads.
pub struct BlockServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    wake: Option<PipeWriter>,
    acceptor: Option<JoinHandle<()>>,
}

/// Who is let in, and what it finds.
enum Guests {
    /// Processes of one application that hold its key.
    Of { app_id: String, key: Option<Secret>, source: Arc<dyn BlockSource> },
    /// Processes of all applications, each with its key, which is derived from the secret.
    OfAll { secret: Option<Secret>, sources: Arc<dyn ApplicationSources> },
}

struct Shared {
    guests: Guests,
    stopping: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl BlockServer {
    /// Serves on `listener` whoever holds `key` and belongs to application `app_id`.
    pub fn start(
        listener: TcpListener,
        source: Arc<dyn BlockSource>,
        key: Option<Secret>,
        app_id: impl Into<String>,
    ) -> io::Result<BlockServer> {
        Self::serve(listener, Guests::Of { app_id: app_id.into(), key, source })
    }

    /// Serves on `listener` the processes of every application of which `sources` has something: each must hold the key
    /// that is derived from `secret` for its application.
    pub fn of_applications(
        listener: TcpListener,
        sources: Arc<dyn ApplicationSources>,
        secret: Option<Secret>,
    ) -> io::Result<BlockServer> {
        Self::serve(listener, Guests::OfAll { secret, sources })
    }

    fn serve(listener: TcpListener, guests: Guests) -> io::Result<BlockServer> {
        let address = listener.local_addr()?;
        // Whoever is ready in `poll` may have gone before `accept`.
        listener.set_nonblocking(true)?;
        let (wake_read, wake_write) = io::pipe()?;
        let shared = Arc::new(Shared { guests, stopping: AtomicBool::new(false), connections: Mutex::default() });
        let acceptor = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("block-accept".into())
                .stack_size(STACK_BYTES)
                .spawn(move || accept_loop(&listener, &wake_read, &shared))?
        };
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
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept_loop(listener: &TcpListener, wake: &io::PipeReader, shared: &Arc<Shared>) {
    loop {
        let mut ready =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return tracing::error!(error = %e, "the block server stops: it cannot wait for connections"),
        }
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        match listener.accept() {
            Ok((stream, peer)) => {
                if let Err(e) = start_connection(stream, peer, shared) {
                    tracing::warn!(%peer, error = %e, "a block connection was refused");
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => {
                // Out of descriptors, mostly: the backlog keeps the peer waiting until some are free again.
                tracing::warn!(error = %e, "cannot accept a block connection");
                let mut wake_only = [PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
                // Whatever it gives, the loop looks again.
                let _ = poll(&mut wake_only, 100u8);
            }
        }
    }
}

fn start_connection(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
    // An accepted socket does not inherit this on Linux; said all the same, the thread relies on it.
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let registered = stream.try_clone()?;
    // Held until the thread's handle is in its place, so that the thread's end cannot come before its entry.
    let mut connections = shared.connections();
    if connections.open.len() >= MAX_CONNECTIONS {
        return Err(io::Error::other(format!("{MAX_CONNECTIONS} block connections are open")));
    }
    let number = connections.next;
    connections.next += 1;
    let thread = {
        let shared = shared.clone();
        thread::Builder::new().name("block-serve".into()).stack_size(STACK_BYTES).spawn(move || {
            if let Err(e) = serve(stream, &shared) {
                tracing::debug!(%peer, error = %e, "a block connection ended");
            }
            shared.connections().open.remove(&number);
        })?
    };
    connections.open.insert(number, Open { stream: registered, thread: Some(thread) });
    Ok(())
}

fn serve(mut stream: TcpStream, shared: &Shared) -> Result<(), String> {
    let told = |e: io::Error| e.to_string();
    stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).map_err(told)?;
    stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT)).map_err(told)?;
    let roles = &[Role::Executor, Role::Driver, Role::Worker];
    let accepts = |app_id| Accepts { service: wire::SERVICE, roles, app_id };
    let accepted = match &shared.guests {
        Guests::Of { app_id, key, source } => {
            let accepts = accepts(Some(app_id.clone()));
            blocking::accept(&mut stream, accepts, key.as_ref()).map(|_| Some(source.clone()))
        }
        Guests::OfAll { secret, sources } => {
            let accepted = blocking::accept_any_application(&mut stream, accepts(None), secret.as_ref());
            accepted.map(|identity| sources.source(&identity.app_id))
        }
    };
    let source = match accepted {
        Ok(Some(source)) => source,
        // It asks for blocks of an application that has left nothing here.
        Ok(None) => Arc::new(Nothing),
        Err(e) => {
            // Not for a peer that merely looked whether the port is open.
            if !matches!(e, HandshakeError::Ended(_)) {
                tracing::warn!(peer = ?stream.peer_addr().ok(), error = %e, "refused a block connection");
            }
            return Err(e.to_string());
        }
    };
    // From here on the peer may be idle, or busy with what it got, as long as it lives; keep-alive finds a dead host.
    stream.set_read_timeout(None).map_err(told)?;
    stream.set_write_timeout(None).map_err(told)?;
    answering::keep_alive(&stream).map_err(told)?;
    let result = answering::Answering::new(&stream).run(source.as_ref()).map_err(told);
    // Ends the peer's wait also while the registry still holds a descriptor; fails when the peer has closed already.
    let _ = stream.shutdown(Shutdown::Both);
    result
}
