//! RDDs as sets: `subtract`, `intersection`.

use firesteel_common::Key;

use super::{
    cogroup::{CoGroup, sides},
    join::Lacking,
};
use crate::Rdd;

shuffles! {
    impl[T: Key] T;

    /// The elements that `other` lacks, as often as they are here.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let invited = sc.parallelize(["Ada", "Max", "Eva"].map(String::from));
    /// let came = sc.parallelize(["Eva", "Tom"].map(String::from));
    /// assert_eq!(invited.subtract(&came).take_ordered(9)?, ["Ada", "Max"]);
    /// # Ok(()) }
    /// ```
    fn subtract[](other: &Rdd<T>) -> Rdd<T>, by T = |rdd, by| {
        let (here, there) = (rdd.map(|x| (x, ())), other.map(|x| (x, ())));
        here.joined::<(), Lacking>("subtract", &there, by).keys()
    };

    /// The elements that both RDDs have, each once.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let monday = sc.parallelize([7u32, 8, 8, 9]);
    /// let tuesday = sc.parallelize([8u32, 9, 9, 10]);
    /// assert_eq!(monday.intersection(&tuesday).take_ordered(9)?, [8, 9]);
    /// # Ok(()) }
    /// ```
    fn intersection[](other: &Rdd<T>) -> Rdd<T>, by T = |rdd, by| {
        let (here, there) = (rdd.map(|x| (x, ())), other.map(|x| (x, ())));
        let (left, right, partitions, key) = sides(&here, &there, by);
        let both = Rdd::from_body(rdd.scope(), partitions, "intersection", key, CoGroup { left, right });
        both.filter(|(_, (here, there))| !here.is_empty() && !there.is_empty()).keys()
    };
}
