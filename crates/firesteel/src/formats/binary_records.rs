//! `binary_records`: files of records of one length.

use std::{io::Read, num::NonZeroU64};

use firesteel_files::{
    Error as FilesError, FileSplit, FileStatus, Input, InputFormat, InputSplit, ReadTask, RecordReader,
    Result as FilesResult, TaskInput, codec_of,
};
use firesteel_rdd::Rdd;
use serde::{Deserialize, Serialize};

use crate::{Context, PartitionedContext, Result};

impl Context {
    /// The records of the files that `path` names, each of `record_length` bytes, with nothing between them. Paths are those
    /// that `text_file` takes. Partitions are as large as `spark.hadoop.fs.local.block.size` allows, and end where a record does.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # use firesteel::prelude::*;
    /// # let sc = Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("numbers").to_str().unwrap().to_owned();
    /// std::fs::write(&path, [1, 0, 2, 0, 1, 1]).unwrap();
    /// let numbers = sc.binary_records(&path, 2)?.map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    /// assert_eq!(numbers.collect()?, [1, 2, 257]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When nothing matches, `record_length` is 0, or a file is packed or ends within a record.
    #[doc(alias = "binaryRecords")]
    #[track_caller]
    pub fn binary_records(&self, path: &str, record_length: u32) -> Result<Rdd<Vec<u8>>> {
        self.partitioned(1).binary_records(path, record_length)
    }
}

impl PartitionedContext<'_> {
    /// As [`Context::binary_records`], with at least so many partitions where there are as many records.
    ///
    /// # Errors
    /// As [`Context::binary_records`].
    #[track_caller]
    pub fn binary_records(&self, path: &str, record_length: u32) -> Result<Rdd<Vec<u8>>> {
        self.read_named("binary_records", path, BinaryRecords { record_length })
    }
}

/// Spark: `FixedLengthBinaryInputFormat`.
#[derive(Serialize, Deserialize)]
struct BinaryRecords {
    /// Bytes of a record.
    record_length: u32,
}

impl BinaryRecords {
    /// Where the file may be cut.
    fn unit(&self, file: &FileStatus) -> FilesResult<NonZeroU64> {
        let (path, length) = (&file.path, self.record_length);
        let invalid = |what: String| Err(FilesError::invalid(what));
        let Some(unit) = NonZeroU64::new(length.into()) else {
            return invalid(format!("{path}: records of 0 bytes cannot be read: pass their length"));
        };
        if codec_of(path)?.is_some() {
            return invalid(format!("{path}: records of one length are not read of packed files: unpack it"));
        }
        if !file.len.is_multiple_of(unit.get()) {
            let len = file.len;
            return invalid(format!("{path}: it has {len} bytes, which is no whole number of records of {length}"));
        }
        Ok(unit)
    }
}

impl InputFormat for BinaryRecords {
    type Split = FileSplit;
    type Reader = FixedLength;

    fn splits(&self, input: &Input<'_>) -> FilesResult<Vec<InputSplit<FileSplit>>> {
        input.file_splits(|file| self.unit(file).map(Some))
    }

    fn open(&self, split: FileSplit, task: &ReadTask) -> FilesResult<FixedLength> {
        let length = self.record_length as usize;
        Ok(FixedLength { file: task.open_range(&split.path, split.range())?, length, left: split.len })
    }
}

/// Bytes that are read at once, about.
const AT_ONCE: usize = 1 << 20;
/// Records that are read at once, at most.
const MOST: usize = 1024;

struct FixedLength {
    file: TaskInput<Box<dyn Read + Send>>,
    length: usize,
    /// Bytes of the split that were not read yet.
    left: u64,
}

impl RecordReader for FixedLength {
    type Record = Vec<u8>;

    fn next_batch(&mut self) -> FilesResult<Option<Vec<Vec<u8>>>> {
        let batch = (AT_ONCE / self.length).clamp(1, MOST) * self.length;
        let mut bytes = vec![0; usize::try_from(self.left).unwrap_or(batch).min(batch)];
        if bytes.is_empty() {
            return Ok(None);
        }
        self.file.read_exact(&mut bytes)?;
        self.left -= bytes.len() as u64;
        Ok(Some(bytes.chunks_exact(self.length).map(<[u8]>::to_vec).collect()))
    }
}
