//! A partition in memory as values, in pieces of about a megabyte: large enough to be scanned at memory speed, small
//! enough to grow without copying what is there and to be let go one by one.

use std::{any::Any, collections::VecDeque, sync::Arc};

use firesteel_common::{Data, size::SampledSize};
use firesteel_storage::{
    BlockError,
    memory_store::{CachedValues, FrameSink},
    storage_reservation::StorageReservation,
};

use super::{HeapOf, frames::FrameBuilder};
use crate::{
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
    task::{TaskContext, TaskError},
};

const PIECE_BYTES: usize = 1 << 20;

/// Elements of a piece.
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
    /// With `heap_of`, what the elements own.
    exact_heap: u64,
}

impl<T: Data> PiecesBuilder<T> {
    pub fn new(heap_of: HeapOf<T>) -> Self {
        PiecesBuilder { full: VecDeque::new(), last: Vec::new(), size: SampledSize::new(), heap_of, exact_heap: 0 }
    }

    pub fn push(&mut self, chunk: Chunk<T>) {
        match self.heap_of {
            Some(heap_of) => {
                self.exact_heap +=
                    chunk.as_slice().iter().map(heap_of).sum::<u64>() + size_of_val(chunk.as_slice()) as u64;
            }
            None => self.size.add_all(chunk.as_slice()),
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
        if self.last.len() + CHUNK / 2 >= piece_len::<T>() {
            self.seal();
        }
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> u64 {
        self.exact_heap + self.size.bytes()
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
    ctx: Arc<TaskContext>,
}

impl<T: Data> PieceStream<T> {
    pub fn stream(pieces: Arc<Pieces<T>>, ctx: &Arc<TaskContext>) -> Stream<T> {
        Box::new(PieceStream { pieces, piece: 0, at: 0, ctx: ctx.clone() })
    }
}

impl<T> ChunkStream<T> for PieceStream<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        self.ctx.kill.check()?;
        let Some(piece) = self.pieces.0.get(self.piece) else { return Ok(None) };
        let start = self.at;
        let end = (start + 4 * CHUNK).min(piece.len());
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
