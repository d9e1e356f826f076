//! The side that accepts connections.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    marker::PhantomData,
    net::TcpListener,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tonic::{
    Request, Response, Status, Streaming,
    codegen::{BoxFuture, StdError, http},
    server::{NamedService, StreamingService},
};

use super::{
    DRAIN, HANDSHAKE, INBOX_MESSAGES, KEEP_ALIVE, QUEUE_MESSAGES, Service, WINDOW_BYTES, WireMessage,
    arrivals::Arrivals,
    codec::FrameCodec,
    door::{Badge, Door},
    duplex::{Duplex, Peer, Sender},
    link::{Link, Phase},
    outbound::Outbound,
    pump::{next_step, pump},
};
use crate::{
    MAX_MESSAGE_BYTES, RpcError, Transport,
    error::chain,
    handshake::{Accepts, HandshakeError, Identity, ServerHandshake, ServerStep},
};

/// Streams of one HTTP/2 connection at a time: one is what our clients open.
const STREAMS_PER_CONNECTION: u32 = 1;

/// Bound on the headers of a request, as HTTP/2 counts them; those of our clients take some 500 bytes.
const HEADER_BYTES: u32 = 8 << 10;

/// Serves `S` on `listener` until `shutdown` completes; then what is queued is sent and every connection closed.
/// With `app_id`, only peers of that application come in. `on_peer` is called, on a task of the runtime, once for
/// each peer that has passed the handshake; it must not block.
pub async fn serve<S: Service>(
    transport: &Transport,
    listener: TcpListener,
    app_id: Option<String>,
    on_peer: impl Fn(Duplex<S::ToServer, S::ToClient>) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RpcError> {
    let addr = listener.local_addr().map_or_else(|_| "an unknown address".to_owned(), |addr| addr.to_string());
    let listen = |source| RpcError::Listen { addr: addr.clone(), source };
    listener.set_nonblocking(true).map_err(listen)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(listen)?;
    let stopping = watch::Sender::new(false);
    let accepts = Accepts { service: S::NAME, roles: S::CLIENTS, app_id };
    let door = Arc::new(Door::new(S::NAME));
    let transport = transport.clone();
    let shared = Arc::new(Shared { accepts, transport, on_peer, door: door.clone(), stopping: stopping.subscribe() });
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_BYTES)
        .add_service(Acceptor::<S, _> { shared, service: PhantomData });
    let mut stopped = stopping.subscribe();
    let served = server.serve_with_incoming_shutdown(Arrivals::new(listener, door), async move {
        shutdown.await;
        stopping.send_replace(true);
    });
    let overdue = async {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(2 * DRAIN).await;
    };
    tokio::select! {
        result = served => result.map_err(|e| RpcError::Serve { addr: addr.clone(), reason: chain(&e) }),
        // Every stream is over by now; a connection that its peer keeps open without a stream is left to the runtime.
        () = overdue => Ok(()),
    }
}

struct Shared<F> {
    accepts: Accepts,
    transport: Transport,
    on_peer: F,
    door: Arc<Door>,
    stopping: watch::Receiver<bool>,
}

/// The service as tonic's router wants it.
struct Acceptor<S, F> {
    shared: Arc<Shared<F>>,
    service: PhantomData<S>,
}

impl<S, F> Clone for Acceptor<S, F> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), service: PhantomData }
    }
}

impl<S: Service, F> NamedService for Acceptor<S, F> {
    const NAME: &'static str = S::NAME;
}

impl<S, F, B> tonic::codegen::Service<http::Request<B>> for Acceptor<S, F>
where
    S: Service,
    F: Fn(Duplex<S::ToServer, S::ToClient>) + Send + Sync + 'static,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != S::PATH {
            let status = Status::unimplemented("this service has one method, Connect");
            return Box::pin(ready(Ok(status.into_http())));
        }
        let acceptor = self.clone();
        Box::pin(async move {
            let codec = FrameCodec::<S::ToClient>::new();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE_BYTES);
            Ok(grpc.streaming(acceptor, request).await)
        })
    }
}

type Outgoing<M> = tokio_stream::adapters::Map<Outbound<M>, fn(M) -> Result<M, Status>>;

impl<S, F> StreamingService<Bytes> for Acceptor<S, F>
where
    S: Service,
    F: Fn(Duplex<S::ToServer, S::ToClient>) + Send + Sync + 'static,
{
    type Response = S::ToClient;
    type ResponseStream = Outgoing<S::ToClient>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let Some(badge) = request.extensions().get::<Badge>().cloned() else {
            return ready(Err(Status::internal("the connection has no place at the door")));
        };
        let link = Arc::new(Link::accepted(badge.clone()));
        let (queue, queued) = mpsc::channel(QUEUE_MESSAGES);
        let outbound = Outbound::new(queued, link.clone());
        let tx = Sender::new(queue, link.clone());
        let (shared, inbound) = (self.shared.clone(), request.into_inner());
        tokio::spawn(async move {
            run::<S, F>(shared, inbound, tx, link, &badge).await;
            badge.over();
        });
        ready(Ok(Response::new(outbound.map(Ok))))
    }
}

/// One stream, from its first frame to its end.
async fn run<S, F>(
    shared: Arc<Shared<F>>,
    mut inbound: Streaming<Bytes>,
    tx: Sender<S::ToClient>,
    link: Arc<Link>,
    badge: &Badge,
) where
    S: Service,
    F: Fn(Duplex<S::ToServer, S::ToClient>) + Send + Sync + 'static,
{
    let mut stopping = shared.stopping.clone();
    let machine = shared.transport.handshake(shared.accepts.clone());
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(badge.patience(), shake(machine, &mut inbound, &tx, badge)) => shaken,
        _ = stopping.wait_for(|stop| *stop) => Ok(Err(HandshakeError::Ended("the server is shutting down".to_owned()))),
    };
    let failure = match shaken {
        Ok(Ok(identity)) => {
            let (decoded, rx) = mpsc::channel(INBOX_MESSAGES);
            let peer = Peer { role: identity.role, app_id: identity.app_id, addr: link.addr.clone() };
            (shared.on_peer)(Duplex { tx, rx, peer });
            let pumped = pump(inbound, decoded, link.clone());
            tokio::pin!(pumped);
            tokio::select! {
                () = &mut pumped => return,
                _ = stopping.wait_for(|stop| *stop) => link.end(Phase::Draining, "the server is shutting down"),
            }
            return pumped.await;
        }
        Ok(Err(e)) => e,
        Err(_) => HandshakeError::Ended(format!("no handshake within {HANDSHAKE:?}")),
    };
    if *stopping.borrow() {
        tracing::debug!(addr = %link.addr, service = S::NAME, "closed a new connection: the server is shutting down");
    } else {
        shared.door.log.refused(&link.addr, &failure);
    }
    // The refusal is a courtesy to a peer that may be gone already.
    let _ = tx.send(S::ToClient::from_handshake(failure.refusal()));
    tx.close("refused");
}

async fn shake<M: WireMessage>(
    mut machine: ServerHandshake,
    inbound: &mut Streaming<Bytes>,
    tx: &Sender<M>,
    badge: &Badge,
) -> Result<Identity, HandshakeError> {
    let send = |message| tx.send(M::from_handshake(message)).map_err(|e| HandshakeError::Ended(e.to_string()));
    loop {
        match machine.receive(next_step(inbound).await?)? {
            ServerStep::Send(message) => send(message)?,
            ServerStep::Finished { verdict, identity } => {
                if !badge.pass() {
                    return Err(HandshakeError::Ended("others wanted its place before it was through".to_owned()));
                }
                send(verdict)?;
                return Ok(identity);
            }
        }
    }
}
