//! `whole_text_files`: each file as one text.

use std::io::Read;

use firesteel_files::{
    FileSplit, Input, InputFormat, InputSplit, ReadTask, RecordIter, RecordReader, Result as FilesResult, codec_of,
};
use firesteel_rdd::Rdd;
use serde::{Deserialize, Serialize};

use super::key_of;
use crate::{Context, PartitionedContext, Result};

impl Context {
    /// The files that `path` names, each as a pair of its path and its text: for many small files, as each is in memory as
    /// a whole. Paths are those that `text_file` takes; bytes that are no UTF-8 become replacement characters.
    ///
    /// Small files come several to a partition, in the order of their paths; there are about two partitions, or one with a
    /// default parallelism of one. Files whose names end in `.gz`, `.bz2` or `.zst` are unpacked. The key is the file's absolute path
    /// or its URL; Spark writes `file:` before a path.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # use firesteel::prelude::*;
    /// # let sc = Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let letters = dir.path().to_str().unwrap();
    /// std::fs::write(format!("{letters}/a"), "Dear A,\n").unwrap();
    /// std::fs::write(format!("{letters}/b"), "Dear B,\nno.\n").unwrap();
    /// let lengths = sc.whole_text_files(letters)?.map(|(path, text)| (path.ends_with("/b"), text.lines().count()));
    /// assert_eq!(lengths.collect()?, [(false, 1), (true, 2)]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When nothing matches, or the name of a file is not UTF-8.
    #[doc(alias = "wholeTextFiles")]
    #[track_caller]
    pub fn whole_text_files(&self, path: &str) -> Result<Rdd<(String, String)>> {
        self.partitioned(self.default_parallelism().min(2)).whole_text_files(path)
    }
}

impl PartitionedContext<'_> {
    /// As [`Context::whole_text_files`], with so many partitions, about, where there are as many files.
    ///
    /// # Errors
    /// As [`Context::whole_text_files`].
    #[track_caller]
    pub fn whole_text_files(&self, path: &str) -> Result<Rdd<(String, String)>> {
        self.read_named("whole_text_files", path, WholeTextFiles)
    }
}

/// Spark: `WholeTextFileInputFormat`.
#[derive(Serialize, Deserialize)]
struct WholeTextFiles;

impl InputFormat for WholeTextFiles {
    type Split = Vec<FileSplit>;
    type Reader = Box<dyn RecordReader<Record = (String, String)>>;

    fn splits(&self, input: &Input<'_>) -> FilesResult<Vec<InputSplit<Vec<FileSplit>>>> {
        let partitions = u64::from(input.min_partitions.max(1));
        let splits = input.whole_files(|files| files.iter().map(|file| file.len).sum::<u64>().div_ceil(partitions))?;
        for file in splits.iter().flat_map(|split| &split.data) {
            codec_of(&file.path).and(key_of(&file.path))?;
        }
        Ok(splits)
    }

    fn open(&self, files: Vec<FileSplit>, task: &ReadTask) -> FilesResult<Self::Reader> {
        let task = task.clone();
        Ok(Box::new(RecordIter::new(
            files.into_iter().map(move |file| Ok((key_of(&file.path)?, text_of(&file, &task)?))),
        )))
    }
}

fn text_of(file: &FileSplit, task: &ReadTask) -> FilesResult<String> {
    if file.len == 0 {
        // Without a byte it is no packed file, whatever its name.
        return Ok(String::new());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(file.len).unwrap_or(0));
    task.open_unpacked(&file.path)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}
