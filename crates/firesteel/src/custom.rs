//! RDDs of a program's own from a [`Context`].

use firesteel_rdd::custom;

use crate::{Context, CustomRdd, Rdd, Result};

impl Context {
    /// An RDD of a program's own that is computed from no other: a source.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::{error::Error, sync::Arc};
    /// use firesteel::{CustomRdd, TaskContext};
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// A partition of squares for each number.
    /// #[derive(Serialize, Deserialize)]
    /// struct Squares(Vec<u64>);
    ///
    /// impl CustomRdd for Squares {
    ///     type Item = u64;
    ///     type Parents = ();
    ///
    ///     fn partitions(&self) -> u32 {
    ///         self.0.len() as u32
    ///     }
    ///
    ///     fn compute(
    ///         &self,
    ///         partition: u32,
    ///         (): (),
    ///         _: &Arc<TaskContext>,
    ///     ) -> Result<impl Iterator<Item = u64> + 'static, Box<dyn Error + Send + Sync>> {
    ///         Ok((0..self.0[partition as usize]).map(|x| x * x))
    ///     }
    /// }
    ///
    /// let squares = sc.rdd(Squares(vec![3, 1, 4]))?;
    /// assert_eq!(squares.num_partitions(), 3);
    /// assert_eq!(squares.collect()?, [0, 1, 4, 0, 0, 1, 4, 9]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Context::rdd_from`].
    #[track_caller]
    pub fn rdd<C: CustomRdd<Parents = ()>>(&self, rdd: C) -> Result<Rdd<C::Item>> {
        custom::from_custom(self.scope(), rdd, &())
    }

    /// An RDD of a program's own that is computed from partitions of `parents`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::{error::Error, sync::Arc};
    /// use firesteel::{CustomRdd, NarrowMap, ParentInput, Rdd, TaskContext};
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// Every second partition of an RDD.
    /// #[derive(Serialize, Deserialize)]
    /// struct EverySecond(u32);
    ///
    /// impl CustomRdd for EverySecond {
    ///     type Item = u64;
    ///     type Parents = Rdd<u64>;
    ///
    ///     fn partitions(&self) -> u32 {
    ///         self.0.div_ceil(2)
    ///     }
    ///
    ///     fn dependencies(&self) -> Vec<NarrowMap> {
    ///         vec![NarrowMap::Selected((0..self.0).step_by(2).collect())]
    ///     }
    ///
    ///     fn compute(
    ///         &self,
    ///         _: u32,
    ///         parent: ParentInput<u64>,
    ///         _: &Arc<TaskContext>,
    ///     ) -> Result<impl Iterator<Item = u64> + 'static, Box<dyn Error + Send + Sync>> {
    ///         Ok(parent.elements())
    ///     }
    /// }
    ///
    /// let numbers = sc.partitioned(5).range(0..10u64);
    /// let some = sc.rdd_from(EverySecond(numbers.num_partitions()), numbers)?;
    /// assert_eq!(some.collect()?, [0, 1, 4, 5, 8, 9]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) when its dependencies are not as many as its parents, or name
    /// partitions that a parent does not have.
    #[track_caller]
    pub fn rdd_from<C: CustomRdd>(&self, rdd: C, parents: C::Parents) -> Result<Rdd<C::Item>> {
        custom::from_custom(self.scope(), rdd, &parents)
    }
}
