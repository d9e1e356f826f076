//! `to_local_iterator`: all elements on the driver, a partition at a time.

use std::{ops::Range, vec::IntoIter};

use firesteel_common::{CallSite, Data};

use super::elements::Elements;
use crate::{Rdd, Result};

/// The elements of an RDD, partition after partition, from [`Rdd::to_local_iterator`]. It ends after an error.
pub struct LocalIterator<T: Data> {
    rdd: Rdd<T>,
    waiting: Range<u32>,
    here: IntoIter<T>,
    site: CallSite,
}

impl<T: Data> Iterator for LocalIterator<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(x) = self.here.next() {
                return Some(Ok(x));
            }
            let partition = self.waiting.next()?;
            let mut elements = Vec::new();
            let run = self.rdd.run_at(self.site, vec![partition], &(), Elements::op(), Elements::decode, |_, part| {
                elements = part;
            });
            if let Err(error) = run {
                self.waiting = 0..0;
                return Some(Err(error));
            }
            self.here = elements.into_iter();
        }
    }
}

impl<T: Data> Rdd<T> {
    /// All elements, in partition order, as an iterator that holds one partition at a time. Each partition is a job of its
    /// own, which begins when the iterator comes to it: keep an RDD behind costly stages. Spark: `toLocalIterator`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.partitioned(100).range(0..1_000_000u64);
    /// let mut sum = 0;
    /// for n in numbers.to_local_iterator() {
    ///     sum += n?;
    /// }
    /// assert_eq!(sum, 499_999_500_000);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "toLocalIterator")]
    #[track_caller]
    pub fn to_local_iterator(&self) -> LocalIterator<T> {
        LocalIterator {
            rdd: self.clone(),
            waiting: 0..self.num_partitions(),
            here: Vec::new().into_iter(),
            site: CallSite::here("to_local_iterator"),
        }
    }
}
