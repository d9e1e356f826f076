//! The streams of operators that make elements. What they make is bounded by bytes, not only by number: a chunk that has
//! enough ends, and the rest of its input waits for the next call. Elements without a heap of their own are made chunk by
//! chunk, as fast as can be.

use std::{
    iter::Fuse,
    mem::needs_drop,
    ops::{ControlFlow, Range},
    sync::Arc,
    vec::IntoIter,
};

use firesteel_common::{
    Data,
    size::{Filling, heap_estimate, room_of},
};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{CHUNK, Chunk, ChunkStream, PerChunk, Stream},
};

/// Whether [`CHUNK`] elements are never too many.
const fn flat<T>() -> bool {
    !needs_drop::<T>() && room_of::<T>(CHUNK) == CHUNK
}

/// Moves what `elements` yields to `out` until that is a chunk: then true, false when there is no more.
#[inline]
fn fill<T: Data>(filling: &mut Filling, out: &mut Vec<T>, elements: &mut impl Iterator<Item = T>) -> bool {
    let most = room_of::<T>(CHUNK);
    // From within, as a chain of adapters does it best.
    let filled = elements.try_for_each(|x| {
        // It is looked at where it lies then: one that is only passed over is made there, without a stop on the stack.
        out.push(x);
        let full = filling.is_full_by::<T>(|| out.last().map_or(0, heap_estimate));
        if full || out.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    filled.is_break()
}

/// What of a chunk was not looked at yet.
enum Rest<T> {
    Owned(IntoIter<T>),
    Shared(Arc<Vec<T>>, Range<usize>),
}

impl<T> Rest<T> {
    fn len(&self) -> usize {
        match self {
            Rest::Owned(rest) => rest.len(),
            Rest::Shared(_, rest) => rest.len(),
        }
    }
}

impl<T> From<Chunk<T>> for Rest<T> {
    fn from(chunk: Chunk<T>) -> Self {
        match chunk {
            Chunk::Owned(v) => Rest::Owned(v.into_iter()),
            Chunk::Shared(v, range) => Rest::Shared(v, range),
        }
    }
}

/// The stream of an operator that makes one element of each one and cannot fail.
pub fn map<T: Data, U: Data>(
    input: Stream<T>,
    mut f: impl FnMut(T) -> U + 'static,
    ctx: &Arc<TaskContext>,
) -> Stream<U> {
    if flat::<U>() {
        // A loop without a way out is made of wide instructions.
        return PerChunk::stream(input, move |chunk| Ok(chunk.map(&mut f)));
    }
    Mapped::stream(input, move |x| Ok(f(x)), ctx)
}

/// The stream of an operator that makes one element of each one, or fails.
pub struct Mapped<T, F> {
    input: Stream<T>,
    rest: Rest<T>,
    filling: Filling,
    f: F,
    ctx: Arc<TaskContext>,
}

impl<T: Data, F> Mapped<T, F> {
    /// Applies `f` to each element of `input`, by value: shared ones are cloned one by one.
    pub fn stream<U: Data>(input: Stream<T>, f: F, ctx: &Arc<TaskContext>) -> Stream<U>
    where
        F: FnMut(T) -> Result<U, TaskError> + 'static,
    {
        let (rest, filling) = (Rest::Owned(Vec::new().into_iter()), Filling::default());
        Box::new(Mapped { input, rest, filling, f, ctx: ctx.clone() })
    }
}

impl<T: Data, U: Data, F: FnMut(T) -> Result<U, TaskError>> ChunkStream<U> for Mapped<T, F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<U>>, TaskError> {
        if flat::<U>() {
            let Some(chunk) = self.input.next_chunk()? else { return Ok(None) };
            let f = &mut self.f;
            let all: Result<Vec<U>, TaskError> = match chunk {
                Chunk::Owned(v) => v.into_iter().map(f).collect(),
                Chunk::Shared(..) => chunk.as_slice().iter().map(|x| f(x.clone())).collect(),
            };
            return Ok(Some(Chunk::Owned(all?)));
        }
        self.ctx.kill().check()?;
        if self.rest.len() == 0 {
            match self.input.next_chunk()? {
                Some(chunk) => self.rest = chunk.into(),
                None => return Ok(None),
            }
        }
        let (f, filling, mut failure) = (&mut self.f, &mut self.filling, None);
        filling.begin();
        let mut out = Vec::with_capacity(filling.room(room_of::<U>(CHUNK)).min(self.rest.len()));
        let mut made = |x: T| f(x).map_err(|e| failure = Some(e)).ok();
        match &mut self.rest {
            Rest::Owned(rest) => fill(filling, &mut out, &mut rest.map_while(&mut made)),
            Rest::Shared(v, range) => {
                let v: &[T] = v;
                fill(filling, &mut out, &mut range.map_while(|i| made(v.get(i)?.clone())))
            }
        };
        match failure {
            Some(e) => Err(e),
            None => Ok(Some(Chunk::Owned(out))),
        }
    }
}

/// The stream of an operator that makes one element of each one, which it only looks at.
pub struct MappedRef<T, F> {
    input: Stream<T>,
    /// A chunk, and its first element that `f` has not seen.
    current: Option<(Chunk<T>, usize)>,
    filling: Filling,
    f: F,
    ctx: Arc<TaskContext>,
}

impl<T: Data, F> MappedRef<T, F> {
    /// Applies `f` to each element of `input`.
    pub fn stream<U: Data>(input: Stream<T>, f: F, ctx: &Arc<TaskContext>) -> Stream<U>
    where
        F: FnMut(&T) -> U + 'static,
    {
        Box::new(MappedRef { input, current: None, filling: Filling::default(), f, ctx: ctx.clone() })
    }
}

impl<T: Data, U: Data, F: FnMut(&T) -> U> ChunkStream<U> for MappedRef<T, F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<U>>, TaskError> {
        if flat::<U>() {
            let Some(chunk) = self.input.next_chunk()? else { return Ok(None) };
            return Ok(Some(Chunk::Owned(chunk.as_slice().iter().map(&mut self.f).collect())));
        }
        self.ctx.kill().check()?;
        let (chunk, at) = match self.current.take() {
            Some(current) => current,
            None => match self.input.next_chunk()? {
                Some(chunk) => (chunk, 0),
                None => return Ok(None),
            },
        };
        self.filling.begin();
        let rest = chunk.as_slice().get(at..).unwrap_or_default();
        let mut out = Vec::with_capacity(self.filling.room(room_of::<U>(CHUNK)).min(rest.len()));
        fill(&mut self.filling, &mut out, &mut rest.iter().map(&mut self.f));
        let at = at + out.len();
        if at < chunk.len() {
            self.current = Some((chunk, at));
        }
        Ok(Some(Chunk::Owned(out)))
    }
}

/// Results of one element up to this many are taken in one go; of more, a chunk at a time.
const AT_ONCE: usize = 4 * CHUNK;

/// The stream of an operator that makes any number of elements of each one. Its chunks are bounded even where one
/// element has more results than memory; looks at the kill flag once a chunk.
pub struct Flattened<T, I, F> {
    input: Stream<T>,
    waiting: IntoIter<T>,
    /// What is left of an element with many results.
    current: Option<I>,
    filling: Filling,
    f: F,
    ctx: Arc<TaskContext>,
}

impl<T: Data, I: Iterator<Item: Data> + 'static, F> Flattened<T, I, F>
where
    F: FnMut(T) -> Result<I, TaskError> + 'static,
{
    /// Applies `f` to each element of `input`.
    pub fn stream(input: Stream<T>, f: F, ctx: &Arc<TaskContext>) -> Stream<I::Item> {
        let (waiting, filling) = (Vec::new().into_iter(), Filling::default());
        Box::new(Flattened { input, waiting, current: None, filling, f, ctx: ctx.clone() })
    }
}

impl<T: Clone, I: Iterator<Item: Data>, F: FnMut(T) -> Result<I, TaskError>> Flattened<T, I, F> {
    /// Of elements without a heap: up to [`AT_ONCE`] of them, so that few results are taken in one go.
    fn by_number(&mut self, out: &mut Vec<I::Item>) -> Result<(), TaskError> {
        loop {
            if let Some(rest) = &mut self.current {
                let room = AT_ONCE - out.len();
                out.extend(rest.by_ref().take(room));
                if out.len() == AT_ONCE {
                    return Ok(());
                }
                self.current = None;
            }
            while out.len() < CHUNK
                && let Some(x) = self.waiting.next()
            {
                let results = (self.f)(x)?;
                if results.size_hint().1.is_some_and(|most| most <= AT_ONCE - CHUNK) {
                    out.extend(results);
                } else {
                    self.current = Some(results);
                    break;
                }
            }
            if self.current.is_some() {
                continue;
            }
            if out.len() >= CHUNK || !self.more()? {
                return Ok(());
            }
        }
    }

    fn by_bytes(&mut self, out: &mut Vec<I::Item>) -> Result<(), TaskError> {
        self.filling.begin();
        if let Some(rest) = &mut self.current {
            if fill(&mut self.filling, out, rest) {
                return Ok(());
            }
            self.current = None;
        }
        loop {
            for x in self.waiting.by_ref() {
                let mut results = (self.f)(x)?;
                if fill(&mut self.filling, out, &mut results) {
                    self.current = Some(results);
                    return Ok(());
                }
            }
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// Whether there is more input, which then waits.
    fn more(&mut self) -> Result<bool, TaskError> {
        let next = self.input.next_chunk()?;
        Ok(next.map(|chunk| self.waiting = chunk.into_vec().into_iter()).is_some())
    }
}

impl<T: Clone, I: Iterator<Item: Data>, F: FnMut(T) -> Result<I, TaskError>> ChunkStream<I::Item>
    for Flattened<T, I, F>
{
    fn next_chunk(&mut self) -> Result<Option<Chunk<I::Item>>, TaskError> {
        self.ctx.kill().check()?;
        let mut out = Vec::with_capacity(self.filling.room(room_of::<I::Item>(CHUNK)));
        if flat::<I::Item>() {
            self.by_number(&mut out)?;
        } else {
            self.by_bytes(&mut out)?;
        }
        Ok(if out.is_empty() { None } else { Some(Chunk::Owned(out)) })
    }
}

/// The stream over an iterator that makes its elements itself. Looks at the kill flag once a chunk; never asks an
/// iterator again that has said `None`.
pub struct FromIter<I> {
    iter: Fuse<I>,
    filling: Filling,
    ctx: Arc<TaskContext>,
}

impl<I: Iterator<Item: Data> + 'static> FromIter<I> {
    /// Streams `iter`.
    pub fn stream(iter: I, ctx: &Arc<TaskContext>) -> Stream<I::Item> {
        Box::new(FromIter { iter: iter.fuse(), filling: Filling::default(), ctx: ctx.clone() })
    }
}

impl<I: Iterator<Item: Data>> ChunkStream<I::Item> for FromIter<I> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<I::Item>>, TaskError> {
        self.ctx.kill().check()?;
        let most = room_of::<I::Item>(CHUNK);
        let mut out = Vec::with_capacity(self.iter.size_hint().0.min(self.filling.room(most)));
        if needs_drop::<I::Item>() {
            self.filling.begin();
            fill(&mut self.filling, &mut out, &mut self.iter);
        } else {
            out.extend(self.iter.by_ref().take(most));
        }
        Ok(if out.is_empty() { None } else { Some(Chunk::Owned(out)) })
    }
}
