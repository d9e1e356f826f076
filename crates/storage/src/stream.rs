//! The pipelined stream of blocks from one server, seen from the fetching side.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Abort, BlockBuffer, BlockClient, BlockError, BlockId, Question,
    broadcast::Pieces,
    connection::{Connection, Target},
    wire::{self, Header, Status},
};

/// While it waits, a fetch looks so often whether it shall go on.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// A file for a block that is too large for memory.
pub struct ScratchFile {
    /// Open for writing and reading.
    pub file: File,
    /// Its name, for error texts; it may have none any more.
    pub path: PathBuf,
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
    outstanding: VecDeque<Asked>,
}

/// What the peer owes.
#[derive(Clone, Copy)]
enum Asked {
    Block(BlockId),
    Question(Question),
}

impl Asked {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Asked::Block(id) => wire::encode_request(&id, out),
            Asked::Question(question) => wire::encode_question(&question, out),
        }
    }
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
        self.push(Asked::Block(id));
    }

    /// Asks a question, in its turn among the blocks; the answer is taken by the method of its kind.
    pub(crate) fn ask(&mut self, question: Question) {
        self.push(Asked::Question(question));
    }

    fn push(&mut self, asked: Asked) {
        asked.encode(&mut self.unsent);
        self.outstanding.push_back(asked);
    }

    /// The answer to a [`Question::Pieces`] whose turn it is.
    pub(crate) fn next_pieces(&mut self) -> Result<Pieces, BlockError> {
        self.next_answer().map(|answer| Pieces::from_bytes(&answer))
    }

    /// The answer to a [`Question::Holders`] whose turn it is.
    pub(crate) fn next_holders(&mut self) -> Result<Vec<String>, BlockError> {
        let answer = self.next_answer()?;
        wire::decode_addresses(&answer).map_err(|e| {
            self.disconnect();
            BlockError::Protocol { address: self.address.clone(), message: e.to_string() }
        })
    }

    fn next_answer(&mut self) -> Result<Vec<u8>, BlockError> {
        let result = self.retrying(|stream| {
            let Asked::Question(question) = stream.front()? else { return Err(stream.out_of_turn()) };
            let abort = stream.abort.clone();
            stream.ready()?.read_answer(question, &abort)
        });
        self.settle(&result);
        result
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
    /// connection that ends is opened once more at once, and then, as after other failures that may pass, as often as
    /// the client's [`Retries`](crate::Retries) say.
    ///
    /// After an error the blocks asked for later can still be taken.
    pub fn next_block(&mut self) -> Result<Bytes, BlockError> {
        let mut out = BlockBuffer::new();
        self.next_into(&mut out).map(|()| Bytes::from(out.into_vec()))
    }

    /// As [`BlockStream::next_block`]; with `sum` also the block's CRC-32C as it came.
    pub(crate) fn next_summed(&mut self, sum: bool) -> Result<(Bytes, u32), BlockError> {
        let mut out = BlockBuffer::new();
        let mut target = Target { sum, ..Target::memory(&mut out) };
        self.next_to(&mut target)?;
        let crc32c = target.crc32c;
        Ok((Bytes::from(out.into_vec()), crc32c))
    }

    /// As [`BlockStream::next_block`], into a buffer that serves block after block and is overwritten.
    pub fn next_into(&mut self, out: &mut BlockBuffer) -> Result<(), BlockError> {
        self.next_to(&mut Target::memory(out))
    }

    /// As [`BlockStream::next_into`], but a block of more than `limit` bytes goes to a file that `make` makes for its
    /// size, and not through memory. A [`BlockError::File`] is one of that file.
    pub fn next_or_file(
        &mut self,
        out: &mut BlockBuffer,
        limit: u64,
        make: &mut dyn FnMut(u64) -> Result<ScratchFile, BlockError>,
    ) -> Result<Option<ScratchFile>, BlockError> {
        let mut target = Target { large: Some((limit, make)), ..Target::memory(out) };
        self.next_to(&mut target)?;
        Ok(target.in_file)
    }

    fn next_to(&mut self, target: &mut Target<'_>) -> Result<(), BlockError> {
        let result = self.retrying(|stream| {
            let id = stream.front_block()?;
            let abort = stream.abort.clone();
            stream.ready()?.read_block(id, target, &abort)
        });
        self.settle(&result);
        match result {
            Err(e @ BlockError::Corrupt { id, .. }) => {
                tracing::warn!(address = %self.address, block = %id, error = %e, "fetching a corrupt block once more");
                self.client.refetch(&self.address, id, target, &self.abort)
            }
            result => result,
        }
    }

    /// Tries again where the connection failed, as [`BlockStream::next_block`] says.
    fn retrying<T>(
        &mut self,
        mut attempt: impl FnMut(&mut BlockStream) -> Result<T, BlockError>,
    ) -> Result<T, BlockError> {
        let retries = self.client.retries();
        let (mut reconnected, mut tried) = (false, 0);
        loop {
            match attempt(self) {
                // An idle connection may have ended unseen, a peer may have closed one of many: one more try, which
                // fails at once when the peer is gone.
                Err(e) if e.is_connection_lost() && !reconnected => {
                    tracing::debug!(address = %self.address, error = %e, "block connection lost; connecting again");
                    reconnected = true;
                    self.disconnect();
                }
                Err(e) if e.may_pass() && tried < retries.max => {
                    tried += 1;
                    let (address, max, wait) = (&self.address, retries.max, retries.wait);
                    tracing::warn!(%address, error = %e, ?wait, "fetching blocks again, {tried} of {max}");
                    self.disconnect();
                    pause(wait, &self.abort)?;
                }
                result => return result,
            }
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
        let id = self.front_block()?;
        if header.status != Status::Failed && header.len > limit {
            return Err(BlockError::TooLarge { address: self.address.clone(), id, size: header.len, limit });
        }
        let abort = self.abort.clone();
        let connection = self.connected()?;
        if header.status == Status::Failed {
            return Err(connection.read_refusal(header, id, &abort)?);
        }
        connection.copy_payload(header.len, &abort, out, path)?;
        // Read, so that the next answer can be; the caller has a check of its own.
        connection.read_checksum(header, &abort)?;
        Ok(header.len)
    }

    /// The connection, over which all that was asked has been sent.
    fn ready(&mut self) -> Result<&mut Connection, BlockError> {
        if let Some(reason) = self.abort.reason() {
            return Err(BlockError::Aborted { reason });
        }
        self.try_flush()?;
        self.connected()
    }

    fn front(&self) -> Result<Asked, BlockError> {
        self.outstanding.front().copied().ok_or_else(|| self.out_of_turn())
    }

    fn front_block(&self) -> Result<BlockId, BlockError> {
        match self.front()? {
            Asked::Block(id) => Ok(id),
            Asked::Question(_) => Err(self.out_of_turn()),
        }
    }

    fn out_of_turn(&self) -> BlockError {
        let message = "an answer was taken that nobody asked for".to_owned();
        BlockError::Protocol { address: self.address.clone(), message }
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
        for asked in &self.outstanding {
            asked.encode(&mut self.unsent);
        }
    }

    /// Takes the front block off the list; after an error that leaves the connection in an unknown state, drops it.
    fn settle<T>(&mut self, result: &Result<T, BlockError>) {
        self.outstanding.pop_front();
        let in_order = |e: &BlockError| {
            matches!(e, BlockError::Remote { .. } | BlockError::NotAnswered { .. } | BlockError::Corrupt { .. })
        };
        if !result.as_ref().err().is_none_or(in_order) {
            self.disconnect();
        }
    }
}

/// Lets so much time pass; an error when the caller is to stop meanwhile.
fn pause(wait: Duration, abort: &Abort) -> Result<(), BlockError> {
    let until = Instant::now() + wait;
    loop {
        if let Some(reason) = abort.reason() {
            return Err(BlockError::Aborted { reason });
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK_AROUND));
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
