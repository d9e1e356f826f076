//! The listener: accepts, and has hyper serve each connection within its bounds.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use firesteel_machine::sleep_until;
use firesteel_rpc::{SparseLog, StrangerLimits};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tracing::{debug, info};

use crate::{Pages, answer::answer, guests::Guests};

/// Bytes of a request's line and headers; hyper takes none smaller.
const MOST_HEADER_BYTES: usize = 8 << 10;

/// Headers of a request.
const MOST_HEADERS: usize = 64;

/// How long nothing is accepted after that has failed: descriptors do not come back faster than they are closed.
const PAUSE: Duration = Duration::from_millis(100);

/// What those who come to a web port are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many there may be at once; of more, the oldest of the address that has most is closed.
    pub connections: usize,
    /// How long a request's line and headers may take from the connection on.
    pub header_patience: Duration,
    /// How long a connection lasts at most, however slowly its peer reads.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: 64, header_patience: Duration::from_secs(10), patience: Duration::from_secs(30) }
    }
}

/// Serves pages on `listener` for ever; what a single peer does wrong ends only its own connection. All connections end when
/// the future is dropped.
///
/// # Errors
/// When the listener cannot be waited for.
pub async fn serve<P: Pages>(listener: TcpListener, pages: P, limits: Limits) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    info!(url = format!("http://{}", listener.local_addr()?), "web port");
    let pages = Arc::new(pages);
    let log = SparseLog::new("web");
    let mut guests = Guests::new(StrangerLimits { most: limits.connections, patience: limits.patience });
    let mut paused_until: Option<Instant> = None;
    loop {
        let deadline = guests.deadline().into_iter().chain(paused_until).chain(log.next_deadline()).min();
        tokio::select! {
            accepted = listener.accept(), if paused_until.is_none() => match accepted {
                Ok((stream, from)) => guests.serve(from.ip(), connection(stream, pages.clone(), limits)),
                Err(error) => {
                    // Out of descriptors, mostly: the backlog keeps others waiting until there are some again.
                    log.not_accepted(error);
                    guests.push_one_out();
                    paused_until = Some(Instant::now() + PAUSE);
                }
            },
            () = guests.one_ended() => {}
            () = sleep_until(deadline) => {
                guests.close_overdue();
                paused_until.take_if(|until| *until <= Instant::now());
                if log.next_deadline().is_some_and(|due| due <= Instant::now()) {
                    log.catch_up();
                }
            }
        }
    }
}

/// One request and its response: a connection that is kept open would take the place of others.
async fn connection<P: Pages>(stream: TcpStream, pages: Arc<P>, limits: Limits) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request, &*pages).await) });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_patience)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection to the web port broke off");
    }
}
