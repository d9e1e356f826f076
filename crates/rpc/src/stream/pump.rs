//! The incoming half of a connection: frames in, decoded messages out, and the end noticed.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::{
    DRAIN, WireMessage,
    link::{Link, Phase},
};
use crate::{
    checked::{BadField, Checked, decode},
    handshake::{HandshakeError, MAX_HANDSHAKE_BYTES},
    proto::auth::Handshake,
};

/// The only field of a message that may be decoded before the handshake has finished.
#[derive(Clone, PartialEq, prost::Message)]
struct HandshakeOnly {
    #[prost(message, optional, tag = "1")]
    handshake: Option<Handshake>,
}

impl Checked for HandshakeOnly {
    fn check(&self) -> Result<(), BadField> {
        self.handshake.as_ref().map_or(Ok(()), Checked::check)
    }
}

/// Receives the peer's next step of the handshake, and nothing else.
pub(super) async fn next_step(inbound: &mut Streaming<Bytes>) -> Result<Handshake, HandshakeError> {
    let frame = match inbound.message().await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(HandshakeError::Ended("the other side has closed it".to_owned())),
        Err(status) => return Err(HandshakeError::Ended(status.message().to_owned())),
    };
    if frame.len() > MAX_HANDSHAKE_BYTES {
        return Err(HandshakeError::Protocol(format!("a first message of {} bytes", frame.len())));
    }
    #[expect(clippy::disallowed_methods, reason = "of the envelope this field alone, which is checked below")]
    let envelope = HandshakeOnly::decode(frame).map_err(|e| HandshakeError::Protocol(e.to_string()))?;
    envelope.check().map_err(|e| HandshakeError::Protocol(e.to_string()))?;
    envelope.handshake.ok_or_else(|| HandshakeError::Protocol("got a message before the handshake".to_owned()))
}

/// Decodes and hands on what arrives until the connection ends. On return `link` is draining at least, and `out` is
/// dropped, so that the receiver ends.
pub(super) async fn pump<In: WireMessage>(mut inbound: Streaming<Bytes>, out: mpsc::Sender<In>, link: Arc<Link>) {
    let mut out = Some(out);
    let ended = {
        let link = link.clone();
        async move {
            link.reached(Phase::Draining).await;
            // The peer answers the end of our direction with the end of its own; one that does not is left behind.
            tokio::select! {
                () = link.reached(Phase::Closed) => (),
                () = tokio::time::sleep(DRAIN) => (),
            }
        }
    };
    tokio::pin!(ended);
    loop {
        let frame = tokio::select! {
            biased;
            () = &mut ended => break,
            () = gone(&out) => {
                // Its owner has no use for the connection: what it has queued is still sent, what comes is dropped.
                link.end(Phase::Draining, "this side has ended the connection");
                out = None;
                continue;
            }
            frame = inbound.message() => frame,
        };
        let message = match frame {
            Ok(Some(frame)) => decode::<In>(frame),
            Ok(None) => {
                link.end(Phase::Draining, "the other side has ended the connection");
                break;
            }
            Err(status) => {
                link.end(Phase::Closed, format!("the connection was lost: {}", status.message()));
                break;
            }
        };
        match (message, &out) {
            (Ok(message), Some(to)) => tokio::select! {
                biased;
                // No place is awaited beyond the connection's end, and an error is the receiver's end: seen above.
                _ = to.send(message) => (),
                () = &mut ended => break,
            },
            (Ok(_), None) => (),
            (Err(e), _) => {
                link.end(Phase::Closed, format!("the other side sent what is no message: {e}"));
                break;
            }
        }
    }
}

/// Completes when the receiver was dropped; never again after that was seen.
async fn gone<In>(out: &Option<mpsc::Sender<In>>) {
    match out {
        Some(out) => out.closed().await,
        None => std::future::pending().await,
    }
}
