//! Actions that bring elements to the driver: `collect`, `count`, `first`, `take`.

use firesteel_common::Data;
use firesteel_task::chunk::Stream;

use crate::{
    Rdd, Result,
    actions::{
        elements::{Elements, concat},
        over,
    },
    error::Error,
};

impl<T: Data> Rdd<T> {
    /// All elements, in partition order. They must fit into the driver's memory and `spark.driver.maxResultSize`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let squares = sc.range(1..5u64).map(|x| x * x);
    /// assert_eq!(squares.collect()?, [1, 4, 9, 16]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn collect(&self) -> Result<Vec<T>> {
        self.collect_as("collect")
    }

    #[track_caller]
    pub(super) fn collect_as(&self, action: &'static str) -> Result<Vec<T>> {
        Ok(concat(self.run_all_decoding(action, &(), Elements::op(), Elements::decode)?))
    }

    /// The elements of each partition. Spark: `glom().collect()`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let letters = sc.partitioned(2).parallelize(['a', 'b', 'c', 'd']);
    /// assert_eq!(letters.collect_partitions()?, [['a', 'b'], ['c', 'd']]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "glom")]
    #[track_caller]
    pub fn collect_partitions(&self) -> Result<Vec<Vec<T>>> {
        self.run_all_decoding("collect_partitions", &(), Elements::op(), Elements::decode)
    }

    /// How many elements there are.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let multiples = sc.range(1..101u64).filter(|n| n % 7 == 0);
    /// assert_eq!(multiples.count()?, 14);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn count(&self) -> Result<u64> {
        let counts: Vec<u64> = self.run_all("count", &(), over(|_: &(), mut input: Stream<T>, _| input.count()))?;
        Ok(counts.into_iter().sum())
    }

    /// The first `n` elements, in partition order. Looks at one partition first, then at four times as many each time,
    /// as Spark does.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.partitioned(100).range(0..1_000_000u64);
    /// assert_eq!(numbers.take(3)?, [0, 1, 2]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn take(&self, n: usize) -> Result<Vec<T>> {
        self.head("take", n)
    }

    #[track_caller]
    fn head(&self, action: &'static str, n: usize) -> Result<Vec<T>> {
        let all = self.num_partitions();
        let (mut taken, mut next, mut width) = (Vec::new(), 0u32, 1u32);
        while taken.len() < n && next < all {
            let upto = next.saturating_add(width).min(all);
            let mut parts: Vec<Vec<T>> = (next..upto).map(|_| Vec::new()).collect();
            let head = over(|n: &usize, mut input: Stream<T>, _| {
                let mut head = Vec::new();
                while head.len() < *n
                    && let Some(chunk) = input.next_chunk()?
                {
                    let missing = *n - head.len();
                    head.extend_from_slice(chunk.as_slice().get(..missing).unwrap_or(chunk.as_slice()));
                }
                Ok(head)
            });
            self.run(action, (next..upto).collect(), &(n - taken.len()), head, |index, part| {
                if let Some(slot) = parts.get_mut(index) {
                    *slot = part;
                }
            })?;
            let missing = n - taken.len();
            taken.extend(parts.into_iter().flatten().take(missing));
            (next, width) = (upto, upto.saturating_mul(4));
        }
        Ok(taken)
    }

    /// The first element.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::Error;
    ///
    /// let words = sc.parallelize(["tea", "salt"].map(String::from));
    /// assert_eq!(words.first()?, "tea");
    /// assert!(matches!(words.filter(|word| word.len() > 9).first(), Err(Error::Empty(_))));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`] when there is none.
    #[track_caller]
    pub fn first(&self) -> Result<T> {
        self.head("first", 1)?.into_iter().next().ok_or(Error::Empty("first"))
    }

    /// Whether there is no element.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let readings = sc.parallelize([21.5f64, 19.0]);
    /// assert!(readings.filter(|t| *t > 30.0).is_empty()?);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "isEmpty")]
    #[track_caller]
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.head("is_empty", 1)?.is_empty())
    }
}
