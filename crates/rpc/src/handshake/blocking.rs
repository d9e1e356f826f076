//! The opener's side of a handshake over a plain byte stream: each message with its length before it, a `u32` in little
//! endian.
//!
//! Called by the block transfer. Set the socket's read and write timeouts first: nothing here gives up by itself.

use std::io::{self, Read, Write};

use prost::Message;

use super::{ClientHandshake, ClientStep, HandshakeError, MAX_HANDSHAKE_BYTES};
use crate::{Role, Security, checked::decode, proto::auth::Handshake};

/// Opens: after `Ok` the stream carries what the two sides agreed on, starting with the next byte.
pub fn open(
    stream: &mut (impl Read + Write),
    service: &'static str,
    role: Role,
    app_id: &str,
    security: &Security,
) -> Result<(), HandshakeError> {
    let (mut machine, hello) = ClientHandshake::new(service, role, app_id, security)?;
    write(stream, &hello)?;
    while let ClientStep::Send(message) = machine.receive(read(stream)?)? {
        write(stream, &message)?;
    }
    Ok(())
}

fn ended(e: io::Error) -> HandshakeError {
    HandshakeError::Ended(match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the other side did not answer in time".to_owned(),
        _ => e.to_string(),
    })
}

fn write(stream: &mut impl Write, message: &Handshake) -> Result<(), HandshakeError> {
    stream.write_all(&framed(message)).and_then(|()| stream.flush()).map_err(ended)
}

/// A message as it goes over the stream.
pub(super) fn framed(message: &Handshake) -> Vec<u8> {
    let mut frame = (message.encoded_len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&message.encode_to_vec());
    frame
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
    decode(frame.as_slice()).map_err(|e| HandshakeError::Protocol(e.to_string()))
}
