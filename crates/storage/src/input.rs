//! What comes over a block connection. Called by [`crate::connection`].

use std::{
    io::{self, IoSliceMut, Read},
    net::TcpStream,
};

/// Blocks up to this many bytes come many at a time.
const SMALL: u64 = 16 * 1024;
/// Read beyond what is asked for while blocks are small.
const AHEAD_OF_SMALL: usize = 64 * 1024;
/// Read beyond what is asked for while they are not: the next header, and little that must be copied once more.
const AHEAD: usize = 2 * 1024;

/// A socket, and what was read from it beyond what was asked for.
pub(crate) struct Input {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    ahead: usize,
}

impl Input {
    pub fn new(stream: TcpStream) -> Input {
        Input { stream, buffer: vec![0; AHEAD_OF_SMALL].into(), start: 0, end: 0, ahead: AHEAD }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether nothing was read that nobody asked for yet.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// A block of `len` bytes comes next, and likely more of its kind.
    pub fn expect(&mut self, len: u64) {
        self.ahead = if len <= SMALL { AHEAD_OF_SMALL } else { AHEAD };
    }

    /// Bytes for `room`, straight from the socket when none are here.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.is_empty() { self.stream.read(room) } else { Ok(self.take(room)) }
    }

    /// As [`Input::read`]; what comes with them and does not fit is kept.
    pub fn read_and_ahead(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if !self.is_empty() {
            return Ok(self.take(room));
        }
        let wanted = room.len();
        let mut parts = [IoSliceMut::new(room), IoSliceMut::new(&mut self.buffer[..self.ahead])];
        let came = self.stream.read_vectored(&mut parts)?;
        (self.start, self.end) = (0, came.saturating_sub(wanted));
        Ok(came.min(wanted))
    }

    fn take(&mut self, room: &mut [u8]) -> usize {
        let n = room.len().min(self.end - self.start);
        room[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        n
    }
}
