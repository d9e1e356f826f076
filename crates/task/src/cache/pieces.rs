//! A partition in memory as values, in pieces of about a megabyte: large enough to be scanned at memory speed, small
//! enough to grow without copying what is there and to be let go one by one.

use std::{any::Any, collections::VecDeque, sync::Arc};

use firesteel_common::{
    Data,
    size::{Filling, SampledSize, heap_estimate},
};
use firesteel_storage::{
    BlockError,
    memory_store::{CachedValues, FrameSink},
    storage_reservation::StorageReservation,
};

use super::persisted::HeapOf;
use crate::{
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
    context::TaskContext,
    error::TaskError,
    frames::FrameBuilder,
};

const PIECE_BYTES: usize = 1 << 20;

/// A piece of elements with a heap of their own is done when it has so many bytes with that.
const PIECE_WITH_HEAP: u64 = 4 << 20;

/// Elements of a piece, at most.
fn piece_len<T>() -> usize {
    (PIECE_BYTES / size_of::<T>().max(1)).clamp(CHUNK / 4, PIECE_BYTES)
}

/// A whole partition.
pub(super) struct Pieces<T>(Vec<Arc<Vec<T>>>);

impl<T: Data> CachedValues for Pieces<T> {
    fn encode(&self, sink: FrameSink<'_>) -> Result<(), BlockError> {
        let not_encodable = |e: TaskError| BlockError::NotEncodable { message: e.to_string() };
        let mut builder = FrameBuilder::default();
        for x in self.0.iter().flat_map(|piece| piece.iter()) {
            if let Some(frame) = builder.push(x).map_err(not_encodable)? {
                sink(&frame)?;
            }
        }
        builder.finish().map_err(not_encodable)?.iter().try_for_each(sink)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A partition that is being put together.
pub(super) struct PiecesBuilder<T> {
    full: VecDeque<Arc<Vec<T>>>,
    last: Vec<T>,
    size: SampledSize,
    heap_of: HeapOf<T>,
    /// Of the elements that were looked at one by one.
    exact: u64,
    /// Bytes of what is in whole pieces.
    sealed: u64,
}

impl<T: Data> PiecesBuilder<T> {
    pub fn new(heap_of: HeapOf<T>) -> Self {
        let (full, last, size) = (VecDeque::new(), Vec::new(), SampledSize::new());
        PiecesBuilder { full, last, size, heap_of, exact: 0, sealed: 0 }
    }

    pub fn push(&mut self, chunk: Chunk<T>) {
        let elements = chunk.as_slice();
        // A short chunk may be one of large elements, of which a sample must not miss any.
        let heap_of = self.heap_of.or((elements.len() < CHUNK / 8).then_some(heap_estimate::<T> as fn(&T) -> u64));
        match heap_of {
            Some(heap_of) => self.exact += elements.iter().map(heap_of).sum::<u64>() + size_of_val(elements) as u64,
            None => self.size.add_all(elements),
        }
        match chunk {
            Chunk::Owned(v) if self.last.is_empty() && self.full.is_empty() => self.last = v,
            chunk => {
                if self.last.is_empty() {
                    self.last.reserve_exact(piece_len::<T>());
                }
                match chunk {
                    Chunk::Owned(mut v) => self.last.append(&mut v),
                    shared => self.last.extend_from_slice(shared.as_slice()),
                }
            }
        }
        if self.last.len() + CHUNK / 2 >= piece_len::<T>() || self.bytes() - self.sealed >= PIECE_WITH_HEAP {
            self.seal();
        }
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> u64 {
        self.exact + self.size.bytes()
    }

    pub fn finish(mut self) -> Arc<Pieces<T>> {
        self.seal();
        Arc::new(Pieces(self.full.into()))
    }

    /// The pieces, to be consumed.
    pub fn into_pieces(mut self) -> VecDeque<Arc<Vec<T>>> {
        self.seal();
        self.full
    }

    fn seal(&mut self) {
        self.sealed = self.bytes();
        let mut piece = std::mem::take(&mut self.last);
        if !piece.is_empty() {
            piece.shrink_to_fit();
            self.full.push_back(Arc::new(piece));
        }
    }
}

/// Streams a kept partition without copying it; as long as it does, the partition is not dropped.
pub(super) struct PieceStream<T> {
    pieces: Arc<Pieces<T>>,
    piece: usize,
    at: usize,
    /// Whoever wants the elements by value clones a chunk of them.
    filling: Filling,
    ctx: Arc<TaskContext>,
}

impl<T: Data> PieceStream<T> {
    pub fn stream(pieces: Arc<Pieces<T>>, ctx: &Arc<TaskContext>) -> Stream<T> {
        Box::new(PieceStream { pieces, piece: 0, at: 0, filling: Filling::default(), ctx: ctx.clone() })
    }
}

impl<T: Data> ChunkStream<T> for PieceStream<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        self.ctx.kill().check()?;
        let Some(piece) = self.pieces.0.get(self.piece) else { return Ok(None) };
        let start = self.at;
        let most = (start + 4 * CHUNK).min(piece.len());
        let end = start + self.filling.prefix(piece.get(start..most).unwrap_or_default());
        let chunk = Chunk::Shared(piece.clone(), start..end);
        if end == piece.len() {
            (self.piece, self.at) = (self.piece + 1, 0);
        } else {
            self.at = end;
        }
        Ok(Some(chunk))
    }
}

/// Hands on the pieces of a partition that did not fit, each with its memory. Spark: `PartiallyUnrolledIterator`.
pub(super) struct Leaving<T> {
    pub pieces: VecDeque<Arc<Vec<T>>>,
    pub memory: StorageReservation,
}

impl<T: Clone> Leaving<T> {
    /// The next piece; its memory is given back.
    pub fn next_piece(&mut self) -> Option<Vec<T>> {
        let piece = self.pieces.pop_front()?;
        let left = self.pieces.len() as u64;
        self.memory.resize(self.memory.held() / (left + 1) * left);
        Some(Arc::try_unwrap(piece).unwrap_or_else(|shared| shared.to_vec()))
    }
}

impl<T: Clone> ChunkStream<T> for Leaving<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        Ok(self.next_piece().map(Chunk::Owned))
    }
}
