//! RDDs of what an [`InputFormat`] reads: its splits are the partitions.

use std::sync::Arc;

use bytes::Bytes;
use firesteel_common::codec;
use firesteel_files::{FileSystems, Input, InputFormat, InputSplit, ReadTask, RecordReader, SplitBounds};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{Chunk, ChunkStream, Stream},
};

use super::{Source, rdd_of};
use crate::{
    Rdd,
    error::{Error, Result},
    runner::Scope,
};

type Record<F> = <<F as InputFormat>::Reader as RecordReader>::Record;

struct FormatSource<F: InputFormat> {
    path: String,
    splits: Vec<InputSplit<F::Split>>,
}

impl<F: InputFormat> Source for FormatSource<F> {
    type Item = Record<F>;
    type Env = (F, FileSystems);

    fn input(&self, p: u32) -> Result<Bytes> {
        let split = self.splits.get(p as usize);
        let split = split.ok_or_else(|| Error::InvalidArgument(format!("{} has no partition {p}", self.path)))?;
        Ok(codec::encode(&split.data)?.into())
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        if self.splits.iter().all(|split| split.hosts.is_empty()) {
            return Vec::new();
        }
        self.splits.iter().map(|split| split.hosts.clone()).collect()
    }

    fn open(
        (format, systems): &(F, FileSystems),
        input: &[u8],
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<Record<F>>, TaskError> {
        let task = ReadTask::new(systems.clone());
        let reader = format.open(codec::decode(input)?, &task)?;
        Ok(Box::new(Records { reader, task, counted: 0, ctx: ctx.clone() }))
    }
}

/// The records of a split, each batch a chunk.
struct Records<R> {
    reader: R,
    task: ReadTask,
    /// Of the bytes that the task has read.
    counted: u64,
    ctx: Arc<TaskContext>,
}

impl<R: RecordReader> ChunkStream<R::Record> for Records<R> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<R::Record>>, TaskError> {
        loop {
            self.ctx.kill().check()?;
            let batch = self.reader.next_batch();
            let (counters, read) = (self.ctx.memory().counters(), self.task.bytes_read());
            counters.input_bytes.add(read - self.counted);
            self.counted = read;
            let Some(batch) = batch? else { return Ok(None) };
            if self.ctx.is_measured() {
                counters.input_records.add(R::count(&batch));
            }
            if !batch.is_empty() {
                return Ok(Some(Chunk::Owned(batch)));
            }
        }
    }
}

/// How a path is read, whatever the format.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The RDD's name.
    pub name: &'static str,
    /// Partitions, at least, where there is enough to read.
    pub min_partitions: u32,
    /// How large the pieces of a file may be.
    pub bounds: SplitBounds,
}

/// What `format` reads of `path`, a partition for each of its splits.
///
/// # Errors
/// When the format finds no splits, or more than an RDD has partitions.
#[track_caller]
pub fn read_with_format<F: InputFormat>(
    scope: &Arc<Scope>,
    path: &str,
    format: F,
    reading: Reading,
) -> Result<Rdd<Record<F>>> {
    let (systems, Reading { name, min_partitions, bounds }) = (scope.file_systems(), reading);
    let splits = format.splits(&Input { path, systems: &systems, min_partitions, bounds })?;
    let partitions = u32::try_from(splits.len())
        .map_err(|_| Error::InvalidArgument(format!("{path}: {} splits are too many", splits.len())))?;
    let bytes: u64 = splits.iter().map(|split| split.bytes).sum();
    tracing::debug!(path, partitions, bytes, "input is cut into splits");
    let source = FormatSource::<F> { path: path.to_owned(), splits };
    Ok(rdd_of(scope, partitions, name, source, (format, systems)))
}
