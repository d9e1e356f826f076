//! The integers of a range as an RDD, made where they are needed.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use bytes::Bytes;
use firesteel_common::{Data, codec};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
};

use super::{Source, rdd_of, run_of};
use crate::{Rdd, error::Result, runner::Scope};

/// An integer type that `range` can produce.
pub trait RangeItem: Data + Copy {
    /// The same number as an `i128`, which holds those of every type.
    fn widen(self) -> i128;
    /// The elements of `start..end`; both were values of this type.
    fn iterate(start: i128, end: i128) -> Range<Self>
    where
        Range<Self>: Iterator<Item = Self>;
}

macro_rules! range_item {
    ($($t:ty),*) => {$(
        impl RangeItem for $t {
            fn widen(self) -> i128 {
                self as i128
            }

            fn iterate(start: i128, end: i128) -> Range<Self> {
                start as $t..end as $t
            }
        }
    )*};
}
range_item!(i32, i64, u32, u64, usize);

struct Integers<T> {
    start: i128,
    end: i128,
    partitions: u32,
    item: PhantomData<fn() -> T>,
}

impl<T: RangeItem> Source for Integers<T>
where
    Range<T>: Iterator<Item = T>,
{
    type Item = T;
    type Env = ();

    fn input(&self, p: u32) -> Result<Bytes> {
        let len = (self.end - self.start).max(0) as u128;
        let (from, to) = run_of(len, p, self.partitions);
        Ok(codec::encode(&(self.start + from as i128, self.start + to as i128))?.into())
    }

    fn open(_: &(), input: &[u8], ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let (start, end): (i128, i128) = codec::decode(input)?;
        Ok(Box::new(Ranges { at: start, end, item: PhantomData::<fn() -> T>, ctx: ctx.clone() }))
    }
}

/// The integers from `at` to `end`, each chunk made in one go.
struct Ranges<T> {
    at: i128,
    end: i128,
    item: PhantomData<fn() -> T>,
    ctx: Arc<TaskContext>,
}

impl<T: RangeItem> ChunkStream<T> for Ranges<T>
where
    Range<T>: Iterator<Item = T>,
{
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        self.ctx.kill().check()?;
        let from = self.at;
        self.at = (from + CHUNK as i128).min(self.end);
        Ok(if from < self.at { Some(Chunk::Owned(T::iterate(from, self.at).collect())) } else { None })
    }
}

/// An RDD of the integers of `range`, in `partitions` runs of nearly equal length (at least one).
#[track_caller]
pub fn range<T: RangeItem>(scope: &Arc<Scope>, range: Range<T>, partitions: u32) -> Rdd<T>
where
    Range<T>: Iterator<Item = T>,
{
    let (partitions, item) = (partitions.max(1), PhantomData);
    let source = Integers { start: range.start.widen(), end: range.end.widen(), partitions, item };
    rdd_of(scope, partitions, "range", source, ())
}
