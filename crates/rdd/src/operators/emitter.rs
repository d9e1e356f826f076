//! [`Emitter`] and what fills it: `flat_map_to` over elements, and, in `lines.rs`, over lines.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{
    Data, Env,
    size::{Filling, room_of},
};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
};

use crate::pipe::PipeOp;

/// Where the closure of `flat_map_to` puts its results.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// use firesteel::Emitter;
///
/// fn vowels(word: &String, out: &mut Emitter<char>) {
///     word.chars().filter(|c| "aeiou".contains(*c)).for_each(|c| out.emit(c));
/// }
///
/// let sc = firesteel::Context::builder().master("local[2]").build()?;
/// let words = sc.parallelize(["salt", "tea"].map(String::from));
/// assert_eq!(words.flat_map_to(vowels).collect()?, ['a', 'e', 'a']);
/// # Ok(()) }
/// ```
pub struct Emitter<U>(Vec<U>);

impl<U> Emitter<U> {
    /// Adds one result.
    #[inline]
    pub fn emit(&mut self, x: U) {
        self.0.push(x);
    }

    /// An empty one; the results of one more element than what makes a chunk seldom make it grow.
    #[track_caller]
    pub(crate) fn for_a_chunk(filling: &Filling) -> Self {
        Emitter(Vec::with_capacity(filling.room(room_of::<U>(CHUNK) + CHUNK / 8)))
    }

    /// How many results there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is enough for a chunk with the results from `before` on, which are new.
    #[inline]
    pub(crate) fn is_full(&self, before: usize, filling: &mut Filling) -> bool
    where
        U: Data,
    {
        let full = filling.is_full_with_all(self.0.get(before..).unwrap_or_default());
        full || self.0.len() >= room_of::<U>(CHUNK)
    }

    /// The results, if there are any.
    pub(crate) fn into_chunk(self) -> Option<Chunk<U>> {
        if self.0.is_empty() { None } else { Some(Chunk::Owned(self.0)) }
    }
}

/// `flat_map_to` over elements.
pub(super) struct FlatMapTo<T, U, E, F>(pub(super) F, pub(super) PhantomData<fn(T, E) -> U>);

copy_as_functions!(FlatMapTo<T, U, E; F>);

impl<T: Data, U: Data, E: Env, F> PipeOp for FlatMapTo<T, U, E, F>
where
    F: Fn(&E, &T, &mut Emitter<U>) + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = U;
    type Env = E;

    fn run(self, env: &Arc<E>, _: u32, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<Stream<U>, TaskError> {
        let (f, env) = (self.0, env.clone());
        let emit = move |x: &T, out: &mut Emitter<U>| f(&env, x, out);
        Ok(Box::new(Emitted { input, current: None, filling: Filling::default(), emit, ctx: ctx.clone() }))
    }
}

/// What a closure emits for the elements of a partition, in chunks of about [`CHUNK`] results or a megabyte.
struct Emitted<T, F> {
    input: Stream<T>,
    /// A chunk, and its first element that the closure has not seen.
    current: Option<(Chunk<T>, usize)>,
    filling: Filling,
    emit: F,
    ctx: Arc<TaskContext>,
}

impl<T, U: Data, F: Fn(&T, &mut Emitter<U>)> ChunkStream<U> for Emitted<T, F> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<U>>, TaskError> {
        self.ctx.kill().check()?;
        self.filling.begin();
        let (mut out, mut full) = (Emitter::for_a_chunk(&self.filling), false);
        while !full {
            match &mut self.current {
                Some((chunk, at)) => {
                    let rest = chunk.as_slice().get(*at..).unwrap_or_default();
                    let mut elements = rest.iter();
                    for x in elements.by_ref() {
                        let before = out.len();
                        (self.emit)(x, &mut out);
                        full = out.is_full(before, &mut self.filling);
                        if full {
                            break;
                        }
                    }
                    let left = elements.len();
                    *at += rest.len() - left;
                    if left == 0 {
                        self.current = None;
                    }
                }
                None => match self.input.next_chunk()? {
                    Some(chunk) => self.current = Some((chunk, 0)),
                    None => break,
                },
            }
        }
        Ok(out.into_chunk())
    }
}
