//! Rules of `auth.proto`.

use super::{BadField, Checked, app_id, at_most, nested, none_or, number, optional, or_none, rules, said};
use crate::proto::auth::{Challenge, Handshake, Hello, Proof, Verdict, handshake::Step};

/// Bytes of a nonce, and of a mac; each may be absent where there is no secret.
const HASH: usize = 32;

rules! {
    Handshake { step: optional(nested) }
    Hello {
        protocol_version: number,
        role: at_most(16),
        app_id: or_none(app_id),
        nonce: none_or(HASH),
        authenticated: number,
    }
    Challenge { protocol_version: number, nonce: none_or(HASH), authenticated: number }
    Proof { mac: none_or(HASH) }
    Verdict { accepted: number, reason: said, mac: none_or(HASH) }
}

impl Checked for Step {
    fn check(&self) -> Result<(), BadField> {
        match self {
            Step::Hello(m) => m.check(),
            Step::Challenge(m) => m.check(),
            Step::Proof(m) => m.check(),
            Step::Verdict(m) => m.check(),
        }
    }
}
