//! Actions by the order of elements: `top`, `take_ordered`, `max`, `min`.

use firesteel_common::Data;
use firesteel_shuffle::SortKey;
use firesteel_task::chunk::Stream;

use crate::{Rdd, Result, actions::over, error::Error};

/// The `n` first of `elements` by their order, or the last when `descending`, sorted.
fn select<T: SortKey>(mut elements: Vec<T>, n: usize, descending: bool) -> Vec<T> {
    let order = |a: &T, b: &T| if descending { b.cmp_key(a) } else { a.cmp_key(b) };
    if n == 0 {
        return Vec::new();
    }
    if elements.len() > n {
        elements.select_nth_unstable_by(n - 1, order);
        elements.truncate(n);
    }
    elements.sort_by(order);
    elements
}

impl<T: Data + SortKey> Rdd<T> {
    /// The `n` smallest elements, smallest first.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let prices = sc.parallelize([9.5f64, 2.0, 30.0, 4.5]);
    /// assert_eq!(prices.take_ordered(2)?, [2.0, 4.5]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "takeOrdered")]
    #[track_caller]
    pub fn take_ordered(&self, n: usize) -> Result<Vec<T>> {
        self.extremes("take_ordered", n, false)
    }

    /// The `n` largest elements, largest first.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let scores = sc.parallelize([(310u32, "Ada"), (290, "Max"), (350, "Eva")].map(|(n, who)| (n, who.to_owned())));
    /// assert_eq!(scores.top(1)?, [(350, "Eva".to_owned())]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn top(&self, n: usize) -> Result<Vec<T>> {
        self.extremes("top", n, true)
    }

    /// The largest element.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let prices = sc.parallelize([9.5f64, 2.0, 30.0]);
    /// assert_eq!(prices.max()?, 30.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`] when there is no element.
    #[track_caller]
    pub fn max(&self) -> Result<T> {
        self.extremes("max", 1, true)?.pop().ok_or(Error::Empty("max"))
    }

    /// The smallest element.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let prices = sc.parallelize([9.5f64, 2.0, 30.0]);
    /// assert_eq!(prices.min()?, 2.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`] when there is no element.
    #[track_caller]
    pub fn min(&self) -> Result<T> {
        self.extremes("min", 1, false)?.pop().ok_or(Error::Empty("min"))
    }

    #[track_caller]
    fn extremes(&self, action: &'static str, n: usize, descending: bool) -> Result<Vec<T>> {
        let part = over(|(n, descending): &(usize, bool), mut input: Stream<T>, _| {
            let mut best = Vec::new();
            while let Some(chunk) = input.next_chunk()? {
                best.extend_from_slice(chunk.as_slice());
                if best.len() > n.saturating_mul(2).saturating_add(4096) {
                    best = select(best, *n, *descending);
                }
            }
            Ok(select(best, *n, *descending))
        });
        let parts: Vec<Vec<T>> = self.run_all(action, &(n, descending), part)?;
        Ok(select(parts.into_iter().flatten().collect(), n, descending))
    }
}
