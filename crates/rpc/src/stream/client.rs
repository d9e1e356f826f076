//! The side that opens a connection.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::{
    Streaming,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use super::{
    INBOX_MESSAGES, KEEP_ALIVE, QUEUE_MESSAGES, Service, WINDOW_BYTES, WireMessage,
    codec::FrameCodec,
    duplex::{Duplex, Peer, Sender},
    link::{Link, Phase},
    outbound::Outbound,
    pump::{next_step, pump},
};
use crate::{
    MAX_MESSAGE_BYTES, Role, RpcError, Transport,
    error::chain,
    handshake::{ClientHandshake, ClientStep, HandshakeError},
};

/// How long to wait before each further attempt, after a connection that stood has ended before its handshake did: where
/// many come at once, the accepter closes the oldest.
const CROWDED: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(1000)];

/// Connects to the service `S` at `addr` (`host:port`) and passes the handshake, all within the time for a connection.
pub async fn connect<S: Service>(
    transport: &Transport,
    addr: &str,
    role: Role,
    app_id: &str,
) -> Result<Duplex<S::ToClient, S::ToServer>, RpcError> {
    let attempts = async {
        let mut waits = CROWDED.iter();
        loop {
            match (attempt::<S>(transport, addr, role, app_id).await, waits.next()) {
                (Err(RpcError::Handshake { source: HandshakeError::Ended(_), .. }), Some(wait)) => {
                    tokio::time::sleep(*wait).await;
                }
                (result, _) => return result,
            }
        }
    };
    let timeout = transport.connect_timeout();
    match tokio::time::timeout(timeout, attempts).await {
        Ok(result) => result,
        Err(_) => Err(RpcError::Timeout { addr: addr.to_owned(), after: timeout }),
    }
}

async fn attempt<S: Service>(
    transport: &Transport,
    addr: &str,
    role: Role,
    app_id: &str,
) -> Result<Duplex<S::ToClient, S::ToServer>, RpcError> {
    let channel = channel(addr, transport.connect_timeout()).await?;
    let link = Arc::new(Link::new(addr.to_owned()));
    let (queue, queued) = mpsc::channel(QUEUE_MESSAGES);
    let tx = Sender::<S::ToServer>::new(queue, link.clone());
    let failed = |source: HandshakeError| RpcError::Handshake { addr: addr.to_owned(), source };
    let (machine, hello) = ClientHandshake::new(S::NAME, role, app_id, transport.security()).map_err(failed)?;
    let sent = |e: crate::SendError| failed(HandshakeError::Ended(e.to_string()));
    tx.send(S::ToServer::from_handshake(hello)).map_err(sent)?;

    let mut grpc = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let lost = |reason: String| failed(HandshakeError::Ended(reason));
    grpc.ready().await.map_err(|e| lost(chain(&e)))?;
    let outbound = Outbound::new(queued, link.clone());
    let response = grpc
        .streaming(tonic::Request::new(outbound), PathAndQuery::from_static(S::PATH), FrameCodec::<S::ToServer>::new())
        .await
        .map_err(|status| lost(status.message().to_owned()))?;
    let mut inbound = response.into_inner();
    if let Err(e) = shake(machine, &mut inbound, &tx).await {
        link.end(Phase::Closed, e.to_string());
        return Err(failed(e));
    }
    let (decoded, rx) = mpsc::channel(INBOX_MESSAGES);
    tokio::spawn(async move {
        pump(inbound, decoded, link).await;
        // Only now: without a handle to it the connection would be closed.
        drop(channel);
    });
    let peer = Peer { role: S::SERVER, app_id: app_id.to_owned(), addr: addr.to_owned() };
    Ok(Duplex { tx, rx, peer })
}

async fn channel(addr: &str, timeout: Duration) -> Result<Channel, RpcError> {
    let bad = |reason: String| RpcError::BadAddress { addr: addr.to_owned(), reason };
    if addr.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
        return Err(bad("host or port is missing".to_owned()));
    }
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|e| bad(chain(&e)))?;
    endpoint
        .tcp_nodelay(true)
        .connect_timeout(timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .connect()
        .await
        .map_err(|e| RpcError::Connect { addr: addr.to_owned(), reason: chain(&e) })
}

async fn shake<M: WireMessage>(
    mut machine: ClientHandshake,
    inbound: &mut Streaming<Bytes>,
    tx: &Sender<M>,
) -> Result<(), HandshakeError> {
    loop {
        match machine.receive(next_step(inbound).await?)? {
            ClientStep::Send(message) => {
                tx.send(M::from_handshake(message)).map_err(|e| HandshakeError::Ended(e.to_string()))?;
            }
            ClientStep::Finished => return Ok(()),
        }
    }
}
