//! The side that opened the connection.

use super::{
    HandshakeError, step,
    transcript::{Label, Transcript, check_nonce, check_terms, nonce},
    unexpected,
};
use crate::{
    PROTOCOL_VERSION, Role, Security,
    proto::auth::{Handshake, Hello, Proof, Verdict, handshake::Step},
};

/// What to do after a message was handed in.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientStep {
    /// Send this and wait for the answer.
    Send(Handshake),
    /// The two sides accept each other.
    Finished,
}

/// The opener's machine: send what [`ClientHandshake::new`] gives, then hand in every message that arrives.
pub struct ClientHandshake {
    security: Security,
    transcript: Transcript,
    proved: bool,
}

impl ClientHandshake {
    /// Starts a handshake for `service`, a name that both sides know; returns the first message to send.
    /// `app_id` is empty outside an application.
    pub fn new(
        service: &'static str,
        role: Role,
        app_id: &str,
        security: &Security,
    ) -> Result<(Self, Handshake), HandshakeError> {
        let transcript = Transcript {
            service,
            role: role.as_str().to_owned(),
            app_id: app_id.to_owned(),
            client_nonce: nonce()?,
            server_nonce: Vec::new(),
        };
        let hello = step(Step::Hello(Hello {
            protocol_version: PROTOCOL_VERSION,
            role: transcript.role.clone(),
            app_id: transcript.app_id.clone(),
            nonce: transcript.client_nonce.clone(),
            authenticated: security.is_authenticated(),
        }));
        Ok((Self { security: security.clone(), transcript, proved: false }, hello))
    }

    /// Takes the accepter's next message. After an error the connection must be closed.
    pub fn receive(&mut self, message: Handshake) -> Result<ClientStep, HandshakeError> {
        match message.step {
            Some(Step::Challenge(challenge)) if !self.proved => {
                check_terms(challenge.protocol_version, challenge.authenticated, &self.security)?;
                check_nonce(&challenge.nonce)?;
                self.transcript.server_nonce = challenge.nonce;
                self.proved = true;
                let mac = self.transcript.prove(Label::Client, &self.security);
                Ok(ClientStep::Send(step(Step::Proof(Proof { mac }))))
            }
            Some(Step::Verdict(Verdict { accepted: true, mac, .. })) if self.proved => {
                self.transcript.verify(Label::Server, &self.security, &mac)?;
                Ok(ClientStep::Finished)
            }
            other => Err(unexpected(if self.proved { "a Verdict" } else { "a Challenge" }, Handshake { step: other })),
        }
    }
}
