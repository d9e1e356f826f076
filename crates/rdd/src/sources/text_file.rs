//! Lines of text files, by `firesteel_files`' [`TextInput`].

use std::sync::Arc;

use firesteel_files::{SplitBounds, text::TextInput};

use super::{Reading, read_with_format};
use crate::{Rdd, error::Result, lines::Lines, runner::Scope};

/// The lines of the files that `path` names, without their ends (`\n`, `\r\n` or `\r`), to be looked at by reference. A byte
/// order mark at the start of a file is no part of its first line.
///
/// `path` is a file, a directory (its files, without those whose names begin with `_` or `.`), a glob (`*`, `?`, `[a-z]`,
/// `[^a-z]`, `{one,other}`, and `\` before a character that stands for itself), or several of these with commas between;
/// `file://` may stand before each, or the scheme of a file system that was added. There are at least `min_partitions`
/// partitions when the files have as many bytes; `bounds` limits their size. An empty file is one partition, an empty
/// directory none. Files whose names end in `.gz`, `.bz2` or `.zst` are unpacked, each in one partition.
///
/// # Errors
/// When a path matches nothing, a directory cannot be read or has directories in it, or a file is packed in another way;
/// where its name does not say so, the job fails that would read it. The files must be readable on every worker under the
/// same path.
#[track_caller]
pub fn text_lines(scope: &Arc<Scope>, path: &str, min_partitions: u32, bounds: SplitBounds) -> Result<Lines> {
    let reading = Reading { name: "text_lines", min_partitions, bounds };
    Ok(Lines::new(read_with_format(scope, path, TextInput, reading)?))
}

/// As [`text_lines`], each line as a String of its own.
///
/// # Errors
/// As [`text_lines`].
#[track_caller]
pub fn text_file(scope: &Arc<Scope>, path: &str, min_partitions: u32, bounds: SplitBounds) -> Result<Rdd<String>> {
    Ok(text_lines(scope, path, min_partitions, bounds)?.to_strings())
}
