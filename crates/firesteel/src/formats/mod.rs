//! Files and their formats: what reads them as RDDs, and where they lie.
//!
//! [`Context::read_with_format`] is the door. Each format of the library's own is a file here, written as a user writes one:
//! the [`InputFormat`] and the methods of [`Context`] that give it a name.

use firesteel_common::Env;
use firesteel_files::{FileSystem, InputFormat, RecordReader};
use firesteel_rdd::{
    Rdd,
    sources::{self, Reading},
};

use crate::{Context, PartitionedContext, Result};

mod binary_files;
mod binary_records;
mod whole_text_files;

pub use binary_files::PortableDataStream;

/// What a format reads.
type Record<F> = <<F as InputFormat>::Reader as RecordReader>::Record;

impl Context {
    /// What `format` reads of the files that `path` names, a partition for each of its splits: see [`InputFormat`] for how
    /// to write one.
    ///
    /// Spark: `hadoopFile` and `newAPIHadoopFile`, which are named after the classes that they take.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use std::io::{BufRead, BufReader};
    /// use firesteel::files::{self, FileSplit, Input, InputFormat, InputSplit, ReadTask, RecordIter, RecordReader};
    /// use firesteel::prelude::*;
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
    ///     fn splits(&self, input: &Input<'_>) -> files::Result<Vec<InputSplit<FileSplit>>> {
    ///         input.file_splits(|_| Ok(None))
    ///     }
    ///
    ///     fn open(&self, split: FileSplit, task: &ReadTask) -> files::Result<Self::Reader> {
    ///         let file = BufReader::new(task.open_unpacked(&split.path)?);
    ///         Ok(Box::new(RecordIter::new(file.split(self.0).map(|record| Ok(record?)))))
    ///     }
    /// }
    ///
    /// let sc = Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("records").to_str().unwrap().to_owned();
    /// std::fs::write(&path, "one;two;three").unwrap();
    /// let records = sc.read_with_format(&path, Separated(b';'))?;
    /// assert_eq!(records.map(|record| record.len()).collect()?, [3, 3, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the format finds nothing to read, or more splits than an RDD has partitions.
    #[doc(alias = "hadoopFile")]
    #[doc(alias = "newAPIHadoopFile")]
    #[track_caller]
    pub fn read_with_format<F: InputFormat>(&self, path: &str, format: F) -> Result<Rdd<Record<F>>> {
        self.partitioned(self.default_parallelism().min(2)).read_with_format(path, format)
    }

    /// Has paths that begin with `scheme://` mean files of `system`, in this Context's RDDs that are made, and saved, from now
    /// on. It travels with their tasks.
    ///
    /// Spark: `spark.hadoop.fs.<scheme>.impl`, which names a class.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::{collections::BTreeMap, ffi::OsStr, io};
    /// use firesteel::files::{FileKind, FilePath, FileStatus, FileSystem, InputFile, OutputFile};
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// Texts that travel with the program.
    /// #[derive(Serialize, Deserialize)]
    /// struct Bundle(BTreeMap<String, String>);
    ///
    /// impl Bundle {
    ///     fn text(&self, path: &FilePath) -> io::Result<&String> {
    ///         path.path().to_str().and_then(|name| self.0.get(name)).ok_or(io::ErrorKind::NotFound.into())
    ///     }
    /// }
    ///
    /// fn read_only<T>() -> io::Result<T> {
    ///     Err(io::ErrorKind::ReadOnlyFilesystem.into())
    /// }
    ///
    /// impl FileSystem for Bundle {
    ///     fn status(&self, path: &FilePath) -> io::Result<FileStatus> {
    ///         let len = self.text(path)?.len() as u64;
    ///         Ok(FileStatus { path: path.clone(), kind: FileKind::File, len })
    ///     }
    ///
    ///     fn list(&self, _: &FilePath, _: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<FileStatus>> {
    ///         Err(io::ErrorKind::NotADirectory.into())
    ///     }
    ///
    ///     fn open(&self, path: &FilePath) -> io::Result<Box<dyn InputFile>> {
    ///         Ok(Box::new(io::Cursor::new(self.text(path)?.clone())))
    ///     }
    ///
    ///     fn create(&self, _: &FilePath) -> io::Result<Box<dyn OutputFile>> { read_only() }
    ///     fn create_dir(&self, _: &FilePath) -> io::Result<()> { read_only() }
    ///     fn create_dirs(&self, _: &FilePath) -> io::Result<()> { read_only() }
    ///     fn rename(&self, _: &FilePath, _: &FilePath) -> io::Result<()> { read_only() }
    ///     fn delete(&self, _: &FilePath) -> io::Result<()> { read_only() }
    /// }
    ///
    /// let words = ("words.txt".to_owned(), "tea\nsalt\n".to_owned());
    /// sc.add_file_system("bundle", Bundle(BTreeMap::from([words])))?;
    /// assert_eq!(sc.text_file("bundle://words.txt")?.collect()?, ["tea", "salt"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When `scheme` is no word or is `file`, and when `system` cannot be encoded.
    pub fn add_file_system<F: FileSystem + Env>(&self, scheme: &str, system: F) -> Result<()> {
        self.scope().add_file_system(|systems| systems.add(scheme, system))
    }
}

impl PartitionedContext<'_> {
    /// As [`Context::read_with_format`], with at least so many partitions where the format cuts its input so small.
    ///
    /// # Errors
    /// As [`Context::read_with_format`].
    #[track_caller]
    pub fn read_with_format<F: InputFormat>(&self, path: &str, format: F) -> Result<Rdd<Record<F>>> {
        self.read_named("read_with_format", path, format)
    }

    /// An RDD of that name.
    #[track_caller]
    fn read_named<F: InputFormat>(&self, name: &'static str, path: &str, format: F) -> Result<Rdd<Record<F>>> {
        let reading = Reading { name, min_partitions: self.partitions, bounds: self.sc.bounds() };
        sources::read_with_format(self.sc.scope(), path, format, reading)
    }
}

/// The name of a file as the key of an RDD.
fn key_of(file: &firesteel_files::FilePath) -> firesteel_files::Result<String> {
    file.to_path_buf().into_os_string().into_string().map_err(|_| {
        let what = format!("{file}: the name is not UTF-8, which keys are: rename the file");
        firesteel_files::Error::invalid(what)
    })
}
