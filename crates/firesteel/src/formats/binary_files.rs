//! `binary_files`: each file as something that can be opened.

use std::io::Read;

use firesteel_common::conf::keys;
use firesteel_files::{
    Error as FilesError, FilePath, FileSplit, FileSystems, Input, InputFile, InputFormat, InputSplit, ReadTask,
    RecordIter, RecordReader, Result as FilesResult,
};
use firesteel_rdd::Rdd;
use serde::{Deserialize, Serialize};

use super::key_of;
use crate::{Context, PartitionedContext, Result, setting::get};

impl Context {
    /// The files that `path` names, each as a pair of its path and a stream of its bytes, which a task opens when it wants
    /// them. Paths are those that `text_file` takes, keys those of [`Context::whole_text_files`]; packed files are not unpacked.
    ///
    /// Small files come several to a partition, in the order of their paths, up to `spark.files.maxPartitionBytes`, or as many
    /// bytes as each of [`Context::default_parallelism`] partitions gets; each counts for `spark.files.openCostInBytes` more.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # use firesteel::prelude::*;
    /// # let sc = Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let images = dir.path().to_str().unwrap();
    /// std::fs::write(format!("{images}/a.bmp"), b"BM\x01\x02").unwrap();
    /// let magic = sc.binary_files(images)?.try_map(|(path, file)| file.to_vec().map(|bytes| (path, bytes[..2].to_vec())));
    /// assert_eq!(magic.map(|(_, magic)| magic).collect()?, [b"BM"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When nothing matches, or the name of a file is not UTF-8.
    #[doc(alias = "binaryFiles")]
    #[track_caller]
    pub fn binary_files(&self, path: &str) -> Result<Rdd<(String, PortableDataStream)>> {
        self.partitioned(self.default_parallelism().min(2)).binary_files(path)
    }
}

impl PartitionedContext<'_> {
    /// As [`Context::binary_files`], with so many partitions, about, where there are as many files and that is more than
    /// [`Context::default_parallelism`].
    ///
    /// # Errors
    /// As [`Context::binary_files`].
    #[track_caller]
    pub fn binary_files(&self, path: &str) -> Result<Rdd<(String, PortableDataStream)>> {
        let conf = self.sc.conf();
        let format = BinaryFiles {
            partitions: self.sc.default_parallelism().max(self.partitions),
            most: get(conf, &keys::FILES_MAX_PARTITION_BYTES)?.0,
            open_cost: get(conf, &keys::FILES_OPEN_COST)?.0,
        };
        self.read_named("binary_files", path, format)
    }
}

/// Spark: `StreamInputFormat`.
#[derive(Serialize, Deserialize)]
struct BinaryFiles {
    partitions: u32,
    /// Bytes of a partition, at most, where it has more than one file.
    most: u64,
    /// What opening a file costs, in bytes that could be read meanwhile.
    open_cost: u64,
}

impl InputFormat for BinaryFiles {
    type Split = Vec<FileSplit>;
    type Reader = Box<dyn RecordReader<Record = (String, PortableDataStream)>>;

    fn splits(&self, input: &Input<'_>) -> FilesResult<Vec<InputSplit<Vec<FileSplit>>>> {
        let splits = input.whole_files(|files| {
            let cost: u64 = files.iter().map(|file| file.len + self.open_cost).sum();
            self.most.min(self.open_cost.max(cost / u64::from(self.partitions.max(1))))
        })?;
        for file in splits.iter().flat_map(|split| &split.data) {
            key_of(&file.path)?;
        }
        Ok(splits)
    }

    fn open(&self, files: Vec<FileSplit>, task: &ReadTask) -> FilesResult<Self::Reader> {
        let systems = task.systems().clone();
        Ok(Box::new(RecordIter::new(files.into_iter().map(move |FileSplit { path, len, .. }| {
            Ok((key_of(&path)?, PortableDataStream { path, len, systems: systems.clone() }))
        }))))
    }
}

/// A file that can be opened in any task: an element of [`Context::binary_files`]. What is read of it is not counted in the
/// task's metrics.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// # let dir = tempfile::tempdir().unwrap();
/// # let images = dir.path().to_str().unwrap();
/// use std::io::Read;
///
/// std::fs::write(format!("{images}/a.bmp"), b"BM\x01\x02").unwrap();
/// let (_, image) = sc.binary_files(images)?.first()?;
/// assert!(image.path().path().ends_with("a.bmp"));
/// assert_eq!((image.len(), image.to_vec().unwrap()), (4, b"BM\x01\x02".to_vec()));
///
/// let mut magic = [0; 2];
/// image.open().unwrap().read_exact(&mut magic).unwrap();
/// assert_eq!(&magic, b"BM");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortableDataStream {
    path: FilePath,
    len: u64,
    systems: FileSystems,
}

impl PortableDataStream {
    /// The file.
    #[doc(alias = "getPath")]
    pub fn path(&self) -> &FilePath {
        &self.path
    }

    /// How many bytes it had when the RDD was made.
    #[expect(clippy::len_without_is_empty, reason = "it is the length of a file, not of a collection")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Opens it at its start; it can be read from any place.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self) -> FilesResult<Box<dyn InputFile>> {
        self.systems.of(&self.path)?.open(&self.path).map_err(|e| FilesError::io(&self.path, e))
    }

    /// All its bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    #[doc(alias = "toArray")]
    pub fn to_vec(&self) -> FilesResult<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len).unwrap_or(0));
        self.open()?.read_to_end(&mut bytes).map_err(|e| FilesError::io(&self.path, e))?;
        Ok(bytes)
    }
}
