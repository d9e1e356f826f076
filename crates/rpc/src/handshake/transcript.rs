//! What both proofs are computed over.

use super::HandshakeError;
use crate::{PROTOCOL_VERSION, Security};

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 32;

/// Whose proof.
#[derive(Clone, Copy)]
pub(super) enum Label {
    Server,
    Client,
}

/// What the two sides have said, from which each computes both proofs.
pub(super) struct Transcript {
    pub service: &'static str,
    pub role: String,
    pub app_id: String,
    pub client_nonce: Vec<u8>,
    pub server_nonce: Vec<u8>,
}

impl Transcript {
    fn parts<'a>(&'a self, label: Label, version: &'a [u8; 4]) -> [&'a [u8]; 7] {
        let label: &[u8] = match label {
            Label::Server => b"server",
            Label::Client => b"client",
        };
        [
            label,
            self.service.as_bytes(),
            version,
            self.role.as_bytes(),
            self.app_id.as_bytes(),
            &self.client_nonce,
            &self.server_nonce,
        ]
    }

    /// The proof; empty without a key.
    pub fn prove(&self, label: Label, security: &Security) -> Vec<u8> {
        security.prove(&self.parts(label, &PROTOCOL_VERSION.to_le_bytes()))
    }

    /// Checks a proof in constant time. Without a key any proof passes, as there is nothing to prove.
    pub fn verify(&self, label: Label, security: &Security, proof: &[u8]) -> Result<(), HandshakeError> {
        let proved = security.verify(&self.parts(label, &PROTOCOL_VERSION.to_le_bytes()), proof);
        proved.then_some(()).ok_or(HandshakeError::WrongSecret)
    }
}

/// Fresh random bytes.
pub(super) fn nonce() -> Result<Vec<u8>, HandshakeError> {
    let mut nonce = vec![0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|e| HandshakeError::Random(e.to_string()))?;
    Ok(nonce)
}

/// A peer's nonce has the length that a nonce has.
pub(super) fn check_nonce(nonce: &[u8]) -> Result<(), HandshakeError> {
    if nonce.len() == NONCE_BYTES {
        Ok(())
    } else {
        Err(HandshakeError::Protocol(format!("a nonce of {} bytes instead of {NONCE_BYTES}", nonce.len())))
    }
}

/// Both sides must have the same version, and both or none a key.
pub(super) fn check_terms(version: u32, authenticated: bool, security: &Security) -> Result<(), HandshakeError> {
    if version != PROTOCOL_VERSION {
        return Err(HandshakeError::Version { ours: PROTOCOL_VERSION, theirs: version });
    }
    match (authenticated, security.is_authenticated()) {
        (true, false) => Err(HandshakeError::ThisHasNoSecret),
        (false, true) => Err(HandshakeError::OtherHasNoSecret),
        _ => Ok(()),
    }
}
