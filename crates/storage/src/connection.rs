//! One connection to a block server, past its handshake, seen from the fetching side. Called by [`crate::BlockStream`].

use std::{
    fs::File,
    io::{self, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use firesteel_common::{ShuffleId, TaskId};
use firesteel_rpc::{DialError, handshake::HandshakeError};

use crate::{
    Abort, BlockBuffer, BlockError, BlockId, Question, ScratchFile, StorageLevel,
    input::Input,
    wire::{self, HEADER_BYTES, Header, Status},
};

/// How often a wait for the peer looks whether it shall go on.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// No more is reserved for a block before its bytes arrive: the peer's word is not yet proven.
const MAX_RESERVED: usize = 1 << 30;
/// So much is read at a time, and checked while it is in the processor's cache.
const PIECE: usize = 256 * 1024;
/// No answer to a question is longer: a bit for each piece, or a few addresses.
const MAX_ANSWER: u64 = 1 << 20;
/// No refusal is longer.
const MAX_REFUSAL: u64 = 64 * 1024;

/// Makes the file for a block of so many bytes.
pub(crate) type MakeFile<'a> = &'a mut dyn FnMut(u64) -> Result<ScratchFile, BlockError>;

/// Where a block goes.
pub(crate) struct Target<'a> {
    /// Usually here.
    pub memory: &'a mut BlockBuffer,
    /// A block of more bytes than this goes to a file.
    pub large: Option<(u64, MakeFile<'a>)>,
    /// Where the block is, when it is not in `memory`.
    pub in_file: Option<ScratchFile>,
    /// Whether `crc32c` is wanted also of a block that comes without.
    pub sum: bool,
    /// CRC-32C of the bytes that came, when it was computed.
    pub crc32c: u32,
}

impl<'a> Target<'a> {
    /// Memory, whatever the size.
    pub fn memory(memory: &'a mut BlockBuffer) -> Target<'a> {
        Target { memory, large: None, in_file: None, sum: false, crc32c: 0 }
    }
}

/// A connection past its handshake.
pub(crate) struct Connection {
    address: String,
    input: Input,
    timeout: Duration,
}

impl Connection {
    /// Of a stream past its handshake, whose peer may owe an answer for so long.
    pub fn new(address: &str, stream: TcpStream, timeout: Duration) -> Result<Connection, BlockError> {
        stream.set_read_timeout(Some(LOOK_AROUND)).map_err(|e| not_connected(address, &e.into()))?;
        Ok(Connection { address: address.to_owned(), input: Input::new(stream), timeout })
    }

    /// Whether an idle connection may still be used: the peer has neither closed it nor sent what nobody asked for.
    pub fn is_alive(&self) -> bool {
        let stream = self.input.stream();
        if !self.input.is_empty() || stream.set_nonblocking(true).is_err() {
            return false;
        }
        let idle = matches!(stream.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_ok() && idle
    }

    fn lost(&self, message: impl ToString) -> BlockError {
        BlockError::Lost { address: self.address.clone(), message: message.to_string() }
    }

    pub fn write(&mut self, requests: &[u8]) -> Result<(), BlockError> {
        self.input.stream().write_all(requests).map_err(|e| self.lost(e))
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
        let header = Header::decode(self.read_bytes::<HEADER_BYTES>(abort)?).ok_or_else(|| BlockError::Protocol {
            address: self.address.clone(),
            message: "an answer of unknown kind".to_owned(),
        })?;
        self.input.expect(header.len);
        Ok(header)
    }

    fn read_bytes<const N: usize>(&mut self, abort: &Abort) -> Result<[u8; N], BlockError> {
        let mut bytes = [0; N];
        let mut filled = 0;
        let since = Instant::now();
        while filled < N {
            match self.input.read_and_ahead(&mut bytes[filled..]) {
                Ok(0) => return Err(self.lost("closed by the peer")),
                Ok(n) => filled += n,
                Err(e) => self.waited(&e, since, abort)?,
            }
        }
        Ok(bytes)
    }

    /// What the payload's CRC-32C has to be, if that is known; read after the payload.
    pub fn read_checksum(&mut self, header: Header, abort: &Abort) -> Result<Option<u32>, BlockError> {
        Ok(match header.status {
            Status::Checked => Some(header.crc32c),
            Status::CheckedAfter => Some(u32::from_le_bytes(self.read_bytes(abort)?)),
            Status::Unchecked | Status::Failed => None,
        })
    }

    /// Reads so many bytes into `out`, which it overwrites, and returns their CRC-32C if it is to `sum` them.
    fn read_payload(&mut self, len: u64, out: &mut BlockBuffer, sum: bool, abort: &Abort) -> Result<u32, BlockError> {
        let in_memory = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        out.start(in_memory(len).min(MAX_RESERVED));
        let (mut filled, mut crc) = (0, 0);
        let mut since = Instant::now();
        while (filled as u64) < len {
            let room = match out.len() {
                reserved if filled < reserved => reserved,
                reserved => reserved + in_memory(len - filled as u64).min(MAX_RESERVED),
            };
            let room = out.extend(filled, room);
            let piece = room.len().min(PIECE);
            let room = &mut room[..piece];
            // What follows the block comes with its last bytes.
            let is_last = (filled + piece) as u64 == len;
            let read = if is_last { self.input.read_and_ahead(room) } else { self.input.read(room) };
            match read {
                Ok(0) => return Err(self.lost("closed by the peer within a block")),
                Ok(n) => {
                    if sum {
                        // While it is in the processor's cache.
                        crc = crc32c::crc32c_append(crc, &room[..n]);
                    }
                    filled += n;
                    since = Instant::now();
                }
                Err(e) => self.waited(&e, since, abort)?,
            }
        }
        Ok(crc)
    }

    /// One whole answer: the block, checked, or why not.
    pub fn read_block(&mut self, id: BlockId, target: &mut Target<'_>, abort: &Abort) -> Result<(), BlockError> {
        let header = self.read_header(abort)?;
        if header.status == Status::Failed {
            return Err(self.read_refusal(header, id, abort)?);
        }
        target.in_file = None;
        let actual = match &mut target.large {
            Some((limit, file)) if header.len > *limit => {
                target.memory.clear();
                let mut file = file(header.len)?;
                let crc = self.copy_payload(header.len, abort, &mut file.file, &file.path)?;
                target.in_file = Some(file);
                crc
            }
            _ => {
                let sum = target.sum || header.status != Status::Unchecked;
                self.read_payload(header.len, target.memory, sum, abort)?
            }
        };
        target.crc32c = actual;
        match self.read_checksum(header, abort)? {
            Some(expected) if expected != actual => {
                let address = self.address.clone();
                Err(BlockError::Corrupt { address, id, expected, actual })
            }
            _ => Ok(()),
        }
    }

    /// The answer to a question, or why there is none.
    pub fn read_answer(&mut self, question: Question, abort: &Abort) -> Result<Vec<u8>, BlockError> {
        let header = self.read_header(abort)?;
        let address = self.address.clone();
        if header.status == Status::Failed {
            let message = self.read_reason(header, abort)?;
            return Err(BlockError::NotAnswered { address, question, message });
        }
        if header.len > MAX_ANSWER {
            let message = format!("an answer of {} bytes to the question {question}", header.len);
            return Err(BlockError::Protocol { address, message });
        }
        let mut answer = BlockBuffer::new();
        let actual = self.read_payload(header.len, &mut answer, true, abort)?;
        match self.read_checksum(header, abort)? {
            // Asked again over another connection.
            Some(expected) if expected != actual => {
                Err(self.lost(format!("the answer to the question {question} is corrupt")))
            }
            _ => Ok(answer.into_vec()),
        }
    }

    /// The peer's reason as an error in `Ok`; `Err` when even that could not be read.
    pub fn read_refusal(&mut self, header: Header, id: BlockId, abort: &Abort) -> Result<BlockError, BlockError> {
        let message = self.read_reason(header, abort)?;
        Ok(BlockError::Remote { address: self.address.clone(), id, message })
    }

    fn read_reason(&mut self, header: Header, abort: &Abort) -> Result<String, BlockError> {
        if header.len > MAX_REFUSAL {
            let message = format!("a refusal of {} bytes", header.len);
            return Err(BlockError::Protocol { address: self.address.clone(), message });
        }
        let mut text = BlockBuffer::new();
        self.read_payload(header.len, &mut text, false, abort)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Asks for one block on a connection of which nothing else is awaited.
    pub fn fetch_once(&mut self, id: BlockId, target: &mut Target<'_>, abort: &Abort) -> Result<(), BlockError> {
        let mut request = Vec::new();
        wire::encode_request(&id, &mut request);
        self.write(&request)?;
        self.read_block(id, target, abort)
    }

    /// Asks for the end of a shuffle's files, on a connection of which nothing else is awaited.
    pub fn remove_shuffle(&mut self, shuffle: ShuffleId, abort: &Abort) -> Result<(), BlockError> {
        let mut request = Vec::new();
        wire::encode_remove_shuffle(shuffle, &mut request);
        let address = self.address.clone();
        self.ask(&request, abort)?.map_err(|message| BlockError::NotRemoved { address, message })
    }

    /// Has the peer fetch a cached partition from `from` and keep it, on a connection of which nothing else is awaited.
    pub fn replicate(&mut self, id: BlockId, level: StorageLevel, from: &str, abort: &Abort) -> Result<(), BlockError> {
        let mut request = Vec::new();
        wire::encode_replicate(&id, level, from, &mut request);
        let address = self.address.clone();
        self.ask(&request, abort)?.map_err(|message| BlockError::Remote { address, id, message })
    }

    /// Has the peer take a map task's output from `from`, on a connection of which nothing else is awaited.
    pub fn adopt(&mut self, shuffle: ShuffleId, map_task: TaskId, from: &str, abort: &Abort) -> Result<(), BlockError> {
        let mut request = Vec::new();
        wire::encode_adopt(shuffle, map_task, from, &mut request);
        let (address, id) = (self.address.clone(), BlockId::ShuffleData { shuffle, map_task });
        self.ask(&request, abort)?.map_err(|message| BlockError::Remote { address, id, message })
    }

    /// A request that is answered without a payload, or by the text of a refusal.
    fn ask(&mut self, request: &[u8], abort: &Abort) -> Result<Result<(), String>, BlockError> {
        self.write(request)?;
        let header = self.read_header(abort)?;
        let message = match (header.status, header.len) {
            (Status::Checked | Status::Unchecked, 0) => return Ok(Ok(())),
            (Status::Failed, len) if len <= MAX_REFUSAL => {
                let mut text = BlockBuffer::new();
                self.read_payload(len, &mut text, false, abort)?;
                String::from_utf8_lossy(&text).into_owned()
            }
            (_, len) => format!("an answer of {len} bytes where none is due"),
        };
        Ok(Err(message))
    }

    /// Writes so many bytes to `out` and returns their CRC-32C.
    pub fn copy_payload(&mut self, len: u64, abort: &Abort, out: &mut File, path: &Path) -> Result<u32, BlockError> {
        let mut buffer = vec![0; PIECE];
        let (mut left, mut crc) = (len, 0);
        let mut since = Instant::now();
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match self.input.read(&mut buffer[..want]) {
                Ok(0) => return Err(self.lost("closed by the peer within a block")),
                Ok(n) => {
                    crc = crc32c::crc32c_append(crc, &buffer[..n]);
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
        Ok(crc)
    }
}

/// The error for a connection that could not be had.
pub(crate) fn not_connected(address: &str, error: &DialError) -> BlockError {
    let (address, message) = (address.to_owned(), error.to_string());
    match error {
        DialError::Connect(e) => {
            BlockError::Connect { address, message, refused: e.kind() == io::ErrorKind::ConnectionRefused }
        }
        DialError::Handshake(HandshakeError::Ended(reason)) => {
            BlockError::Connect { address, message: reason.clone(), refused: false }
        }
        DialError::Handshake(_) => BlockError::Handshake { address, message },
    }
}
