//! How the elements of a checkpoint lie in its files: encoded, in frames with checksums, as kept partitions do.

use std::{
    io::{BufReader, BufWriter},
    sync::Arc,
};

use firesteel_common::{Data, RddId, TaskFailure};
use firesteel_files::{
    Error, FilePath, FileSystems, InputFile, ManifestEntry, OutputFormat, RecordWriter, Result, TaskFile, WriteTask,
};
use firesteel_storage::{FrameReader, FrameWriter};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{Chunk, ChunkStream, Stream},
    frames::{FRAME_BYTES, FrameBuilder, FrameElements},
};
use serde::{Deserialize, Serialize};

/// Writes frames.
#[derive(Serialize, Deserialize)]
pub(super) struct Frames;

/// A partition's file that is written.
pub(super) struct FrameFile {
    builder: FrameBuilder,
    out: FrameWriter<BufWriter<TaskFile>>,
}

impl<T: Data> OutputFormat<T> for Frames {
    type Writer = FrameFile;

    fn open(&self, task: &WriteTask) -> Result<FrameFile> {
        let out = FrameWriter::new(BufWriter::new(task.create("")?));
        Ok(FrameFile { builder: FrameBuilder::default(), out })
    }
}

impl<T: Data> RecordWriter<T> for FrameFile {
    fn write(&mut self, elements: &[T]) -> Result<()> {
        for x in elements {
            if let Some(frame) = self.builder.push(x).map_err(|e| Error::invalid(e.to_string()))? {
                self.out.write(&frame)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<ManifestEntry>> {
        if let Some(frame) = self.builder.finish().map_err(|e| Error::invalid(e.to_string()))? {
            self.out.write(&frame)?;
        }
        let file = self.out.finish()?.into_inner().map_err(|e| Error::from(e.into_error()))?;
        Ok(vec![file.finish()?])
    }
}

/// The name of a partition's file.
pub(super) fn file_name(partition: u32) -> String {
    format!("part-{partition:05}")
}

/// A partition that is read back.
struct ReadFrames<T> {
    partition: Partition,
    frames: FrameReader<BufReader<Box<dyn InputFile>>>,
    elements: FrameElements<T>,
    ctx: Arc<TaskContext>,
}

/// Which one, for errors.
struct Partition {
    rdd: RddId,
    partition: u32,
    path: FilePath,
}

impl Partition {
    fn unreadable(&self, message: impl ToString) -> TaskError {
        let Partition { rdd, partition, ref path } = *self;
        TaskFailure::CheckpointUnreadable { rdd, partition, path: path.to_string(), message: message.to_string() }
            .into()
    }
}

/// The elements of a partition in the checkpoint in `dir`.
pub(super) fn read<T: Data>(
    rdd: RddId,
    partition: u32,
    (systems, dir): (&FileSystems, &FilePath),
    ctx: &Arc<TaskContext>,
) -> Result<Stream<T>, TaskError> {
    let partition = Partition { rdd, partition, path: dir.join(file_name(partition)) };
    let system = systems.of(&partition.path)?;
    let len = system.status(&partition.path).map_err(|e| partition.unreadable(e))?.len;
    let file = system.open(&partition.path).map_err(|e| partition.unreadable(e))?;
    let frames = FrameReader::new(BufReader::with_capacity(FRAME_BYTES, file), len);
    Ok(Box::new(ReadFrames { partition, frames, elements: FrameElements::default(), ctx: ctx.clone() }))
}

impl<T: Data> ChunkStream<T> for ReadFrames<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        self.ctx.kill().check()?;
        while self.elements.is_empty() {
            match self.frames.next_frame() {
                Ok(Some(frame)) => self.elements.refill(frame),
                Ok(None) => return Ok(None),
                Err(e) => return Err(self.partition.unreadable(e)),
            }
        }
        let chunk = self.elements.next_chunk().map_err(|e| self.partition.unreadable(e))?;
        Ok(Some(Chunk::Owned(chunk)))
    }
}
