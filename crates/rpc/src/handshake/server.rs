//! The side that accepted the connection.

use super::{
    HandshakeError, shortened, step,
    transcript::{Label, Transcript, check_nonce, check_terms, nonce},
    unexpected,
};
use crate::{
    PROTOCOL_VERSION, Role, Security,
    proto::auth::{Challenge, Handshake, Hello, Verdict, handshake::Step},
};

/// Who may come in.
#[derive(Clone, Debug)]
pub struct Accepts {
    /// Name of the service, which the opener must mean too.
    pub service: &'static str,
    /// The roles that belong here.
    pub roles: &'static [Role],
    /// The one application that belongs here; absent: any, or none.
    pub app_id: Option<String>,
}

/// Who came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What the peer is.
    pub role: Role,
    /// Its application; empty outside one.
    pub app_id: String,
}

/// What to do after a message was handed in.
#[derive(Clone, PartialEq, Debug)]
pub enum ServerStep {
    /// Send this and wait for the answer.
    Send(Handshake),
    /// Send `verdict`; then the connection is the peer's.
    Finished {
        /// The last message of the handshake.
        verdict: Handshake,
        /// Who it is.
        identity: Identity,
    },
}

/// The accepter's machine: hand in every message that arrives. After an error, send its
/// [`refusal`](HandshakeError::refusal) and close.
pub struct ServerHandshake {
    security: Security,
    /// `security` is the cluster's: the peer must show the key of the application that it names.
    by_application: bool,
    accepts: Accepts,
    challenged: Option<(Transcript, Identity)>,
}

impl ServerHandshake {
    /// A machine for one connection.
    pub fn new(accepts: Accepts, security: &Security) -> Self {
        Self { security: security.clone(), by_application: false, accepts, challenged: None }
    }

    /// A machine for a connection that may be of any application: the peer must show the key that is derived from
    /// the secret of `security` for the one that it names.
    pub fn of_any_application(accepts: Accepts, security: &Security) -> Self {
        Self { by_application: true, ..Self::new(accepts, security) }
    }

    /// Takes the opener's next message.
    pub fn receive(&mut self, message: Handshake) -> Result<ServerStep, HandshakeError> {
        match (message.step, self.challenged.take()) {
            (Some(Step::Hello(hello)), None) => self.challenge(hello),
            (Some(Step::Proof(proof)), Some((transcript, identity))) => {
                transcript.verify(Label::Client, &self.security, &proof.mac)?;
                // Only now: before it, this side's proof would be something to try guesses against.
                let mac = transcript.prove(Label::Server, &self.security);
                let verdict = step(Step::Verdict(Verdict { accepted: true, reason: String::new(), mac }));
                Ok(ServerStep::Finished { verdict, identity })
            }
            (other, None) => Err(unexpected("a Hello", Handshake { step: other })),
            (other, Some(_)) => Err(unexpected("a Proof", Handshake { step: other })),
        }
    }

    fn challenge(&mut self, hello: Hello) -> Result<ServerStep, HandshakeError> {
        check_terms(hello.protocol_version, hello.authenticated, &self.security)?;
        check_nonce(&hello.nonce)?;
        let role = self.allowed(&hello)?;
        if std::mem::take(&mut self.by_application) {
            self.security = self.security.of_application(&hello.app_id);
        }
        let transcript = Transcript {
            service: self.accepts.service,
            role: hello.role,
            app_id: hello.app_id.clone(),
            client_nonce: hello.nonce,
            server_nonce: nonce()?,
        };
        let challenge = step(Step::Challenge(Challenge {
            protocol_version: PROTOCOL_VERSION,
            nonce: transcript.server_nonce.clone(),
            authenticated: self.security.is_authenticated(),
        }));
        self.challenged = Some((transcript, Identity { role, app_id: hello.app_id }));
        Ok(ServerStep::Send(challenge))
    }

    fn allowed(&self, hello: &Hello) -> Result<Role, HandshakeError> {
        let role = hello.role.parse::<Role>().map_err(|e| HandshakeError::NotAllowed(e.to_string()))?;
        if !self.accepts.roles.contains(&role) {
            let awaited: Vec<&str> = self.accepts.roles.iter().map(|role| role.as_str()).collect();
            return Err(HandshakeError::NotAllowed(format!(
                "a {role} has connected to a port that is for: {}; check the address",
                awaited.join(", ")
            )));
        }
        match &self.accepts.app_id {
            Some(app_id) if *app_id != hello.app_id => Err(HandshakeError::NotAllowed(format!(
                "a {role} of application {:?} has connected to application {app_id:?}",
                shortened(&hello.app_id)
            ))),
            _ => Ok(role),
        }
    }
}
