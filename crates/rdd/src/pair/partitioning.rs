//! Where the records of a shuffle go, whatever kind of partitioner says so.
//!
//! ```text
//!  rdd.partitioned(8)              a count: by hash ────────┐
//!  rdd.partitioned(own)            a partitioner ───────────┼──▶ Partitioning<K> ──▶ map side, and the key of the result
//!  rdd.partitioned(other.partitioning()..)  another's ──────┘
//! ```

use std::{any::Any, marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, CodeRef, DecodeError, Func, Op, OpDesc, describe};
use firesteel_common::{
    Data, Env, Key,
    codec::{self, CodecError},
};
use firesteel_shuffle::{HashPartitioner, Partitioner};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{Rdd, node::PartitionerKey, runner::Scope};

/// How records are spread by their keys: by hash, or by any [`Partitioner`]. Spark: what `rdd.partitioner` gives.
///
/// A partitioner itself, so that what spread one RDD can spread another:
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use firesteel::{Partitioner, Partitioning};
/// use serde::{Deserialize, Serialize};
///
/// /// Orders of one year lie together.
/// #[derive(Serialize, Deserialize, Clone)]
/// struct ByYear;
///
/// impl Partitioner<(u32, u32)> for ByYear {
///     fn partition(&self, (year, _): &(u32, u32)) -> u32 {
///         year % 10
///     }
///
///     fn partitions(&self) -> u32 {
///         10
///     }
/// }
///
/// let orders = sc.parallelize([((2025u32, 1u32), 9.5f64), ((2026, 1), 2.0), ((2025, 2), 3.0)]);
/// let by_year = Partitioning::of(ByYear);
/// let spread = orders.partitioned(by_year).group_by_key();
/// assert_eq!(spread.keys().collect_partitions()?[5].len(), 2);
///
/// let by_hash = Partitioning::hash(4);
/// assert_eq!(orders.partition_by(by_hash).num_partitions(), 4);
/// # Ok(()) }
/// ```
pub struct Partitioning<K> {
    by: By<K>,
}

enum By<K> {
    Hash(HashPartitioner),
    Other(Arc<dyn Spreads<K>>),
}

/// A partitioner whose type only its descriptor knows.
trait Spreads<K>: Send + Sync {
    fn partition(&self, key: &K) -> u32;
    fn partitions(&self) -> u32;
    fn code(&self) -> &'static OpDesc;
    fn encode(&self) -> Result<Vec<u8>, CodecError>;
    fn key(&self) -> Option<PartitionerKey>;
}

/// Keeps the type of the keys beside that of the partitioner.
struct Own<K, P>(Arc<P>, PhantomData<fn(&K)>);

impl<K: 'static, P: Partitioner<K> + Env> Spreads<K> for Own<K, P> {
    fn partition(&self, key: &K) -> u32 {
        self.0.partition(key)
    }

    fn partitions(&self) -> u32 {
        self.0.partitions()
    }

    fn code(&self) -> &'static OpDesc {
        describe::<Self>(&Func::new(()))
    }

    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(&*self.0)
    }

    fn key(&self) -> Option<PartitionerKey> {
        PartitionerKey::of(&*self.0, self.0.partitions().max(1))
    }
}

impl<K: 'static, P: Partitioner<K> + Env> Op for Own<K, P> {
    type Func = ();

    fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
        let own: Arc<dyn Spreads<K>> = Arc::new(Own::<K, P>(Arc::new(codec::decode(env)?), PhantomData));
        Ok(Arc::new(own))
    }
}

impl<K> Clone for Partitioning<K> {
    fn clone(&self) -> Self {
        let by = match &self.by {
            By::Hash(hash) => By::Hash(*hash),
            By::Other(other) => By::Other(other.clone()),
        };
        Partitioning { by }
    }
}

impl<K: Key> Partitioning<K> {
    /// By the keys' hash into `partitions` partitions, at least one.
    pub fn hash(partitions: u32) -> Self {
        Partitioning { by: By::Hash(HashPartitioner::new(partitions)) }
    }
}

impl<K: 'static> Partitioning<K> {
    /// By `partitioner`.
    pub fn of<P: Partitioner<K> + Env>(partitioner: P) -> Self {
        Self::shared(&Arc::new(partitioner))
    }

    pub(super) fn shared<P: Partitioner<K> + Env>(partitioner: &Arc<P>) -> Self {
        let any: &dyn Any = &**partitioner;
        let by = if let Some(same) = any.downcast_ref::<Partitioning<K>>() {
            return same.clone();
        } else if let Some(count) = any.downcast_ref::<u32>() {
            By::Hash(HashPartitioner::new(*count))
        } else if let Some(hash) = any.downcast_ref::<HashPartitioner>() {
            By::Hash(*hash)
        } else {
            By::Other(Arc::new(Own(partitioner.clone(), PhantomData)))
        };
        Partitioning { by }
    }
}

impl<K: Key> Partitioner<K> for Partitioning<K> {
    #[inline]
    fn partition(&self, key: &K) -> u32 {
        match &self.by {
            By::Hash(hash) => hash.partition(key),
            By::Other(other) => other.partition(key),
        }
    }

    #[inline]
    fn partition_hashed(&self, key: &K, hash: u64) -> u32 {
        match &self.by {
            By::Hash(by_hash) => by_hash.partition_hashed(key, hash),
            By::Other(other) => other.partition(key),
        }
    }

    fn partitions(&self) -> u32 {
        match &self.by {
            By::Hash(hash) => Partitioner::<K>::partitions(hash),
            By::Other(other) => other.partitions(),
        }
    }
}

/// How a [`Partitioning`] travels.
#[derive(Serialize, Deserialize)]
enum Wire {
    Hash(HashPartitioner),
    Other(CodeRef, Vec<u8>),
}

impl<K> Serialize for Partitioning<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = match &self.by {
            By::Hash(hash) => Wire::Hash(*hash),
            By::Other(other) => {
                let code = CodeRef::of(other.code()).map_err(ser::Error::custom)?;
                Wire::Other(code, other.encode().map_err(ser::Error::custom)?)
            }
        };
        wire.serialize(serializer)
    }
}

impl<'de, K: 'static> Deserialize<'de> for Partitioning<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by = match Wire::deserialize(deserializer)? {
            Wire::Hash(hash) => By::Hash(hash),
            Wire::Other(code, env) => {
                let code = code.resolve().map_err(de::Error::custom)?;
                let node = code.decode(&[], &env).map_err(de::Error::custom)?;
                let other = node.downcast_ref::<Arc<dyn Spreads<K>>>();
                By::Other(other.ok_or_else(|| de::Error::custom("the code is no partitioner of these keys"))?.clone())
            }
        };
        Ok(Partitioning { by })
    }
}

impl<K: 'static> Partitioning<K> {
    /// What RDDs that are spread so have in common.
    pub(super) fn key(&self) -> Option<PartitionerKey> {
        let key = match &self.by {
            By::Hash(hash) => PartitionerKey::of(hash, Partitioner::<()>::partitions(hash)),
            By::Other(other) => other.key(),
        };
        key.map(|key| key.made_by(Arc::new(self.clone())))
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// How the pairs are spread, where that is known: after a shuffle by key, and after operators that leave the keys as
    /// they are. Spark: `RDD.partitioner`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let customers = sc.parallelize([(1u32, "Ada".to_owned()), (2, "Max".to_owned())]);
    /// assert!(customers.partitioning().is_none());
    ///
    /// let spread = customers.partition_by(4u32);
    /// let orders = sc.parallelize([(2u32, 9.5f64)]);
    /// if let Some(as_they_lie) = spread.partitioning() {
    ///     // The customers do not move.
    ///     let joined = orders.partitioned(as_they_lie).join(&spread);
    ///     assert_eq!(joined.collect()?, [(2, (9.5, "Max".to_owned()))]);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "partitioner")]
    pub fn partitioning(&self) -> Option<Partitioning<K>> {
        self.partitioner()?.partitioning().cloned()
    }

    /// What [`Partitioning::by_default`] asks of a parent.
    pub(super) fn as_parent(&self) -> (u32, Option<Partitioning<K>>) {
        (self.num_partitions(), self.partitioning())
    }
}

impl<K: Key> Partitioning<K> {
    /// How a shuffle spreads when the user names nothing; `parents` are the partitions of each, and how they lie. As Spark's
    /// `Partitioner.defaultPartitioner`: by hash into `spark.default.parallelism` partitions where that is set, otherwise into
    /// as many as the largest parent has, unless the largest parent whose partitioner is known already has no less, or less
    /// by a factor below ten: then that one need not move.
    pub(super) fn by_default<const N: usize>(scope: &Scope, parents: [(u32, Option<Partitioning<K>>); N]) -> Self {
        let widest = parents.iter().map(|(n, _)| *n).max().unwrap_or(1);
        let default = scope.configured_parallelism().unwrap_or(widest);
        let known = parents.into_iter().filter_map(|(n, by)| Some((n, by?))).max_by_key(|(n, _)| *n);
        match known {
            Some((n, by)) if default <= n || u64::from(widest) < u64::from(n) * 10 => by,
            _ => Partitioning::hash(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Weak, atomic::AtomicU32};

    use super::*;
    use crate::{
        error::Result,
        runner::{Job, JobHandle, JobRunner},
    };

    struct Nobody;

    impl JobRunner for Nobody {
        fn submit(&self, _: Job) -> Result<JobHandle> {
            Err(crate::Error::Stopped)
        }

        fn unpersist(&self, _: firesteel_common::RddId) {}

        fn is_kept(&self, _: firesteel_common::RddId, _: u32) -> Result<bool> {
            Err(crate::Error::Stopped)
        }
    }

    #[test]
    fn partitions_by_default_are_those_of_spark() {
        let runner: Weak<dyn JobRunner> = Weak::<Nobody>::new();
        let free = Scope::new(runner.clone(), None, Arc::new(AtomicU32::new(8)));
        let set = Scope::new(runner, Some(20), Arc::new(AtomicU32::new(8)));
        let cases = [
            ([(3, false), (7, false)], 7, 20),
            ([(3, true), (7, false)], 3, 3),
            ([(3, true), (5, true)], 5, 5),
            ([(3, true), (30, false)], 30, 20),
            ([(25, true), (300, false)], 300, 25),
            ([(0, false), (0, false)], 1, 20),
        ];
        for (parents, without, with) in cases {
            let parents = parents.map(|(n, known)| (n, known.then(|| Partitioning::<u8>::hash(n))));
            let partitions = |scope| Partitioning::by_default(scope, parents.clone()).partitions();
            assert_eq!((partitions(&free), partitions(&set)), (without, with));
        }
    }

    /// By the last digit.
    #[derive(Serialize, Deserialize, Clone)]
    struct LastDigit(u32);

    impl Partitioner<u64> for LastDigit {
        fn partition(&self, key: &u64) -> u32 {
            (key % 10) as u32 % self.0
        }

        fn partitions(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn every_kind_spreads_as_its_partitioner_does_here_and_where_it_arrives() {
        let own = Partitioning::of(LastDigit(4));
        let by_hash = [Partitioning::of(9u32), Partitioning::of(HashPartitioner::new(9)), Partitioning::hash(9)];
        let arrived = |p: &Partitioning<u64>| codec::decode::<Partitioning<u64>>(&codec::encode(p).unwrap()).unwrap();
        for key in 0..1000u64 {
            let hash = firesteel_common::hash::fixed_hash(&key);
            assert_eq!(
                (own.partition(&key), arrived(&own).partition_hashed(&key, hash)),
                ((key % 10 % 4) as u32, (key % 10 % 4) as u32)
            );
            for p in &by_hash {
                let expected = HashPartitioner::new(9).partition(&key);
                assert_eq!((p.partition(&key), arrived(p).partition_hashed(&key, hash)), (expected, expected));
            }
        }
        assert!(by_hash.iter().all(|p| p.key() == by_hash[0].key()));
        assert!(own.key() == Partitioning::of(own.clone()).key() && own.key() == Partitioning::of(LastDigit(4)).key());
        assert!(own.key() != Partitioning::of(LastDigit(5)).key() && own.key() != by_hash[0].key());
    }

    #[test]
    fn code_that_is_no_partitioner_of_these_keys_is_refused() {
        let bytes = codec::encode(&Partitioning::of(LastDigit(4))).unwrap();
        let error = codec::decode::<Partitioning<u32>>(&bytes).err().unwrap();
        assert!(error.to_string().contains("no partitioner of these keys"), "{error}");
    }
}
