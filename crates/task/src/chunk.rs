//! How elements flow: in chunks of about [`CHUNK`] elements, so that a virtual call is paid once a chunk and the inner
//! loop of an operator is monomorphised. Large elements flow in chunks of about a megabyte, or one by one: whoever makes
//! elements (`elements.rs`, the emitters, the readers) bounds its chunks by bytes as well.
//!
//! ```text
//!  source ── Chunk ──▶ Mapped ── Chunk ──▶ PerChunk(filter) ── Chunk ──▶ PartitionIter ──▶ user's loop
//! ```

use std::{mem::needs_drop, ops::Range, panic::resume_unwind, sync::Arc};

use castaway::cast;

use crate::{
    context::TaskContext,
    error::{TaskAbort, TaskError},
};

/// How many elements a source puts into a chunk, at most.
pub const CHUNK: usize = 1024;

/// Some consecutive elements of a partition; never empty where a stream yields one.
pub enum Chunk<T> {
    /// Elements that belong to whoever holds the chunk.
    Owned(Vec<T>),
    /// A range of a cached partition: looking at it copies nothing.
    Shared(Arc<Vec<T>>, Range<usize>),
}

impl<T> Chunk<T> {
    /// The elements, by reference.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Chunk::Owned(v) => v,
            Chunk::Shared(v, range) => v.get(range.clone()).unwrap_or_default(),
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone> Chunk<T> {
    /// The elements, by value; clones those of a shared chunk.
    #[inline]
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Chunk::Owned(v) => v,
            Chunk::Shared(..) => self.as_slice().to_vec(),
        }
    }

    /// What `f` makes of each element, taken by value. Owned elements are replaced where they lie when the results are
    /// of their size; shared ones are cloned one by one. The results are together in memory: operators cut them.
    #[inline]
    pub fn map<U: Clone + 'static>(self, mut f: impl FnMut(T) -> U) -> Vec<U>
    where
        T: 'static,
    {
        match self {
            Chunk::Owned(v) if !needs_drop::<T>() => match cast!(v, Vec<U>) {
                // One type: the compiler sees that what is read and what is written is the same, and goes in wide steps.
                Ok(mut v) => {
                    for x in &mut v {
                        if let Ok(old) = cast!(x.clone(), T) {
                            *x = f(old);
                        }
                    }
                    v
                }
                Err(v) => v.into_iter().map(f).collect(),
            },
            Chunk::Owned(v) => v.into_iter().map(f).collect(),
            Chunk::Shared(..) => self.as_slice().iter().map(|x| f(x.clone())).collect(),
        }
    }

    /// Folds the elements, by value, into `start`.
    #[inline]
    pub fn fold<B>(self, start: B, mut f: impl FnMut(B, T) -> B) -> B {
        match self {
            Chunk::Owned(v) => v.into_iter().fold(start, f),
            Chunk::Shared(..) => self.as_slice().iter().fold(start, |b, x| f(b, x.clone())),
        }
    }

    /// Folds the elements into `start`, or into their first where there is no start.
    #[inline]
    pub fn reduce(self, start: Option<T>, f: impl FnMut(T, T) -> T) -> Option<T> {
        fn reduce<T>(start: Option<T>, mut rest: impl Iterator<Item = T>, f: impl FnMut(T, T) -> T) -> Option<T> {
            let start = start.or_else(|| rest.next())?;
            Some(rest.fold(start, f))
        }
        match self {
            Chunk::Owned(v) => reduce(start, v.into_iter(), f),
            Chunk::Shared(..) => reduce(start, self.as_slice().iter().cloned(), f),
        }
    }

    /// The elements that `keep` wants, in their order. Owned elements stay in their memory; of shared ones only those
    /// kept are cloned.
    #[inline]
    pub fn filter(self, mut keep: impl FnMut(&T) -> bool) -> Vec<T> {
        match self {
            Chunk::Owned(mut v) if needs_drop::<T>() || size_of::<T>() > FEW_BYTES => {
                v.retain(keep);
                v
            }
            Chunk::Owned(mut v) => {
                // Each is written to where the next kept one belongs: no branch that the processor could guess wrong.
                let mut kept = 0;
                for i in 0..v.len() {
                    let x = v[i].clone();
                    let wanted = keep(&x);
                    v[kept] = x;
                    kept += usize::from(wanted);
                }
                v.truncate(kept);
                v
            }
            Chunk::Shared(..) => self.as_slice().iter().filter(|x| keep(x)).cloned().collect(),
        }
    }
}

/// Plain elements up to this size cost less to copy than a wrong guess whether to.
const FEW_BYTES: usize = 32;

/// The elements of one partition, chunk by chunk.
pub trait ChunkStream<T> {
    /// The next chunk; `None` at the true end only, never because of a failure.
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError>;

    /// How many elements there are from here to the end. A stream whose elements nobody need make for that says so itself.
    fn count(&mut self) -> Result<u64, TaskError> {
        let mut n = 0;
        while let Some(chunk) = self.next_chunk()? {
            n += chunk.len() as u64;
        }
        Ok(n)
    }
}

/// A stream behind one pointer, as operators pass it on.
pub type Stream<T> = Box<dyn ChunkStream<T>>;

/// The stream of an operator that turns each chunk of its input into one of its output, which takes no more memory.
pub struct PerChunk<T, F> {
    input: Stream<T>,
    f: F,
}

impl<T: 'static, F> PerChunk<T, F> {
    /// Applies `f` to each chunk of `input`; empty results are passed over.
    pub fn stream<U>(input: Stream<T>, f: F) -> Stream<U>
    where
        F: FnMut(Chunk<T>) -> Result<Vec<U>, TaskError> + 'static,
    {
        Box::new(PerChunk { input, f })
    }
}

impl<T, U, F: FnMut(Chunk<T>) -> Result<Vec<U>, TaskError>> ChunkStream<U> for PerChunk<T, F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<U>>, TaskError> {
        while let Some(chunk) = self.input.next_chunk()? {
            let out = (self.f)(chunk)?;
            if !out.is_empty() {
                return Ok(Some(Chunk::Owned(out)));
            }
        }
        Ok(None)
    }
}

/// The elements of a partition as an iterator, for user code that wants to see a whole partition.
///
/// When its input fails or its task is killed, `next` does not return `None`, which user code would take for the end of
/// the partition: it unwinds, and the statement after the user's loop does not run.
pub struct PartitionIter<T> {
    current: std::vec::IntoIter<T>,
    input: Stream<T>,
    ctx: Arc<TaskContext>,
    done: bool,
    /// Why it unwound: whoever caught that and asks again does not get the rest.
    failed: Option<TaskError>,
}

/// For operators.
impl<T: Clone> PartitionIter<T> {
    /// The elements of `input`, in the task of `ctx`.
    pub fn new(input: Stream<T>, ctx: &Arc<TaskContext>) -> Self {
        PartitionIter { current: Vec::new().into_iter(), input, ctx: ctx.clone(), done: false, failed: None }
    }
}

impl<T: Clone> PartitionIter<T> {
    #[cold]
    fn refill(&mut self) -> Option<T> {
        if self.done {
            return None;
        }
        let next = match self.failed.clone() {
            Some(e) => Err(e),
            None => self.ctx.kill().check().and_then(|()| self.input.next_chunk()),
        };
        // A kill that came with the last chunk must not look like the end either.
        match next.and_then(|chunk| if chunk.is_none() { self.ctx.kill().check().map(|()| None) } else { Ok(chunk) }) {
            Ok(Some(chunk)) => {
                self.current = chunk.into_vec().into_iter();
                self.current.next()
            }
            Ok(None) => {
                self.done = true;
                None
            }
            Err(e) => {
                self.failed = Some(e.clone());
                resume_unwind(Box::new(TaskAbort(e)))
            }
        }
    }
}

impl<T: Clone> Iterator for PartitionIter<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self.current.next() {
            Some(x) => Some(x),
            None => self.refill(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let here = self.current.len();
        (here, if self.done { Some(here) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The elements as an owned chunk and as the middle of a shared partition.
    fn both<T: Clone>(v: &[T]) -> [Chunk<T>; 2] {
        let partition: Vec<T> = v.iter().chain(v).chain(v).cloned().collect();
        [Chunk::Owned(v.to_vec()), Chunk::Shared(Arc::new(partition), v.len()..2 * v.len())]
    }

    proptest! {
        #[test]
        fn owned_and_shared_chunks_work_as_vecs_do(v: Vec<u32>) {
            let words: Vec<String> = v.iter().map(u32::to_string).collect();
            let large: Vec<[u64; 9]> = v.iter().map(|x| [u64::from(*x); 9]).collect();
            let even = |x: &u32| x.is_multiple_of(2);
            for chunk in both(&v) {
                prop_assert_eq!(chunk.filter(even), v.iter().copied().filter(even).collect::<Vec<_>>());
            }
            for chunk in both(&words) {
                let kept: Vec<_> = words.iter().filter(|w| w.len() > 9).cloned().collect();
                prop_assert_eq!(chunk.filter(|w| w.len() > 9), kept);
            }
            for chunk in both(&large) {
                prop_assert_eq!(chunk.filter(|x| x[0] % 3 == 1).len(), v.iter().filter(|x| *x % 3 == 1).count());
            }
            for chunk in both(&v) {
                prop_assert_eq!(chunk.map(|x| u64::from(x) + 1), v.iter().map(|x| u64::from(*x) + 1).collect::<Vec<_>>());
            }
            for chunk in both(&v) {
                prop_assert_eq!(chunk.map(|x| x ^ 1), v.iter().map(|x| x ^ 1).collect::<Vec<_>>());
            }
            for chunk in both(&words) {
                prop_assert_eq!(chunk.map(|w| w + "x"), words.iter().map(|w| format!("{w}x")).collect::<Vec<_>>());
            }
            let last = |_, b| b;
            for start in [None, Some(7)] {
                for chunk in both(&v) {
                    prop_assert_eq!(chunk.reduce(start, last), v.last().copied().or(start));
                }
            }
            for chunk in both(&words) {
                prop_assert_eq!(chunk.fold(String::new(), |a, b| a + &b), words.concat());
            }
        }
    }
}
