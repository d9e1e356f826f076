//! [`OutputFormat`]: how records are written, as a user writes it.

use firesteel_common::{Data, Env};

use crate::{ManifestEntry, WriteTask, error::Result};

/// A way to write records of type `T`: what a task does with those of its partition. Spark: Hadoop's `OutputFormat`.
///
/// A value travels to the executors as its encoding, and is shared there by the tasks of a stage.
///
/// ```
/// use std::io::{BufWriter, Write};
/// use firesteel_files::{Error, ManifestEntry, OutputFormat, RecordWriter, Result, TaskFile, WriteTask};
/// use serde::{Deserialize, Serialize};
///
/// /// Each record with a byte of the user's choice after it, in files whose names end in `.records`.
/// #[derive(Serialize, Deserialize)]
/// struct Separated(u8);
///
/// struct Writer(u8, BufWriter<TaskFile>);
///
/// impl OutputFormat<Vec<u8>> for Separated {
///     type Writer = Writer;
///
///     fn open(&self, task: &WriteTask) -> Result<Writer> {
///         Ok(Writer(self.0, BufWriter::new(task.create(".records")?)))
///     }
/// }
///
/// impl RecordWriter<Vec<u8>> for Writer {
///     fn write(&mut self, records: &[Vec<u8>]) -> Result<()> {
///         for record in records {
///             self.1.write_all(record)?;
///             self.1.write_all(&[self.0])?;
///         }
///         Ok(())
///     }
///
///     fn finish(self) -> Result<Vec<ManifestEntry>> {
///         let file = self.1.into_inner().map_err(|e| Error::from(e.into_error()))?;
///         Ok(vec![file.finish()?])
///     }
/// }
/// ```
pub trait OutputFormat<T: Data>: Env {
    /// What writes a task's records.
    type Writer: RecordWriter<T>;

    /// A writer for one task attempt. Several attempts may write one partition at a time; one of them will count.
    ///
    /// # Errors
    /// When its files cannot be made; the attempt fails.
    fn open(&self, task: &WriteTask) -> Result<Self::Writer>;
}

/// Writes the records of a task attempt, batch by batch. Spark: Hadoop's `RecordWriter`.
///
/// One that is dropped unfinished belongs to an attempt that failed: its files are given up.
pub trait RecordWriter<T: Data> {
    /// Writes some more records, in their order.
    ///
    /// # Errors
    /// When they cannot be written; the attempt fails.
    fn write(&mut self, records: &[T]) -> Result<()>;

    /// Ends the files and hands back their entries: a file without one does not become part of the output.
    ///
    /// # Errors
    /// When not all is written; the attempt fails.
    fn finish(self) -> Result<Vec<ManifestEntry>>;
}
