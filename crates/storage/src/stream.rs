//! One connection to a block server, seen from the fetching side, and the pipelined stream of blocks over it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use firesteel_rpc::{
    Role, Secret,
    handshake::{HandshakeError, blocking},
};

use crate::{
    Abort, BlockClient, BlockError, BlockId, ClientConfig,
    wire::{self, HEADER_BYTES, Header, Status},
};

/// How often a wait for the peer looks whether it shall go on.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// No more is reserved for a block before its bytes arrive: the peer's word is not yet proven.
const MAX_RESERVED: usize = 1 << 30;

/// A connection past its handshake.
pub(crate) struct Connection {
    address: String,
    input: BufReader<TcpStream>,
    timeout: Duration,
}

impl Connection {
    /// Connects and shakes hands.
    pub fn open(
        address: &str,
        key: Option<&Secret>,
        app_id: &str,
        role: Role,
        config: &ClientConfig,
    ) -> Result<Connection, BlockError> {
        let failed = |e: io::Error| BlockError::Connect { address: address.to_owned(), message: e.to_string() };
        let mut stream = connect(address, config.connect_timeout).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(config.connect_timeout)).map_err(failed)?;
        stream.set_write_timeout(Some(config.network_timeout)).map_err(failed)?;
        blocking::open(&mut stream, wire::SERVICE, role, app_id, key).map_err(|e| match e {
            HandshakeError::Ended(message) => BlockError::Connect { address: address.to_owned(), message },
            e => BlockError::Handshake { address: address.to_owned(), message: e.to_string() },
        })?;
        stream.set_read_timeout(Some(LOOK_AROUND)).map_err(failed)?;
        let input = BufReader::with_capacity(64 * 1024, stream);
        Ok(Connection { address: address.to_owned(), input, timeout: config.network_timeout })
    }

    /// Whether an idle connection may still be used: the peer has neither closed it nor sent what nobody asked for.
    pub fn is_alive(&self) -> bool {
        let stream = self.input.get_ref();
        if !self.input.buffer().is_empty() || stream.set_nonblocking(true).is_err() {
            return false;
        }
        let idle = matches!(stream.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && idle
    }

    fn lost(&self, message: impl ToString) -> BlockError {
        BlockError::Lost { address: self.address.clone(), message: message.to_string() }
    }

    fn write(&mut self, requests: &[u8]) -> Result<(), BlockError> {
        self.input.get_mut().write_all(requests).map_err(|e| self.lost(e))
    }

    /// Decides after a read that brought nothing: go on, or give up. `since` is when bytes last came.
    fn waited(&self, e: &io::Error, since: Instant, abort: &Abort) -> Result<(), BlockError> {
        match e.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                if let Some(reason) = abort.reason() {
                    return Err(BlockError::Aborted { reason });
                }
                if since.elapsed() >= self.timeout {
                    return Err(BlockError::Silent { address: self.address.clone(), seconds: self.timeout.as_secs() });
                }
                Ok(())
            }
            _ => Err(self.lost(e)),
        }
    }

    fn read_header(&mut self, abort: &Abort) -> Result<Header, BlockError> {
        let mut bytes = [0; HEADER_BYTES];
        let mut filled = 0;
        let since = Instant::now();
        while filled < HEADER_BYTES {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => return Err(self.lost("closed by the peer")),
                Ok(n) => filled += n,
                Err(e) => self.waited(&e, since, abort)?,
            }
        }
        Header::decode(bytes).ok_or_else(|| BlockError::Protocol {
            address: self.address.clone(),
            message: "an answer of unknown kind".to_owned(),
        })
    }

    /// Reads so many bytes into `out`, which it overwrites.
    fn read_payload(&mut self, len: u64, out: &mut Vec<u8>, abort: &Abort) -> Result<(), BlockError> {
        let wanted = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_RESERVED);
        if out.capacity() < wanted {
            // Zeroed memory of the system costs nothing before bytes arrive for it.
            *out = vec![0; wanted];
        } else {
            out.resize(wanted, 0);
        }
        let mut filled = 0;
        let mut since = Instant::now();
        while (filled as u64) < len {
            if filled == out.len() {
                let left = usize::try_from(len - filled as u64).unwrap_or(usize::MAX);
                out.resize(filled + left.min(MAX_RESERVED), 0);
            }
            match self.input.read(&mut out[filled..]) {
                Ok(0) => return Err(self.lost("closed by the peer within a block")),
                Ok(n) => {
                    filled += n;
                    since = Instant::now();
                }
                Err(e) => self.waited(&e, since, abort)?,
            }
        }
        Ok(())
    }

    /// One whole answer: the block, checked, or why not.
    fn read_block(&mut self, id: BlockId, out: &mut Vec<u8>, abort: &Abort) -> Result<(), BlockError> {
        let header = self.read_header(abort)?;
        if header.status == Status::Failed {
            return Err(self.read_refusal(header, id, abort)?);
        }
        self.read_payload(header.len, out, abort)?;
        if header.status == Status::Checked {
            let actual = crc32c::crc32c(out);
            if actual != header.crc32c {
                let address = self.address.clone();
                return Err(BlockError::Corrupt { address, id, expected: header.crc32c, actual });
            }
        }
        Ok(())
    }

    /// The peer's reason as an error in `Ok`; `Err` when even that could not be read.
    fn read_refusal(&mut self, header: Header, id: BlockId, abort: &Abort) -> Result<BlockError, BlockError> {
        let address = self.address.clone();
        if header.len > 64 * 1024 {
            let message = format!("a refusal of {} bytes", header.len);
            return Err(BlockError::Protocol { address, message });
        }
        let mut text = Vec::new();
        self.read_payload(header.len, &mut text, abort)?;
        Ok(BlockError::Remote { address, id, message: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Asks for one block on a connection of which nothing else is awaited.
    pub fn fetch_once(&mut self, id: BlockId, out: &mut Vec<u8>, abort: &Abort) -> Result<(), BlockError> {
        let mut request = Vec::new();
        wire::encode_request(&id, &mut request);
        self.write(&request)?;
        self.read_block(id, out, abort)
    }

    fn copy_payload(&mut self, len: u64, abort: &Abort, out: &mut File, path: &Path) -> Result<(), BlockError> {
        let mut buffer = vec![0; 256 * 1024];
        let mut left = len;
        let mut since = Instant::now();
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match self.input.read(&mut buffer[..want]) {
                Ok(0) => return Err(self.lost("closed by the peer within a block")),
                Ok(n) => {
                    out.write_all(&buffer[..n]).map_err(|source| BlockError::File {
                        action: "write",
                        path: path.to_owned(),
                        source,
                    })?;
                    left -= n as u64;
                    since = Instant::now();
                    if let Some(reason) = abort.reason() {
                        return Err(BlockError::Aborted { reason });
                    }
                }
                Err(e) => self.waited(&e, since, abort)?,
            }
        }
        Ok(())
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

/// Blocks from one server, asked for ahead and answered in order.
///
/// What was asked for and not yet taken waits in the buffers of the two systems: they are the prefetch, and the peer is
/// slowed down by TCP when they are full. The caller bounds what it asks for ahead.
pub struct BlockStream {
    client: BlockClient,
    address: String,
    abort: Abort,
    connection: Option<Connection>,
    /// Requests that are not written yet.
    unsent: Vec<u8>,
    outstanding: VecDeque<BlockId>,
}

impl BlockStream {
    pub(crate) fn new(client: BlockClient, address: &str, abort: Abort) -> BlockStream {
        BlockStream {
            client,
            address: address.to_owned(),
            abort,
            connection: None,
            unsent: Vec::new(),
            outstanding: VecDeque::new(),
        }
    }

    /// Asks for a block; it is sent with the next [`BlockStream::flush`] or [`BlockStream::next_block`].
    pub fn request(&mut self, id: BlockId) {
        wire::encode_request(&id, &mut self.unsent);
        self.outstanding.push_back(id);
    }

    /// How many blocks were asked for and not yet taken.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Sends the requests made so far. An error shows again, for each block, in [`BlockStream::next_block`].
    pub fn flush(&mut self) {
        if let Err(e) = self.try_flush() {
            tracing::debug!(address = %self.address, error = %e, "block requests are not sent yet");
            self.disconnect();
        }
    }

    /// The next block that was asked for. One that arrives corrupt is fetched once more, over another connection; a
    /// connection that ends is opened once more.
    ///
    /// After an error the blocks asked for later can still be taken.
    pub fn next_block(&mut self) -> Result<Bytes, BlockError> {
        let mut out = Vec::new();
        self.next_into(&mut out).map(|()| Bytes::from(out))
    }

    /// As [`BlockStream::next_block`], into a buffer that serves block after block and is overwritten.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let result = match self.try_next(out) {
            // An idle connection may have ended unseen, a peer may have closed one of many: one more try, which fails
            // at once when the peer is gone.
            Err(e) if e.is_connection_lost() => {
                tracing::debug!(address = %self.address, error = %e, "block connection lost; connecting again");
                self.disconnect();
                self.try_next(out)
            }
            result => result,
        };
        self.settle(&result);
        match result {
            Err(e @ BlockError::Corrupt { id, .. }) => {
                tracing::warn!(address = %self.address, block = %id, error = %e, "fetching a corrupt block once more");
                self.client.refetch(&self.address, id, out, &self.abort)
            }
            result => result,
        }
    }

    /// Copies the next block that was asked for into `out`.
    pub(crate) fn copy_next(&mut self, out: &mut File, path: &Path, limit: u64) -> Result<u64, BlockError> {
        let result = self.try_copy(out, path, limit);
        self.settle(&result);
        result
    }

    fn try_copy(&mut self, out: &mut File, path: &Path, limit: u64) -> Result<u64, BlockError> {
        let header = match self.next_header() {
            Err(e) if e.is_connection_lost() => {
                self.disconnect();
                self.next_header()?
            }
            header => header?,
        };
        let id = self.front()?;
        if header.status != Status::Failed && header.len > limit {
            return Err(BlockError::TooLarge { address: self.address.clone(), id, size: header.len, limit });
        }
        let abort = self.abort.clone();
        let connection = self.connected()?;
        if header.status == Status::Failed {
            return Err(connection.read_refusal(header, id, &abort)?);
        }
        connection.copy_payload(header.len, &abort, out, path)?;
        Ok(header.len)
    }

    fn try_next(&mut self, out: &mut Vec<u8>) -> Result<(), BlockError> {
        let id = self.front()?;
        if let Some(reason) = self.abort.reason() {
            return Err(BlockError::Aborted { reason });
        }
        self.try_flush()?;
        let abort = self.abort.clone();
        self.connected()?.read_block(id, out, &abort)
    }

    fn front(&self) -> Result<BlockId, BlockError> {
        self.outstanding.front().copied().ok_or_else(|| BlockError::Protocol {
            address: self.address.clone(),
            message: "a block was taken that nobody asked for".to_owned(),
        })
    }

    fn next_header(&mut self) -> Result<Header, BlockError> {
        self.try_flush()?;
        let abort = self.abort.clone();
        self.connected()?.read_header(&abort)
    }

    fn connected(&mut self) -> Result<&mut Connection, BlockError> {
        if self.connection.is_none() {
            self.connection = Some(self.client.connect(&self.address)?);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| BlockError::Lost { address: self.address.clone(), message: "not connected".to_owned() })
    }

    fn try_flush(&mut self) -> Result<(), BlockError> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        let written = self.connected().and_then(|connection| connection.write(&unsent));
        self.unsent = unsent;
        if written.is_ok() {
            self.unsent.clear();
        }
        written
    }

    /// After the connection failed: whatever is outstanding must be asked for again.
    fn disconnect(&mut self) {
        self.connection = None;
        self.unsent.clear();
        for id in &self.outstanding {
            wire::encode_request(id, &mut self.unsent);
        }
    }

    /// Takes the front block off the list; after an error that leaves the connection in an unknown state, drops it.
    fn settle<T>(&mut self, result: &Result<T, BlockError>) {
        self.outstanding.pop_front();
        if !matches!(result, Ok(_) | Err(BlockError::Remote { .. } | BlockError::Corrupt { .. })) {
            self.disconnect();
        }
    }
}

impl Drop for BlockStream {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.outstanding.is_empty()
        {
            self.client.put_back(&self.address, connection);
        }
    }
}
