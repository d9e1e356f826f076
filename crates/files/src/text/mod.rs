//! Text: files of lines, read in blocks and written a line for each element.
//!
//! * [`TextInput`]: lines, by [`LineReader`] as [`LineBlock`]s.
//! * [`TextOutput`]: elements as [`TextRecord`] has them.

use std::{io::Write, num::NonZeroU64};

use firesteel_common::Data;
use serde::{Deserialize, Serialize};

use crate::{
    FileSplit, Input, InputFormat, InputSplit, ManifestEntry, OutputFormat, ReadTask, RecordWriter, TaskFile,
    WriteTask, codec_of, error::Result,
};

mod line_block;
mod line_reader;
mod text_record;

pub use line_block::LineBlock;
pub use line_reader::LineReader;
pub use text_record::TextRecord;

/// Lines of text, which end at `\n`, `\r\n` or `\r`. A split has the lines whose first byte lies in it; a packed file is one
/// split. A byte order mark at the start of a file is no part of its first line. Spark: Hadoop's `TextInputFormat`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TextInput;

impl InputFormat for TextInput {
    type Split = FileSplit;
    type Reader = LineReader;

    fn splits(&self, input: &Input<'_>) -> Result<Vec<InputSplit<FileSplit>>> {
        input.file_splits(|file| Ok(if codec_of(&file.path)?.is_some() { None } else { Some(NonZeroU64::MIN) }))
    }

    fn open(&self, split: FileSplit, task: &ReadTask) -> Result<LineReader> {
        LineReader::open(&split, task)
    }
}

/// Elements as lines, each with a `\n` after it. Spark: Hadoop's `TextOutputFormat`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TextOutput;

impl<T: Data + TextRecord> OutputFormat<T> for TextOutput {
    type Writer = TextWriter;

    fn open(&self, task: &WriteTask) -> Result<TextWriter> {
        let lines = String::with_capacity(WRITTEN_AT_ONCE + 1024);
        Ok(TextWriter { file: task.create("")?, lines })
    }
}

/// Bytes of text that are gathered before they are written.
const WRITTEN_AT_ONCE: usize = 128 << 10;

/// Writes a task's lines.
pub struct TextWriter {
    file: TaskFile,
    lines: String,
}

impl<T: Data + TextRecord> RecordWriter<T> for TextWriter {
    fn write(&mut self, records: &[T]) -> Result<()> {
        for x in records {
            x.write_text(&mut self.lines);
            self.lines.push('\n');
            if self.lines.len() >= WRITTEN_AT_ONCE {
                self.file.write_all(self.lines.as_bytes())?;
                self.lines.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<ManifestEntry>> {
        self.file.write_all(self.lines.as_bytes())?;
        Ok(vec![self.file.finish()?])
    }
}
