//! How much memory values take, with what they own on the heap: exactly for types that say so ([`MemSize`]), estimated
//! for all others by walking them as serde sees them ([`estimate`], [`SampledSize`]).
//!
//! Called by caches, by tables that must know when to spill, and by operators, whose chunks are bounded by it
//! ([`Filling`]); calls nobody.

mod filling;
mod mem_size;
mod sampled;
mod walker;

pub use filling::{CHUNK_BYTES, Filling, room_of};
pub use mem_size::MemSize;
pub use sampled::SampledSize;
use serde::Serialize;

/// What an allocation of `bytes` takes: allocators hand out multiples of 16 bytes.
#[inline]
pub const fn allocation(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}

/// Bytes that `value` takes in memory, with its heap. Spark: `SizeEstimator.estimate`.
///
/// The value is walked as its `Serialize` shows it, nothing is encoded; of long sequences and maps a sample is walked.
/// Right to a few percent for strings, vectors, structs and their nesting; within a factor of two for maps and sets, whose
/// spare room cannot be seen, and where vectors have spare capacity. What `Serialize` skips is not seen, and what is shared
/// (`Arc`) is counted each time.
pub fn estimate<T: Serialize + ?Sized>(value: &T) -> u64 {
    size_of_val(value) as u64 + heap_estimate(value)
}

/// The part of [`estimate`] that lies on the heap.
#[inline]
pub fn heap_estimate<T: Serialize + ?Sized>(value: &T) -> u64 {
    walker::heap(value)
}
