//! The handshake over a plain byte stream: each message with its length before it, a `u32` in little endian.
//!
//! Called by the block transfer. Set the socket's read and write timeouts first: nothing here gives up by itself.

use std::io::{self, Read, Write};

use prost::Message;

use super::{
    Accepts, ClientHandshake, ClientStep, HandshakeError, Identity, MAX_HANDSHAKE_BYTES, ServerHandshake, ServerStep,
};
use crate::proto::auth::Handshake;
use crate::{Role, Secret};

/// Opens: after `Ok` the stream carries what the two sides agreed on, starting with the next byte.
pub fn open(
    stream: &mut (impl Read + Write),
    service: &'static str,
    role: Role,
    app_id: &str,
    key: Option<&Secret>,
) -> Result<(), HandshakeError> {
    let (mut machine, hello) = ClientHandshake::new(service, role, app_id, key)?;
    write(stream, &hello)?;
    while let ClientStep::Send(message) = machine.receive(read(stream)?)? {
        write(stream, &message)?;
    }
    Ok(())
}

/// Accepts: tells the opener why when it is refused.
pub fn accept(
    stream: &mut (impl Read + Write),
    accepts: Accepts,
    key: Option<&Secret>,
) -> Result<Identity, HandshakeError> {
    drive(stream, ServerHandshake::new(accepts, key))
}

/// As [`accept`], for a peer of any application; it must show the key that is derived from `secret` for the one that it
/// names.
pub fn accept_any_application(
    stream: &mut (impl Read + Write),
    accepts: Accepts,
    secret: Option<&Secret>,
) -> Result<Identity, HandshakeError> {
    drive(stream, ServerHandshake::of_any_application(accepts, secret))
}

fn drive(stream: &mut (impl Read + Write), mut machine: ServerHandshake) -> Result<Identity, HandshakeError> {
    loop {
        match machine.receive(read(stream)?) {
            Ok(ServerStep::Send(message)) => write(stream, &message)?,
            Ok(ServerStep::Finished { verdict, identity }) => {
                write(stream, &verdict)?;
                return Ok(identity);
            }
            Err(e) => {
                // The refusal is a courtesy: the opener may be gone, and `e` is the error that counts.
                let _ = write(stream, &e.refusal());
                return Err(e);
            }
        }
    }
}

fn ended(e: io::Error) -> HandshakeError {
    HandshakeError::Ended(match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the other side did not answer in time".to_owned(),
        _ => e.to_string(),
    })
}

fn write(stream: &mut impl Write, message: &Handshake) -> Result<(), HandshakeError> {
    let mut frame = (message.encoded_len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&message.encode_to_vec());
    stream.write_all(&frame).and_then(|()| stream.flush()).map_err(ended)
}

fn read(stream: &mut impl Read) -> Result<Handshake, HandshakeError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(ended)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HANDSHAKE_BYTES {
        return Err(HandshakeError::Protocol(format!("a first message of {length} bytes")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).map_err(ended)?;
    Handshake::decode(frame.as_slice()).map_err(|e| HandshakeError::Protocol(e.to_string()))
}
