//! The handshake: the first messages of every connection, as machines without I/O.
//!
//! ```text
//!  opener                                   accepter
//!  Hello { version, role, app, nonce }  ──▶
//!                                       ◀──  Challenge { version, nonce }
//!  Proof { mac "client" }               ──▶
//!                                       ◀──  Verdict { accepted, mac "server" } or, at any point, Verdict { reason }
//! ```
//!
//! Both macs cover the service, both nonces, the role, the application and the version, with a label that says whose
//! mac it is: no mac can be sent back, and none fits another connection. The secret itself never travels. Nothing else
//! may be decoded from a connection before its machine has finished.
//!
//! The opener proves itself first: whoever connects without the secret gets nothing that a guess could be tried against,
//! but one answer for each connection. The other way about it cannot be had without a key exchange: somebody whom openers
//! take for the accepter, as by a changed name service, gets their proofs and can try guesses against those. A secret of
//! random bytes cannot be guessed at all; configuration that names a short one is warned of (`common::conf`).
//!
//! [`ClientHandshake`] and [`ServerHandshake`] are driven by `stream` for control streams, and by the block transfer
//! through [`blocking`] where it opens and [`Accepting`] where it accepts.

mod accepting;
pub mod blocking;
mod client;
mod server;
#[cfg(test)]
mod tests;
mod transcript;

pub use accepting::Accepting;
pub use client::{ClientHandshake, ClientStep};
pub use server::{Accepts, Identity, ServerHandshake, ServerStep};

use crate::proto::auth::{Handshake, Verdict, handshake::Step};

/// No handshake message is larger, encoded.
pub const MAX_HANDSHAKE_BYTES: usize = 1024;

/// No text that comes or goes with a refusal is longer, in characters.
const MAX_REASON: usize = 300;

/// Why two sides did not accept each other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// One side is of another version.
    #[error(
        "the other side speaks protocol version {theirs}, this one {ours}; run the same version of Firesteel on both"
    )]
    Version {
        /// This side's.
        ours: u32,
        /// The other's.
        theirs: u32,
    },
    /// Only this side has a secret.
    #[error("this side has a secret but the other has none; set spark.authenticate.secret on both")]
    OtherHasNoSecret,
    /// Only the other side has a secret.
    #[error("the other side asks for a secret but this one has none; set spark.authenticate.secret on both")]
    ThisHasNoSecret,
    /// The other side's proof does not fit.
    #[error("the secrets of the two sides differ; set the same spark.authenticate.secret on both")]
    WrongSecret,
    /// The peer's role or application does not belong on this connection.
    #[error("{0}")]
    NotAllowed(String),
    /// The other side said no.
    #[error("refused by the other side: {0}")]
    Refused(String),
    /// The other side does not follow the protocol.
    #[error("the other side does not speak Firesteel's protocol: {0}")]
    Protocol(String),
    /// The connection ended before the handshake did.
    #[error("the connection ended during the handshake: {0}")]
    Ended(String),
    /// This host has no random numbers to give.
    #[error("no random numbers: {0}")]
    Random(String),
}

impl HandshakeError {
    /// The message that tells the other side.
    pub fn refusal(&self) -> Handshake {
        // The receiver reads this: "this side" and "the other" change places.
        let reason = match self {
            HandshakeError::OtherHasNoSecret => HandshakeError::ThisHasNoSecret.to_string(),
            HandshakeError::ThisHasNoSecret => HandshakeError::OtherHasNoSecret.to_string(),
            HandshakeError::Version { ours, theirs } => {
                HandshakeError::Version { ours: *theirs, theirs: *ours }.to_string()
            }
            other => other.to_string(),
        };
        step(Step::Verdict(Verdict { accepted: false, reason: cut(&reason), mac: Vec::new() }))
    }

    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, HandshakeError::Ended(_) | HandshakeError::Random(_))
    }
}

fn step(step: Step) -> Handshake {
    Handshake { step: Some(step) }
}

/// The error for a message that does not belong here.
fn unexpected(awaited: &str, got: Handshake) -> HandshakeError {
    match got.step {
        Some(Step::Verdict(Verdict { accepted: false, reason, .. })) => HandshakeError::Refused(shortened(&reason)),
        other => {
            let got = match other {
                Some(Step::Hello(_)) => "a Hello",
                Some(Step::Challenge(_)) => "a Challenge",
                Some(Step::Proof(_)) => "a Proof",
                Some(Step::Verdict(_)) => "a Verdict",
                None => "something else",
            };
            HandshakeError::Protocol(format!("got {got} instead of {awaited}"))
        }
    }
}

/// Text of an unauthenticated peer, fit for a log line.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A reason that fits into a message, whatever it quotes.
fn cut(reason: &str) -> String {
    let mut end = reason.len().min(MAX_HANDSHAKE_BYTES - 64);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
