//! The joins: one side of each partition is built into a table, the other one streams past it.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{Data, Key, RddId, TaskFailure, codec::CodecError};
use firesteel_shuffle::{HashJoin, JoinShape, Rows, Spills};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
};

use super::{
    Partitioning,
    cogroup::{Side, decode_sides, encode_sides, sides},
};
use crate::{
    Rdd,
    node::{Body, Dep},
};

/// What a join makes of its two sides.
pub(super) trait Kind<K, V, W>: 'static {
    type Out: Data;
    const PAIRS: bool;
    const LONE_LEFT: bool;
    const LONE_RIGHT: bool;

    fn pair(k: K, v: V, w: W) -> Option<Self::Out>;
    fn left(k: K, v: V) -> Option<Self::Out>;
    fn right(k: K, w: W) -> Option<Self::Out>;
}

macro_rules! kinds {
    ($($name:ident -> $out:ty {
        $pairs:literal, $left:literal, $right:literal;
        |$k:ident, $v:ident, $w:ident| $pair:expr, $lone_left:expr, $lone_right:expr
    })+) => {$(
        pub(super) struct $name;

        impl<K: Key, V: Data, W: Data> Kind<K, V, W> for $name {
            type Out = $out;
            const PAIRS: bool = $pairs;
            const LONE_LEFT: bool = $left;
            const LONE_RIGHT: bool = $right;

            #[inline]
            fn pair($k: K, $v: V, $w: W) -> Option<Self::Out> {
                $pair
            }

            #[inline]
            fn left($k: K, $v: V) -> Option<Self::Out> {
                $lone_left
            }

            #[inline]
            fn right($k: K, $w: W) -> Option<Self::Out> {
                $lone_right
            }
        }
    )+};
}

kinds! {
    Inner -> (K, (V, W)) { true, false, false; |_k, _v, _w| Some((_k, (_v, _w))), None, None }
    Left -> (K, (V, Option<W>)) { true, true, false; |_k, _v, _w| Some((_k, (_v, Some(_w)))), Some((_k, (_v, None))), None }
    Right -> (K, (Option<V>, W)) { true, false, true; |_k, _v, _w| Some((_k, (Some(_v), _w))), None, Some((_k, (None, _w))) }
    Full -> (K, (Option<V>, Option<W>)) {
        true, true, true;
        |_k, _v, _w| Some((_k, (Some(_v), Some(_w)))), Some((_k, (Some(_v), None))), Some((_k, (None, Some(_w))))
    }
    Lacking -> (K, V) { false, true, false; |_k, _v, _w| None, Some((_k, _v)), None }
}

/// The right side is built.
struct BuildRight<T, K, V, W>(PhantomData<fn(T, K, V) -> W>);

impl<K: Key, V: Data, W: Data, T: Kind<K, V, W>> JoinShape for BuildRight<T, K, V, W> {
    type Key = K;
    type Build = W;
    type Probe = V;
    type Out = T::Out;
    const PAIRS: bool = T::PAIRS;
    const LONE_PROBE: bool = T::LONE_LEFT;
    const LONE_BUILD: bool = T::LONE_RIGHT;

    #[inline]
    fn pair(key: K, probe: V, build: W) -> Option<T::Out> {
        T::pair(key, probe, build)
    }

    #[inline]
    fn lone_probe(key: K, probe: V) -> Option<T::Out> {
        T::left(key, probe)
    }

    fn lone_build(key: K, build: W) -> Option<T::Out> {
        T::right(key, build)
    }
}

/// The left side is built.
struct BuildLeft<T, K, V, W>(PhantomData<fn(T, K, V) -> W>);

impl<K: Key, V: Data, W: Data, T: Kind<K, V, W>> JoinShape for BuildLeft<T, K, V, W> {
    type Key = K;
    type Build = V;
    type Probe = W;
    type Out = T::Out;
    const PAIRS: bool = T::PAIRS;
    const LONE_PROBE: bool = T::LONE_RIGHT;
    const LONE_BUILD: bool = T::LONE_LEFT;

    #[inline]
    fn pair(key: K, probe: W, build: V) -> Option<T::Out> {
        T::pair(key, build, probe)
    }

    #[inline]
    fn lone_probe(key: K, probe: W) -> Option<T::Out> {
        T::right(key, probe)
    }

    fn lone_build(key: K, build: V) -> Option<T::Out> {
        T::left(key, build)
    }
}

/// A stream as a join reads it.
struct StreamRows<T>(Stream<T>);

impl<T: Clone> Rows<T> for StreamRows<T> {
    fn next_rows(&mut self) -> Result<Option<Vec<T>>, TaskFailure> {
        Ok(self.0.next_chunk().map_err(TaskError::into_failure)?.map(Chunk::into_vec))
    }
}

/// The output of a join.
struct Joined<S: JoinShape> {
    join: HashJoin<S>,
    ctx: Arc<TaskContext>,
}

impl<S: JoinShape + 'static> Joined<S> {
    fn stream(
        build: Stream<(S::Key, S::Build)>,
        probe: impl FnOnce() -> Result<Stream<(S::Key, S::Probe)>, TaskError>,
        spills: &Spills,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<S::Out>, TaskError> {
        let probe = || -> Result<Box<dyn Rows<(S::Key, S::Probe)>>, TaskFailure> {
            Ok(Box::new(StreamRows(probe().map_err(TaskError::into_failure)?)))
        };
        Ok(Box::new(Joined { join: HashJoin::<S>::new(StreamRows(build), probe, spills)?, ctx: ctx.clone() }))
    }
}

impl<S: JoinShape> ChunkStream<S::Out> for Joined<S> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<S::Out>>, TaskError> {
        self.ctx.kill().check()?;
        Ok(self.join.next_batch(CHUNK)?.map(Chunk::Owned))
    }
}

struct Join<T, K: Data, V: Data, W: Data> {
    left: Side<K, V>,
    right: Side<K, W>,
    kind: PhantomData<fn() -> T>,
}

impl<K: Key, V: Data, W: Data, T: Kind<K, V, W>> Body for Join<T, K, V, W> {
    type Item = T::Out;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T::Out>, TaskError> {
        let spills = ctx.spills();
        // The right side, unless both are shuffled and the left one is clearly smaller. The same each time, as the sizes
        // are what the map tasks reported.
        let build_left = match (self.left.bytes(p, ctx)?, self.right.bytes(p, ctx)?) {
            (Some(left), Some(right)) => left < right / 2,
            _ => false,
        };
        if build_left {
            let probe = || self.right.stream(id, p, ctx);
            Joined::<BuildLeft<T, K, V, W>>::stream(self.left.stream(id, p, ctx)?, probe, &spills, ctx)
        } else {
            let probe = || self.left.stream(id, p, ctx);
            Joined::<BuildRight<T, K, V, W>>::stream(self.right.stream(id, p, ctx)?, probe, &spills, ctx)
        }
    }

    fn deps(&self) -> Vec<Dep> {
        self.left.deps().into_iter().chain(self.right.deps()).collect()
    }

    fn order_varies(&self) -> bool {
        // A table that does not fit is split by hash, and joined part by part.
        true
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode_sides(&self.left, &self.right, out)
    }

    fn decode(_: Func<()>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (left, right) = decode_sides(parents, env)?;
        Ok(Join { left, right, kind: PhantomData })
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    #[track_caller]
    pub(super) fn joined<W: Data, T: Kind<K, V, W>>(
        &self,
        name: &'static str,
        other: &Rdd<(K, W)>,
        by: Option<Partitioning<K>>,
    ) -> Rdd<T::Out> {
        let (left, right, partitions, key) = sides(self, other, by);
        let body: Join<T, K, V, W> = Join { left, right, kind: PhantomData };
        Rdd::from_body(self.scope(), partitions, name, key, body)
    }
}

shuffles! {
    impl[K: Key, V: Data] (K, V);

    /// All pairs of values that the two RDDs have under the same key.
    ///
    /// The values of a key on one side (the right one, if it is not much larger than the left one) must fit into memory.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (3, 2.0)]);
    /// let customers = sc.parallelize([(1u32, "Ada".to_owned()), (2, "Max".to_owned())]);
    /// assert_eq!(orders.join(&customers).collect()?, [(1, (9.5, "Ada".to_owned()))]);
    /// # Ok(()) }
    /// ```
    fn join[W: Data](other: &Rdd<(K, W)>) -> Rdd<(K, (V, W))>, by K = |rdd, by| rdd.joined::<W, Inner>("join", other, by);

    /// As `join`, and `None` for the values of this RDD whose keys `other` lacks.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (3, 2.0)]);
    /// let customers = sc.parallelize([(1u32, "Ada".to_owned()), (2, "Max".to_owned())]);
    /// let joined = orders.left_outer_join(&customers).sort_by_key(true)?;
    /// assert_eq!(joined.collect()?, [(1, (9.5, Some("Ada".to_owned()))), (3, (2.0, None))]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "leftOuterJoin")]
    fn left_outer_join[W: Data](other: &Rdd<(K, W)>) -> Rdd<(K, (V, Option<W>))>, by K = |rdd, by| {
        rdd.joined::<W, Left>("left_outer_join", other, by)
    };

    /// As `join`, and `None` for the values of `other` whose keys this RDD lacks.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (3, 2.0)]);
    /// let customers = sc.parallelize([(1u32, "Ada".to_owned()), (2, "Max".to_owned())]);
    /// let joined = orders.right_outer_join(&customers).sort_by_key(true)?;
    /// assert_eq!(joined.collect()?, [(1, (Some(9.5), "Ada".to_owned())), (2, (None, "Max".to_owned()))]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "rightOuterJoin")]
    fn right_outer_join[W: Data](other: &Rdd<(K, W)>) -> Rdd<(K, (Option<V>, W))>, by K = |rdd, by| {
        rdd.joined::<W, Right>("right_outer_join", other, by)
    };

    /// As `join`, and `None` on either side for keys that the other lacks.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (3, 2.0)]);
    /// let customers = sc.parallelize([(1u32, "Ada".to_owned()), (2, "Max".to_owned())]);
    /// let joined = orders.full_outer_join(&customers).collect_as_map()?;
    /// assert_eq!(joined[&1], (Some(9.5), Some("Ada".to_owned())));
    /// assert_eq!((&joined[&2].0, &joined[&3].1), (&None, &None));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "fullOuterJoin")]
    fn full_outer_join[W: Data](other: &Rdd<(K, W)>) -> Rdd<(K, (Option<V>, Option<W>))>, by K = |rdd, by| {
        rdd.joined::<W, Full>("full_outer_join", other, by)
    };

    /// The pairs whose keys `other` lacks.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (3, 2.0)]);
    /// let paid = sc.parallelize([(1u32, true)]);
    /// assert_eq!(orders.subtract_by_key(&paid).collect()?, [(3, 2.0)]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "subtractByKey")]
    fn subtract_by_key[W: Data](other: &Rdd<(K, W)>) -> Rdd<(K, V)>, by K = |rdd, by| {
        rdd.joined::<W, Lacking>("subtract_by_key", other, by)
    };
}
