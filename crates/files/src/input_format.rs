//! [`InputFormat`]: what files hold, as a user writes it.

use std::iter::Fuse;

use firesteel_common::{
    Data, Env,
    size::{Filling, room_of},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Input, InputSplit, ReadTask, error::Result};

/// A way to read records: how an input is cut into splits, on the driver, and how one is read, by a task. Spark: Hadoop's
/// `InputFormat`.
///
/// A value travels to the executors as its encoding, and is shared there by the tasks of a stage.
///
/// ```
/// use std::io::{BufRead, BufReader};
/// use firesteel_files::{FileSplit, Input, InputFormat, InputSplit, ReadTask, RecordIter, RecordReader, Result};
/// use serde::{Deserialize, Serialize};
///
/// /// Records that end in a byte of the user's choice; a file is one split.
/// #[derive(Serialize, Deserialize)]
/// struct Separated(u8);
///
/// impl InputFormat for Separated {
///     type Split = FileSplit;
///     type Reader = Box<dyn RecordReader<Record = Vec<u8>>>;
///
///     fn splits(&self, input: &Input<'_>) -> Result<Vec<InputSplit<FileSplit>>> {
///         input.file_splits(|_| Ok(None))
///     }
///
///     fn open(&self, split: FileSplit, task: &ReadTask) -> Result<Self::Reader> {
///         let file = BufReader::new(task.open_unpacked(&split.path)?);
///         Ok(Box::new(RecordIter::new(file.split(self.0).map(|record| Ok(record?)))))
///     }
/// }
/// ```
pub trait InputFormat: Env {
    /// What a task needs to read its part: a [`FileSplit`](crate::FileSplit), or what the format has in its place.
    type Split: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What reads a split; `Box<dyn RecordReader<Record = ..>>` where it has no name.
    type Reader: RecordReader;

    /// The splits of an input, in order: a partition each. Runs on the driver, when the RDD is made.
    ///
    /// # Errors
    /// When the input is not there or is none of this format.
    fn splits(&self, input: &Input<'_>) -> Result<Vec<InputSplit<Self::Split>>>;

    /// A reader of one split. Runs in a task.
    ///
    /// # Errors
    /// When the split cannot be read; the task fails.
    fn open(&self, split: Self::Split, task: &ReadTask) -> Result<Self::Reader>;
}

/// Reads the records of a split, in batches, so that what is paid for each is paid once a batch. Spark: Hadoop's
/// `RecordReader`.
pub trait RecordReader: 'static {
    /// What is read; many records may be one element, as the lines of a block are.
    type Record: Data;

    /// The next records, about a thousand or a megabyte of them, whatever is reached first; `None` at the end. Whether the task
    /// shall end is looked at before each call.
    ///
    /// # Errors
    /// When the input cannot be read, or is none of this format; the task fails. The error shall name the file: those of a
    /// [`TaskInput`](crate::TaskInput) do, what a buffer around it says of an early end does not.
    fn next_batch(&mut self) -> Result<Option<Vec<Self::Record>>>;

    /// How many records a batch counts for in the task's metrics.
    fn count(batch: &[Self::Record]) -> u64
    where
        Self: Sized,
    {
        batch.len() as u64
    }
}

impl<T: Data> RecordReader for Box<dyn RecordReader<Record = T>> {
    type Record = T;

    fn next_batch(&mut self) -> Result<Option<Vec<T>>> {
        (**self).next_batch()
    }
}

/// Records at most in a batch.
const BATCH: usize = 1024;

/// A [`RecordReader`] over an iterator. It is not asked again after it has said `None`.
pub struct RecordIter<I: Iterator> {
    records: Fuse<I>,
    filling: Filling,
}

impl<T: Data, I: Iterator<Item = Result<T>> + 'static> RecordIter<I> {
    /// Reads what `records` yields.
    pub fn new(records: I) -> Self {
        RecordIter { records: records.fuse(), filling: Filling::default() }
    }
}

impl<T: Data, I: Iterator<Item = Result<T>> + 'static> RecordReader for RecordIter<I> {
    type Record = T;

    fn next_batch(&mut self) -> Result<Option<Vec<T>>> {
        let most = room_of::<T>(BATCH);
        let mut batch = Vec::with_capacity(self.filling.room(most).min(self.records.size_hint().0));
        self.filling.begin();
        while batch.len() < most
            && let Some(record) = self.records.next()
        {
            let record = record?;
            let full = self.filling.is_full_with(&record);
            batch.push(record);
            if full {
                break;
            }
        }
        Ok(if batch.is_empty() { None } else { Some(batch) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn batches_are_bounded_by_number_and_by_bytes_and_end_once() {
        let mut numbers = RecordIter::new((0..2500u32).map(Ok));
        let lens: Vec<usize> =
            std::iter::from_fn(|| numbers.next_batch().unwrap()).map(|batch: Vec<u32>| batch.len()).collect();
        assert_eq!(lens, [1024, 1024, 452]);
        assert!(numbers.next_batch().unwrap().is_none());
        let mut large = RecordIter::new((0..3).map(|_| Ok(vec![0u8; 2 << 20])));
        assert_eq!(large.next_batch().unwrap().unwrap().len(), 1);
        let mut fails = RecordIter::new([Ok(1u8), Err(Error::invalid("bad"))].into_iter());
        assert!(fails.next_batch().is_err());
    }
}
