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
    #[doc(alias = "groupByKey")]
    fn group_by_key[]() -> Rdd<(K, Vec<V>)>, by K = |rdd, by| rdd.grouped(by);
}

shuffles! {
    impl[T: Key] T;

    /// Each element once.
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
    /// # use firesteel_rdd::Rdd;
    /// fn word_counts(lines: &Rdd<String>) -> Rdd<(String, u64)> {
    ///     lines
    ///         .flat_map_to(|line, words| line.split_whitespace().for_each(|w| words.emit(w.to_owned())))
    ///         .map(|word| (word, 1))
    ///         .reduce_by_key(|a, b| a + b)
    /// }
    /// ```
    #[doc(alias = "reduceByKey")]
    fn reduce_by_key[]() { f: F(a: V, b: V) -> V } -> Rdd<(K, V)>, by K = |rdd, by, env| {
        rdd.combine("reduce_by_key", by, true, env, Agg::new(|_: &E, v: V| v, f, f))
    };

    /// Combines the values of each key into a `C`: `create` makes one of a key's first value in a partition,
    /// `merge_value` adds a value, `merge_combiners` puts two of different partitions together.
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
    /// # use firesteel_rdd::Rdd;
    /// fn mean_by_key(temperatures: &Rdd<(String, f64)>) -> Rdd<(String, f64)> {
    ///     let sums = temperatures.aggregate_by_key((0.0, 0u32), |(s, n), t| (s + t, n + 1), |a, b| (a.0 + b.0, a.1 + b.1));
    ///     sums.map_values(|(sum, n)| sum / f64::from(n))
    /// }
    /// ```
    #[doc(alias = "aggregateByKey")]
    fn aggregate_by_key[U: Data,](zero: U) { seq: F(acc: U, v: V) -> U, comb: G(a: U, b: U) -> U } -> Rdd<(K, U)>, by K =
        |rdd, by, env| rdd.aggregated("aggregate_by_key", by, env, zero, seq, comb);

    /// As `reduce_by_key`, beginning with copies of `zero`, which must change nothing.
    #[doc(alias = "foldByKey")]
    fn fold_by_key[](zero: V) { f: F(a: V, b: V) -> V } -> Rdd<(K, V)>, by K =
        |rdd, by, env| rdd.aggregated("fold_by_key", by, env, zero, f, f);
}

shuffles_with! {
    impl[T: Data] T;

    /// The elements of each key that `f` gives, as a Vec.
    #[doc(alias = "groupBy")]
    fn group_by[K: Key,]() { f: F(x: &T) -> K } -> Rdd<(K, Vec<T>)>, by K = |rdd, by, env| {
        rdd.with_env(env).key_by(f).grouped(by)
    };
}
