//! One accepted block connection: requests in, blocks out, in order. Called by [`crate::BlockServer`].

use std::{
    fs::File,
    io::{self, BufReader, IoSlice, Read, Write},
    net::TcpStream,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::Arc,
};

use firesteel_common::BroadcastId;
use firesteel_rpc::Role;
use nix::{
    errno::Errno,
    sys::{
        sendfile::sendfile,
        socket::{MsgFlags, send, setsockopt, sockopt},
    },
};

use crate::{
    BlockData, BlockError, Question, Served,
    served::NotOffered,
    server::Quiet,
    wire::{self, HEADER_BYTES, Header, Request, Status},
};

/// Payloads up to this many bytes are copied into the answer buffer, larger ones go straight to the socket.
const SMALL: u64 = 16 * 1024;
/// So much of a payload is summed and sent at a time: the second finds it in the processor's cache.
const PIECE: usize = 256 * 1024;
/// The answer buffer is sent when it is this full.
const FLUSH_AT: usize = 256 * 1024;
/// No error text on the wire is longer.
const MAX_TEXT: usize = 4096;

/// Has the system probe an idle connection, so that a host that vanished is noticed within minutes.
pub(crate) fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &60)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &10)?;
    setsockopt(stream, sockopt::TcpKeepCount, &6)?;
    Ok(())
}

/// Answers the requests of one connection. Small answers share a write while more requests are already here.
pub(crate) struct Answering<'a> {
    stream: &'a TcpStream,
    /// What the peer is: not everybody may ask for everything.
    role: Role,
    out: Vec<u8>,
    quiet: &'a Quiet,
}

/// The bytes that a peer sends; for how long it has sent none is known.
struct Heard<'a> {
    stream: &'a TcpStream,
    quiet: &'a Quiet,
}

impl Read for Heard<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.quiet.waits();
        let read = self.stream.read(buf);
        self.quiet.works();
        read
    }
}

const REMOVES_NOTHING: NotOffered =
    NotOffered { does: "removes no shuffle files of others", who: "shuffle services do" };
const KEEPS_NO_COPIES: NotOffered = NotOffered { does: "keeps no copies", who: "executors do" };
const TAKES_NO_OUTPUTS: NotOffered = NotOffered { does: "takes no map outputs", who: "executors do" };
const HAS_NO_PIECES: NotOffered = NotOffered { does: "has no broadcast values", who: "a driver and its executors do" };
const KNOWS_NO_HOLDERS: NotOffered =
    NotOffered { does: "does not know who has broadcast values", who: "a driver does" };

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    NotForRole(#[from] NotForRole),
    #[error(transparent)]
    NotOffered(#[from] NotOffered),
    /// There is no such value, or no more.
    #[error("{0} is not here")]
    Unknown(BroadcastId),
}

/// The peer may not ask for this.
#[derive(Debug, thiserror::Error)]
#[error("only the role {only} may ask for this, not {role}")]
struct NotForRole {
    role: Role,
    only: Role,
}

impl<'a> Answering<'a> {
    pub fn new(stream: &'a TcpStream, role: Role, quiet: &'a Quiet) -> Self {
        Answering { stream, role, out: Vec::new(), quiet }
    }

    /// Runs until the peer closes.
    pub fn run(mut self, served: &Served) -> io::Result<()> {
        let mut requests = BufReader::with_capacity(16 * 1024, Heard { stream: self.stream, quiet: self.quiet });
        loop {
            if requests.buffer().is_empty() || self.out.len() >= FLUSH_AT {
                self.flush()?;
            }
            match wire::read_request(&mut requests)? {
                Some(Request::Block(id)) => {
                    let opened = served.blocks.open(&id).and_then(|data| self.check(data));
                    match opened {
                        Ok(data) => self.send(data)?,
                        Err(e) => self.refuse(&e),
                    }
                }
                Some(Request::Question(question)) => match self.answer_to(question, served) {
                    Ok(answer) => self.send(BlockData::Bytes(answer.into()))?,
                    Err(e) => self.refuse(&e),
                },
                Some(Request::RemoveShuffle(shuffle)) => {
                    self.done(Role::Driver, &served.files, REMOVES_NOTHING, |files| files.remove_shuffle(shuffle));
                }
                Some(Request::Replicate(id, level, from)) => {
                    self.done(Role::Executor, &served.replicas, KEEPS_NO_COPIES, |replicas| {
                        replicas.replicate(id, level, &from)
                    });
                }
                Some(Request::Adopt(shuffle, map_task, from)) => {
                    self.done(Role::Executor, &served.outputs, TAKES_NO_OUTPUTS, |outputs| {
                        outputs.adopt(shuffle, map_task, &from)
                    });
                }
                None => return self.flush(),
            }
        }
    }

    /// The answer to a question, which only executors have.
    fn answer_to(&self, question: Question, served: &Served) -> Result<Vec<u8>, Unanswered> {
        if self.role != Role::Executor {
            return Err(NotForRole { role: self.role, only: Role::Executor }.into());
        }
        match question {
            Question::Pieces { broadcast, known } => {
                let pieces = served.pieces.as_ref().ok_or(HAS_NO_PIECES)?.pieces(broadcast, known);
                pieces.map(|pieces| pieces.as_bytes().to_vec()).ok_or(Unanswered::Unknown(broadcast))
            }
            Question::Holders { broadcast, executor } => {
                let holders = served.holders.as_ref().ok_or(KNOWS_NO_HOLDERS)?.holders(broadcast, executor);
                holders.map(|holders| wire::encode_addresses(&holders)).ok_or(Unanswered::Unknown(broadcast))
            }
        }
    }

    /// Does what only a peer of this role may ask for, where it is offered, and answers whether it was done.
    fn done<T: ?Sized, E: std::error::Error>(
        &mut self,
        only: Role,
        offered: &Option<Arc<T>>,
        otherwise: NotOffered,
        act: impl FnOnce(&T) -> Result<(), E>,
    ) {
        if self.role != only {
            return self.refuse(&NotForRole { role: self.role, only });
        }
        match offered.as_deref().map(act) {
            Some(Ok(())) => self.header(Status::Unchecked, 0, 0),
            Some(Err(e)) => self.refuse(&e),
            None => self.refuse(&otherwise),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            (&mut &*self.stream).write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Finds a file that is too short before its length is promised.
    fn check(&self, data: BlockData) -> Result<BlockData, BlockError> {
        if let BlockData::File { file, path, offset, len, .. } = &data {
            let actual = file
                .metadata()
                .map_err(|source| BlockError::File { action: "look at", path: path.clone(), source })?
                .len();
            if offset.checked_add(*len).is_none_or(|end| end > actual) {
                let message = format!("{len} bytes at {offset} are wanted but it has {actual} bytes");
                return Err(BlockError::CorruptFile { path: path.clone(), message });
            }
        }
        Ok(data)
    }

    fn send(&mut self, data: BlockData) -> io::Result<()> {
        let len = data.len();
        match data {
            BlockData::Bytes(bytes) if len <= SMALL => self.send_as(Status::Checked, &bytes, crc32c::crc32c(&bytes)),
            BlockData::Bytes(bytes) => {
                self.header(Status::CheckedAfter, len, 0);
                self.send_summed(&bytes)
            }
            BlockData::Unchecked(bytes) => self.send_as(Status::Unchecked, &bytes, 0),
            BlockData::Summed { bytes, crc32c } => self.send_as(Status::Checked, &bytes, crc32c),
            BlockData::File { file, path, offset, crc32c, .. } => {
                let status = if crc32c.is_some() { Status::Checked } else { Status::Unchecked };
                self.header(status, len, crc32c.unwrap_or(0));
                if len <= SMALL {
                    let start = self.out.len();
                    self.out.resize(start + len as usize, 0);
                    if let Err(source) = file.read_exact_at(&mut self.out[start..], offset) {
                        self.out.truncate(start - HEADER_BYTES);
                        self.refuse(&BlockError::File { action: "read", path, source });
                    }
                    return Ok(());
                }
                self.flush_with_more()?;
                self.send_file(&file, offset, len)
            }
        }
    }

    /// A payload behind its header.
    fn send_as(&mut self, status: Status, bytes: &[u8], crc32c: u32) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.header(status, len, crc32c);
        if len <= SMALL {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        self.send_with(bytes, &[])
    }

    /// A payload, and then its checksum, which comes to be while it is sent.
    fn send_summed(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut crc, mut left) = (0, bytes);
        while left.len() > PIECE {
            let (piece, rest) = left.split_at(PIECE);
            crc = crc32c::crc32c_append(crc, piece);
            self.send_with(piece, &[])?;
            left = rest;
        }
        crc = crc32c::crc32c_append(crc, left);
        self.send_with(left, &crc.to_le_bytes())
    }

    /// What waits to be sent, then these, in one write: a header of its own would wake the peer for nothing.
    fn send_with(&mut self, bytes: &[u8], end: &[u8]) -> io::Result<()> {
        let mut parts = [IoSlice::new(&self.out), IoSlice::new(bytes), IoSlice::new(end)];
        let mut parts = &mut parts[..];
        // Drops the empty ones.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match (&mut &*self.stream).write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut parts, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        Ok(())
    }

    /// As `flush`, but the system may wait for what comes next and send both together.
    fn flush_with_more(&mut self) -> io::Result<()> {
        let flags = MsgFlags::from_bits_retain(nix::libc::MSG_MORE) | MsgFlags::MSG_NOSIGNAL;
        let mut left = &self.out[..];
        while !left.is_empty() {
            match send(self.stream.as_raw_fd(), left, flags) {
                Ok(n) => left = &left[n..],
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.out.clear();
        Ok(())
    }

    fn send_file(&self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        let too_far = |_| io::Error::other("an offset beyond what the system can address");
        let mut at = i64::try_from(offset).map_err(too_far)?;
        let end = i64::try_from(offset + len).map_err(too_far)?;
        while at < end {
            let left = (end - at) as usize;
            match sendfile(self.stream, file, Some(&mut at), left) {
                Ok(0) => return Err(io::Error::other("the file was cut off while it was sent")),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        while text.len() > MAX_TEXT {
            text.pop();
        }
        self.header(Status::Failed, text.len() as u64, 0);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn header(&mut self, status: Status, len: u64, crc32c: u32) {
        self.out.extend_from_slice(&Header { status, len, crc32c }.encode());
    }
}
