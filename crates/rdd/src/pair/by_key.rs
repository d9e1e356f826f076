//! What is made of combining by key: `reduce_by_key`, `combine_by_key`, `aggregate_by_key`, `group_by_key`, `distinct`.

use std::sync::Arc;

use firesteel_common::{Data, Env, Key};

use super::{
    Partitioning,
    combine::{Agg, Gather},
};
use crate::Rdd;

shuffles! {
    impl[K: Key, V: Data] (K, V);

    /// The values of each key as a Vec, in the order of the partitions they come from.
    ///
    /// All values of a key must fit into memory; where they are only combined, `reduce_by_key` moves less.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visits = sc.parallelize([(7u32, "home"), (8, "cart"), (7, "cart")].map(|(user, page)| (user, page.to_owned())));
    /// let by_user = visits.group_by_key().collect_as_map()?;
    /// assert_eq!(by_user[&7], ["home", "cart"]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "groupByKey")]
    fn group_by_key[]() -> Rdd<(K, Vec<V>)>, by K = |rdd, by| rdd.grouped(by);
}

shuffles! {
    impl[T: Key] T;

    /// Each element once.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visitors = sc.parallelize([7u32, 8, 7, 7]).distinct();
    /// assert_eq!(visitors.take_ordered(10)?, [7, 8]);
    /// # Ok(()) }
    /// ```
    fn distinct[]() -> Rdd<T>, by T = |rdd, by| {
        let agg = Agg::new(|_: &(), (): ()| (), |_: &(), (), ()| (), |_: &(), (), ()| ());
        rdd.map(|x| (x, ())).combine("distinct", by, true, &Arc::new(()), agg).keys()
    };
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    #[track_caller]
    fn grouped(&self, by: Option<Partitioning<K>>) -> Rdd<(K, Vec<V>)> {
        self.combine("group_by_key", by, false, &Arc::new(()), Gather::new())
    }

    #[track_caller]
    fn aggregated<U: Data, E: Env>(
        &self,
        name: &'static str,
        by: Option<Partitioning<K>>,
        env: &Arc<E>,
        zero: U,
        seq: impl Fn(&E, U, V) -> U + Copy + Send + Sync + 'static,
        comb: impl Fn(&E, U, U) -> U + Copy + Send + Sync + 'static,
    ) -> Rdd<(K, U)> {
        let agg = Agg::new(
            move |(env, zero): &(Arc<E>, U), v: V| seq(env, zero.clone(), v),
            move |(env, _): &(Arc<E>, U), c: U, v: V| seq(env, c, v),
            move |(env, _): &(Arc<E>, U), a: U, b: U| comb(env, a, b),
        );
        self.combine(name, by, true, &Arc::new((env.clone(), zero)), agg)
    }
}

shuffles_with! {
    impl[K: Key, V: Data] (K, V);

    /// Combines the values of each key with `f`, on the map side first. `f` must be associative and commutative.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let lines = sc.parallelize(["to be or", "not to be"].map(String::from));
    /// let counts = lines
    ///     .flat_map_to(|line, words| line.split_whitespace().for_each(|word| words.emit(word.to_owned())))
    ///     .map(|word| (word, 1u64))
    ///     .reduce_by_key(|a, b| a + b);
    /// assert_eq!(counts.collect_as_map()?["to"], 2);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "reduceByKey")]
    fn reduce_by_key[]() { f: F(a: V, b: V) -> V } -> Rdd<(K, V)>, by K = |rdd, by, env| {
        rdd.combine("reduce_by_key", by, true, env, Agg::new(|_: &E, v: V| v, f, f))
    };

    /// Combines the values of each key into a `C`: `create` makes one of a key's first value in a partition,
    /// `merge_value` adds a value, `merge_combiners` puts two of different partitions together.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let laps = sc.parallelize([(4u32, 61.5f64), (5, 60.0), (4, 59.5)]);
    /// // The best lap of each car, and how many it has driven.
    /// let best = laps.combine_by_key(
    ///     |lap| (lap, 1u32),
    ///     |(best, n), lap| (best.min(lap), n + 1),
    ///     |a, b| (a.0.min(b.0), a.1 + b.1),
    /// );
    /// assert_eq!(best.collect_as_map()?[&4], (59.5, 2));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "combineByKey")]
    fn combine_by_key[C: Data,]() {
        create: F(v: V) -> C, merge_value: G(c: C, v: V) -> C, merge_combiners: H(a: C, b: C) -> C
    } -> Rdd<(K, C)>, by K = |rdd, by, env| {
        rdd.combine("combine_by_key", by, true, env, Agg::new(create, merge_value, merge_combiners))
    };

    /// Folds the values of each key into a copy of `zero` with `seq`, and the partitions' results with `comb`. A key may
    /// begin with `zero` any number of times: it must change nothing.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let temperatures = sc.parallelize([("Ulm", 4.0f64), ("Rom", 17.0), ("Ulm", 6.0)].map(|(at, t)| (at.to_owned(), t)));
    /// let sums = temperatures.aggregate_by_key((0.0, 0u32), |(s, n), t| (s + t, n + 1), |a, b| (a.0 + b.0, a.1 + b.1));
    /// let means = sums.map_values(|(sum, n)| sum / f64::from(n));
    /// assert_eq!(means.collect_as_map()?["Ulm"], 5.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "aggregateByKey")]
    fn aggregate_by_key[U: Data,](zero: U) { seq: F(acc: U, v: V) -> U, comb: G(a: U, b: U) -> U } -> Rdd<(K, U)>, by K =
        |rdd, by, env| rdd.aggregated("aggregate_by_key", by, env, zero, seq, comb);

    /// As `reduce_by_key`, beginning with copies of `zero`, which must change nothing.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let bids = sc.parallelize([(31u32, 100u64), (32, 20), (31, 150)]);
    /// let highest = bids.fold_by_key(0, |a, b| a.max(b));
    /// assert_eq!(highest.collect_as_map()?[&31], 150);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "foldByKey")]
    fn fold_by_key[](zero: V) { f: F(a: V, b: V) -> V } -> Rdd<(K, V)>, by K =
        |rdd, by, env| rdd.aggregated("fold_by_key", by, env, zero, f, f);
}

shuffles_with! {
    impl[T: Data] T;

    /// The elements of each key that `f` gives, as a Vec.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["tea", "salt", "ink"].map(String::from));
    /// let by_length = words.group_by(|word| word.len()).collect_as_map()?;
    /// assert_eq!(by_length[&3], ["tea", "ink"]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "groupBy")]
    fn group_by[K: Key,]() { f: F(x: &T) -> K } -> Rdd<(K, Vec<T>)>, by K = |rdd, by, env| {
        rdd.with_env(env).key_by(f).grouped(by)
    };
}
