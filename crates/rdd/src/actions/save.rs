//! Saving an RDD in files: tasks write them by an [`OutputFormat`], and when all have succeeded the driver makes those of the
//! attempts that count visible, by the [`CommitProtocol`](firesteel_files::CommitProtocol) of the file system.

use std::path::Path;

use firesteel_common::{CallSite, Data};
use firesteel_files::{
    FilePath, FileSystems, ManifestEntry, OutputFormat, OutputJob, RecordWriter, TaskAttempt, WriteTask,
    text::{TextOutput, TextRecord},
};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{Rdd, Result, actions::over};

impl<T: Data> Rdd<T> {
    /// Writes each element as a line into `dir`, one file `part-00000` a partition, and `_SUCCESS` when all is there.
    /// `dir` must be at the same path on every worker, as on one machine or a shared file system.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let out = dir.path().join("totals");
    /// let totals = sc.parallelize([("tea".to_owned(), 5u64), ("salt".to_owned(), 1)]);
    /// totals.save_as_text_file(&out)?;
    /// assert_eq!(std::fs::read_to_string(out.join("part-00000")).unwrap(), "(tea,5)\n");
    /// assert!(out.join("_SUCCESS").exists());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OutputExists`](crate::Error::OutputExists) when `dir` is there already. When the job fails, `dir` is removed
    /// again.
    #[doc(alias = "saveAsTextFile")]
    #[track_caller]
    pub fn save_as_text_file(&self, dir: impl AsRef<Path>) -> Result<()>
    where
        T: TextRecord,
    {
        self.save_at(CallSite::here("save_as_text_file"), FilePath::from_path(dir.as_ref())?, TextOutput)
    }

    /// Writes the elements into `dir` as `format` does, at least a file for each partition, and `_SUCCESS` when all is there.
    /// `dir` must be at the same path on every worker, or in a file system that was added to the Context.
    ///
    /// Spark: `saveAsHadoopFile`, which is named after the classes that it takes.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::io::Write;
    /// use firesteel::files::{self, ManifestEntry, OutputFormat, RecordWriter, TaskFile, WriteTask};
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// Numbers as eight bytes each.
    /// #[derive(Serialize, Deserialize)]
    /// struct Binary;
    ///
    /// struct Writer(TaskFile);
    ///
    /// impl OutputFormat<u64> for Binary {
    ///     type Writer = Writer;
    ///
    ///     fn open(&self, task: &WriteTask) -> files::Result<Writer> {
    ///         Ok(Writer(task.create(".bin")?))
    ///     }
    /// }
    ///
    /// impl RecordWriter<u64> for Writer {
    ///     fn write(&mut self, numbers: &[u64]) -> files::Result<()> {
    ///         let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    ///         Ok(self.0.write_all(&bytes)?)
    ///     }
    ///
    ///     fn finish(self) -> files::Result<Vec<ManifestEntry>> {
    ///         Ok(vec![self.0.finish()?])
    ///     }
    /// }
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let out = dir.path().join("numbers").to_str().unwrap().to_owned();
    /// sc.range(0..100u64).save_with_format(&out, Binary)?;
    /// let numbers = sc.binary_records(&out, 8)?;
    /// assert_eq!(numbers.first()?, [0; 8]);
    /// assert_eq!(numbers.count()?, 100);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::save_as_text_file`].
    #[doc(alias = "saveAsHadoopFile")]
    #[doc(alias = "saveAsNewAPIHadoopFile")]
    #[track_caller]
    pub fn save_with_format<F: OutputFormat<T>>(&self, dir: impl AsRef<Path>, format: F) -> Result<()> {
        self.save_at(CallSite::here("save_with_format"), FilePath::from_path(dir.as_ref())?, format)
    }

    /// Writes into `dir` as `format` does, for what `site` names.
    pub(crate) fn save_at<F: OutputFormat<T>>(&self, site: CallSite, dir: FilePath, format: F) -> Result<()> {
        let systems = self.scope().file_systems();
        let system = systems.of(&dir)?;
        let (protocol, job) = (system.commit_protocol(), OutputJob::new(dir));
        protocol.setup_job(system, &job)?;
        let write = over(|(format, systems, job): &(F, FileSystems, OutputJob), input: Stream<T>, ctx| {
            let attempt = TaskAttempt { partition: ctx.partition_id(), id: ctx.task_attempt_id() };
            write(format, &WriteTask::new(systems.clone(), job.clone(), attempt), input, ctx)
        });
        let written: Result<Vec<Vec<ManifestEntry>>> = self.run_all_at(site, &(format, &systems, &job), write);
        let saved = written.and_then(|entries| {
            let manifest: Vec<ManifestEntry> = entries.into_iter().flatten().collect();
            Ok(protocol.commit_job(system, &job, &manifest)?)
        });
        if saved.is_err()
            && let Err(error) = protocol.abort_job(system, &job)
        {
            tracing::warn!(dir = %job.dir, %error, "cannot remove the output of a failed job");
        }
        saved
    }
}

/// Has `format` write a partition.
fn write<T: Data, F: OutputFormat<T>>(
    format: &F,
    task: &WriteTask,
    mut input: Stream<T>,
    ctx: &TaskContext,
) -> Result<Vec<ManifestEntry>, TaskError> {
    let counters = ctx.memory().counters();
    let mut writer = format.open(task)?;
    let mut counted = 0;
    let mut count = || {
        let written = task.bytes_written();
        counters.output_bytes.add(written - counted);
        counted = written;
    };
    while let Some(chunk) = input.next_chunk()? {
        counters.output_records.add(chunk.len() as u64);
        writer.write(chunk.as_slice())?;
        count();
    }
    let entries = writer.finish()?;
    count();
    Ok(entries)
}
