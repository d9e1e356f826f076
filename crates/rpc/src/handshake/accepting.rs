//! The accepter's side of a handshake over a byte stream that does not block: each message with its length before it, a
//! `u32` in little endian. Called by the block server for each connection that it has not let in yet.

use std::io::{self, Read, Write};

use super::{HandshakeError, Identity, MAX_HANDSHAKE_BYTES, ServerHandshake, ServerStep, blocking::framed};
use crate::{checked::decode, proto::auth::Handshake};

/// Bytes of the length before a message.
const LENGTH: usize = 4;

/// One connection's handshake, as far as it has come. It holds no more than one message, and reads no byte beyond the last.
pub struct Accepting {
    machine: ServerHandshake,
    /// What has come of the next message and its length.
    got: Vec<u8>,
}

impl Accepting {
    /// Nothing has come yet.
    pub fn new(machine: ServerHandshake) -> Accepting {
        Accepting { machine, got: Vec::new() }
    }

    /// Goes on with what the stream has; `None` when more must come first. After `Some` the stream is the peer's, from the
    /// next byte on. An error has been told to the peer, as far as it takes it.
    pub fn advance(&mut self, stream: &mut (impl Read + Write)) -> Result<Option<Identity>, HandshakeError> {
        let result = self.step(stream);
        if let Err(e) = &result {
            // The refusal is a courtesy: the peer may be gone, and `e` is the error that counts.
            let _ = stream.write_all(&framed(&e.refusal()));
        }
        result
    }

    fn step(&mut self, stream: &mut (impl Read + Write)) -> Result<Option<Identity>, HandshakeError> {
        while self.fill(stream)? {
            let message = decode::<Handshake>(&self.got[LENGTH..]);
            let message = message.map_err(|e| HandshakeError::Protocol(e.to_string()))?;
            self.got.clear();
            let (answer, identity) = match self.machine.receive(message)? {
                ServerStep::Send(answer) => (answer, None),
                ServerStep::Finished { verdict, identity } => (verdict, Some(identity)),
            };
            // A few dozen bytes: a peer whose window does not take them is none.
            stream.write_all(&framed(&answer)).map_err(|e| HandshakeError::Ended(e.to_string()))?;
            if identity.is_some() {
                return Ok(identity);
            }
        }
        Ok(None)
    }

    /// Reads on; true when a message is whole.
    fn fill(&mut self, stream: &mut impl Read) -> Result<bool, HandshakeError> {
        loop {
            let wanted = match self.got.first_chunk::<LENGTH>() {
                Some(length) => LENGTH + u32::from_le_bytes(*length) as usize,
                None => LENGTH,
            };
            if wanted > LENGTH + MAX_HANDSHAKE_BYTES {
                return Err(HandshakeError::Protocol(format!("a first message of {} bytes", wanted - LENGTH)));
            }
            if self.got.len() == wanted && wanted > LENGTH {
                return Ok(true);
            }
            if wanted == LENGTH && self.got.len() == LENGTH {
                return Err(HandshakeError::Protocol("a first message without content".to_owned()));
            }
            let mut piece = [0; 256];
            let room = (wanted - self.got.len()).min(piece.len());
            match stream.read(&mut piece[..room]) {
                Ok(0) => return Err(HandshakeError::Ended("closed by the other side".to_owned())),
                Ok(n) => self.got.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(HandshakeError::Ended(e.to_string())),
            }
        }
    }
}
