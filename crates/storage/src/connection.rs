//! One connection to a block server, past its handshake, seen from the fetching side. Called by [`crate::BlockStream`].

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::{Duration, Instant},
};

use firesteel_common::ShuffleId;
use firesteel_rpc::{
    Role, Secret,
    handshake::{HandshakeError, blocking},
};

use crate::{
    Abort, BlockError, BlockId, ClientConfig,
    wire::{self, HEADER_BYTES, Header, Status},
};

/// How often a wait for the peer looks whether it shall go on.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// No more is reserved for a block before its bytes arrive: the peer's word is not yet proven.
const MAX_RESERVED: usize = 1 << 30;
/// No refusal is longer.
const MAX_REFUSAL: u64 = 64 * 1024;

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

    pub fn write(&mut self, requests: &[u8]) -> Result<(), BlockError> {
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

    pub fn read_header(&mut self, abort: &Abort) -> Result<Header, BlockError> {
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
    pub fn read_block(&mut self, id: BlockId, out: &mut Vec<u8>, abort: &Abort) -> Result<(), BlockError> {
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
    pub fn read_refusal(&mut self, header: Header, id: BlockId, abort: &Abort) -> Result<BlockError, BlockError> {
        let address = self.address.clone();
        if header.len > MAX_REFUSAL {
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

    /// Asks for the end of a shuffle's files, on a connection of which nothing else is awaited.
    pub fn remove_shuffle(&mut self, shuffle: ShuffleId, abort: &Abort) -> Result<(), BlockError> {
        let mut request = Vec::new();
        wire::encode_remove_shuffle(shuffle, &mut request);
        self.write(&request)?;
        let header = self.read_header(abort)?;
        let message = match (header.status, header.len) {
            (Status::Checked | Status::Unchecked, 0) => return Ok(()),
            (Status::Failed, len) if len <= MAX_REFUSAL => {
                let mut text = Vec::new();
                self.read_payload(len, &mut text, abort)?;
                String::from_utf8_lossy(&text).into_owned()
            }
            (_, len) => format!("an answer of {len} bytes where none is due"),
        };
        Err(BlockError::NotRemoved { address: self.address.clone(), message })
    }

    pub fn copy_payload(&mut self, len: u64, abort: &Abort, out: &mut File, path: &Path) -> Result<(), BlockError> {
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
