//! `cogroup` of three and four RDDs. The groups of the first ones stay where they lie: only the new RDD is moved.

use firesteel_common::{Data, Key};

use super::Partitioning;
use crate::Rdd;

shuffles! {
    impl[K: Key, V: Data] (K, V);

    /// For each key of any of three RDDs, its values in each; see [`Rdd::cogroup`]. Spark: `cogroup`, `groupWith`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (1, 3.0)]);
    /// let names = sc.parallelize([(1u32, "Ada".to_owned()), (2, "Max".to_owned())]);
    /// let visits = sc.parallelize([(2u32, 14u64)]);
    /// let all = orders.cogroup3(&names, &visits).collect_as_map()?;
    /// assert_eq!(all[&1], (vec![9.5, 3.0], vec!["Ada".to_owned()], vec![]));
    /// assert_eq!(all[&2], (vec![], vec!["Max".to_owned()], vec![14]));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "groupWith")]
    fn cogroup3[W: Data, X: Data](second: &Rdd<(K, W)>, third: &Rdd<(K, X)>) -> Rdd<(K, (Vec<V>, Vec<W>, Vec<X>))>, by K =
        |rdd, by| {
            let parents = [rdd.as_parent(), second.as_parent(), third.as_parent()];
            let by = by.unwrap_or_else(|| Partitioning::by_default(rdd.scope(), parents));
            let two = rdd.cogrouped(second, Some(by.clone()));
            two.cogrouped(third, Some(by)).map_values(|(two, third)| {
                let (first, second) = two.into_iter().next().unwrap_or_default();
                (first, second, third)
            })
        };

    /// For each key of any of four RDDs, its values in each; see [`Rdd::cogroup`]. Spark: `cogroup`, `groupWith`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let at = |hour: u32, t: f64| sc.parallelize([(hour, t)]);
    /// let (ulm, rom, oslo, lima) = (at(6, 4.0), at(6, 12.0), at(7, -3.0), at(6, 18.0));
    /// let hours = ulm.cogroup4(&rom, &oslo, &lima).collect_as_map()?;
    /// assert_eq!(hours[&6], (vec![4.0], vec![12.0], vec![], vec![18.0]));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "groupWith")]
    fn cogroup4[W: Data, X: Data, Y: Data](
        second: &Rdd<(K, W)>, third: &Rdd<(K, X)>, fourth: &Rdd<(K, Y)>
    ) -> Rdd<(K, (Vec<V>, Vec<W>, Vec<X>, Vec<Y>))>, by K = |rdd, by| {
        let parents = [rdd.as_parent(), second.as_parent(), third.as_parent(), fourth.as_parent()];
        let by = by.unwrap_or_else(|| Partitioning::by_default(rdd.scope(), parents));
        let three = rdd.cogrouped(second, Some(by.clone())).cogrouped(third, Some(by.clone()));
        three.cogrouped(fourth, Some(by)).map_values(|(three, fourth)| {
            let (two, third) = three.into_iter().next().unwrap_or_default();
            let (first, second) = two.into_iter().next().unwrap_or_default();
            (first, second, third, fourth)
        })
    };
}
