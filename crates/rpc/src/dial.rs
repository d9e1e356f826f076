//! Connections that block, for blocks: opened past their handshake here, accepted by whoever has a port for them.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Role, Transport,
    handshake::{Accepts, HandshakeError, ServerHandshake, blocking},
};

/// How long to wait before each further attempt, after a connection that stood has ended before its handshake did: where
/// many come at once, the server closes the oldest.
const CROWDED: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(250)];

/// A connection could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It did not come about, or broke.
    #[error(transparent)]
    Connect(#[from] io::Error),
    /// It stood, but the two sides did not accept each other.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl Transport {
    /// Connects to `service` at `address` (`host:port`) and passes the handshake, all within the time for a connection; the
    /// stream's next byte is the service's. Its reads and writes time out as a connection's and an answer's do.
    ///
    /// # Errors
    /// [`HandshakeError::Ended`] when it was closed before it was let in; that may pass.
    pub fn dial(&self, address: &str, service: &'static str, role: Role, app_id: &str) -> Result<TcpStream, DialError> {
        let (since, mut waits) = (Instant::now(), CROWDED.iter());
        loop {
            let mut stream = connect(address, self.connect_timeout())?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.connect_timeout()))?;
            stream.set_write_timeout(Some(self.network_timeout()))?;
            match (blocking::open(&mut stream, service, role, app_id, self.security()), waits.next()) {
                (Ok(()), _) => return Ok(stream),
                (Err(HandshakeError::Ended(_)), Some(wait)) if since.elapsed() + *wait < self.connect_timeout() => {
                    thread::sleep(*wait);
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
    }

    /// The accepting side's machine for one connection of those whom `accepts` lets in.
    pub fn handshake(&self, accepts: Accepts) -> ServerHandshake {
        ServerHandshake::new(accepts, self.security())
    }

    /// As [`Transport::handshake`], for a service of all applications: the peer must show the key of the one that it names.
    pub fn handshake_of_any_application(&self, accepts: Accepts) -> ServerHandshake {
        ServerHandshake::of_any_application(accepts, self.security())
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = None;
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
}
