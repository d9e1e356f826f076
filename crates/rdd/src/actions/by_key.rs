//! Actions by key: `count_by_key`, `count_by_value`, `lookup`, `collect_as_map`.

use std::collections::HashMap;

use firesteel_common::{Data, Key};
use firesteel_shuffle::Partitioner;
use firesteel_task::chunk::Stream;

use crate::{Rdd, Result, actions::over};

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// How many pairs each key has.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visits = sc.parallelize([(7u32, "home"), (8, "cart"), (7, "cart")].map(|(user, page)| (user, page.to_owned())));
    /// assert_eq!(visits.count_by_key()?[&7], 2);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "countByKey")]
    #[track_caller]
    pub fn count_by_key(&self) -> Result<HashMap<K, u64>> {
        let counts = self.map_ref(|(k, _)| (k.clone(), 1u64)).reduce_by_key(|a, b| a + b);
        Ok(counts.collect_as("count_by_key")?.into_iter().collect())
    }

    /// The pairs as a map; of several values of a key the last one stays.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let capitals = sc.parallelize([("Italy", "Rome"), ("Peru", "Lima")].map(|(of, is)| (of.to_owned(), is.to_owned())));
    /// assert_eq!(capitals.collect_as_map()?["Peru"], "Lima");
    /// # Ok(()) }
    /// ```
    #[doc(alias = "collectAsMap")]
    #[track_caller]
    pub fn collect_as_map(&self) -> Result<HashMap<K, V>> {
        Ok(self.collect_as("collect_as_map")?.into_iter().collect())
    }

    /// All values of `key`. Looks at one partition only when it is known how the pairs are spread.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visits = sc.parallelize([(7u32, "home"), (8, "cart"), (7, "cart")].map(|(user, page)| (user, page.to_owned())));
    /// assert_eq!(visits.lookup(&7)?, ["home", "cart"]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn lookup(&self, key: &K) -> Result<Vec<V>> {
        let partitions = match self.partitioning() {
            Some(by) => vec![by.partition(key)],
            None => (0..self.num_partitions()).collect(),
        };
        let mut found: Vec<Vec<V>> = partitions.iter().map(|_| Vec::new()).collect();
        let part = over(|key: &K, mut input: Stream<(K, V)>, _| {
            let mut values = Vec::new();
            while let Some(chunk) = input.next_chunk()? {
                values.extend(chunk.as_slice().iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()));
            }
            Ok(values)
        });
        self.run("lookup", partitions, key, part, |index, values| {
            if let Some(slot) = found.get_mut(index) {
                *slot = values;
            }
        })?;
        Ok(found.into_iter().flatten().collect())
    }
}

operators! {
    impl[K: Key, V: Data] (K, V);

    /// Combines the values of each key with `f` and brings them to the driver, without a shuffle: each partition's keys must
    /// fit into a task's memory and all into the driver's. `f` must be associative and commutative. Spark:
    /// `reduceByKeyLocally`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let sold = sc.parallelize([("tea", 2u64), ("salt", 1), ("tea", 3)].map(|(what, n)| (what.to_owned(), n)));
    /// assert_eq!(sold.reduce_by_key_locally(|a, b| a + b)?["tea"], 5);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "reduceByKeyLocally")]
    fn reduce_by_key_locally[]() { f: F(a: V, b: V) -> V } -> Result<HashMap<K, V>> = |rdd, env| {
        let part = over(move |env: &E, mut input: Stream<(K, V)>, _| {
            let mut sums = HashMap::new();
            while let Some(chunk) = input.next_chunk()? {
                chunk.into_vec().into_iter().for_each(|(k, v)| merge(&mut sums, k, v, |a, b| f(env, a, b)));
            }
            Ok(sums)
        });
        let mut sums = HashMap::new();
        for part in rdd.run_all::<_, HashMap<K, V>>("reduce_by_key_locally", &**env, part)? {
            part.into_iter().for_each(|(k, v)| merge(&mut sums, k, v, |a, b| f(env, a, b)));
        }
        Ok(sums)
    };
}

fn merge<K: Key, V>(sums: &mut HashMap<K, V>, k: K, v: V, f: impl FnOnce(V, V) -> V) {
    let sum = match sums.remove(&k) {
        Some(sum) => f(sum, v),
        None => v,
    };
    sums.insert(k, sum);
}

impl<T: Key> Rdd<T> {
    /// How often each element occurs.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let colours = sc.parallelize(["red", "blue", "red"].map(String::from));
    /// assert_eq!(colours.count_by_value()?["red"], 2);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "countByValue")]
    #[track_caller]
    pub fn count_by_value(&self) -> Result<HashMap<T, u64>> {
        let counts = self.map(|x| (x, 1u64)).reduce_by_key(|a, b| a + b);
        Ok(counts.collect_as("count_by_value")?.into_iter().collect())
    }
}
