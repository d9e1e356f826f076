//! [`PartitionedContext`]: the sources, with a number of partitions.

use std::ops::Range;

use firesteel_common::Data;
use firesteel_rdd::{
    Lines, Rdd,
    sources::{self, RangeItem},
};

use crate::{Context, Result};

/// A Context with the number of partitions of its next source, from [`Context::partitioned`].
pub struct PartitionedContext<'a> {
    pub(crate) sc: &'a Context,
    pub(crate) partitions: u32,
}

impl PartitionedContext<'_> {
    /// An RDD of `data`, in so many partitions (at least one).
    #[track_caller]
    pub fn parallelize<T: Data>(&self, data: impl IntoIterator<Item = T>) -> Rdd<T> {
        sources::parallelize(self.sc.scope(), data.into_iter().collect(), self.partitions)
    }

    /// An RDD of the integers of `range`, in so many partitions (at least one).
    #[track_caller]
    pub fn range<T: RangeItem>(&self, range: Range<T>) -> Rdd<T>
    where
        Range<T>: Iterator<Item = T>,
    {
        sources::range(self.sc.scope(), range, self.partitions)
    }

    /// As [`Context::text_file`], with at least so many partitions.
    ///
    /// # Errors
    /// When nothing matches.
    #[track_caller]
    pub fn text_file(&self, path: &str) -> Result<Rdd<String>> {
        sources::text_file(self.sc.scope(), path, self.partitions, self.sc.bounds())
    }

    /// As [`Context::text_lines`], with at least so many partitions.
    ///
    /// # Errors
    /// When nothing matches.
    #[track_caller]
    pub fn text_lines(&self, path: &str) -> Result<Lines> {
        sources::text_lines(self.sc.scope(), path, self.partitions, self.sc.bounds())
    }
}

/// What [`Context::partitioned`] has taken the place of.
impl Context {
    #[doc(hidden)]
    #[deprecated(note = "write sc.partitioned(partitions).parallelize(data)")]
    #[track_caller]
    pub fn parallelize_n<T: Data>(&self, data: impl IntoIterator<Item = T>, partitions: u32) -> Rdd<T> {
        self.partitioned(partitions).parallelize(data)
    }

    #[doc(hidden)]
    #[deprecated(note = "write sc.partitioned(partitions).range(range)")]
    #[track_caller]
    pub fn range_n<T: RangeItem>(&self, range: Range<T>, partitions: u32) -> Rdd<T>
    where
        Range<T>: Iterator<Item = T>,
    {
        self.partitioned(partitions).range(range)
    }

    #[doc(hidden)]
    #[deprecated(note = "write sc.partitioned(partitions).text_file(path)")]
    #[track_caller]
    pub fn text_file_n(&self, path: &str, partitions: u32) -> Result<Rdd<String>> {
        self.partitioned(partitions).text_file(path)
    }

    #[doc(hidden)]
    #[deprecated(note = "write sc.partitioned(partitions).text_lines(path)")]
    #[track_caller]
    pub fn text_lines_n(&self, path: &str, partitions: u32) -> Result<Lines> {
        self.partitioned(partitions).text_lines(path)
    }
}
