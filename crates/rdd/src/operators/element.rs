//! Operators that look at one element at a time: `map`, `filter`, `flat_map` and their relatives.

use std::{convert::Infallible, fmt::Display, marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Env};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{PerChunk, Stream},
};

use super::emitter::{Emitter, FlatMapTo};
use crate::{
    Rdd,
    elements::{self, Flattened, Mapped, MappedRef},
    pipe::PipeOp,
};

/// Declares a [`PipeOp`] that makes one element of each one: its name, the closure's type, the stream and how it calls the
/// closure.
macro_rules! one_to_one {
    (
        $(#[$meta:meta])* $Op:ident<$T:ident, $U:ident $(, $extra:ident: $bound:path)*>
        ($f:ident: Fn($($arg:ty),*) -> $r:ty) $stream:path, |$env:ident, $x:ident: $xt:ty| $body:expr
    ) => {
        $(#[$meta])*
        struct $Op<$T, $U, $($extra,)* E, F>(F, PhantomData<fn($T, E $(, $extra)*) -> $U>);

        copy_as_functions!($Op<$T, $U, $($extra,)* E; F>);

        impl<$T: Data, $U: Data, $($extra: $bound + 'static,)* E: Env, F> PipeOp for $Op<$T, $U, $($extra,)* E, F>
        where
            F: Fn(&E, $($arg),*) -> $r + Copy + Send + Sync + 'static,
        {
            type In = $T;
            type Out = $U;
            type Env = E;

            fn run(self, env: &Arc<E>, _: u32, input: Stream<$T>, ctx: &Arc<TaskContext>) -> Result<Stream<$U>, TaskError> {
                let ($f, $env) = (self.0, env.clone());
                Ok($stream(input, move |$x: $xt| $body, ctx))
            }
        }
    };
}

one_to_one!(
    Map<T, U>(f: Fn(T) -> U) elements::map, |env, x: T| f(&env, x)
);
one_to_one!(
    MapRef<T, U>(f: Fn(&T) -> U) MappedRef::stream, |env, x: &T| f(&env, x)
);
one_to_one!(
    TryMap<T, U, X: Display>(f: Fn(T) -> Result<U, X>) Mapped::stream, |env, x: T| f(&env, x).map_err(TaskError::failed)
);
/// `flat_map` and its relatives. Results leave in chunks of bounded size, however many an element has.
struct FlatMap<T, U, I, X, E, F>(F, PhantomData<fn(T, U, I, X, E)>);

copy_as_functions!(FlatMap<T, U, I, X, E; F>);

impl<T: Data, U: Data, I, X: Display + 'static, E: Env, F> PipeOp for FlatMap<T, U, I, X, E, F>
where
    I: IntoIterator<Item = U, IntoIter: 'static> + 'static,
    F: Fn(&E, T) -> Result<I, X> + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = U;
    type Env = E;

    fn run(self, env: &Arc<E>, _: u32, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<Stream<U>, TaskError> {
        let (f, env) = (self.0, env.clone());
        let f = move |x| f(&env, x).map(I::into_iter).map_err(TaskError::failed);
        Ok(Flattened::stream(input, f, ctx))
    }
}

/// `filter` and `try_filter`: elements of an owned chunk stay where they are, of a shared one only those kept are cloned.
struct Filter<T, X, E, F>(F, PhantomData<fn(T, X, E)>);

copy_as_functions!(Filter<T, X, E; F>);

impl<T: Data, E: Env, X: Display + 'static, F> PipeOp for Filter<T, X, E, F>
where
    F: Fn(&E, &T) -> Result<bool, X> + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = T;
    type Env = E;

    fn run(self, env: &Arc<E>, _: u32, input: Stream<T>, _: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let (f, env) = (self.0, env.clone());
        Ok(PerChunk::stream(input, move |chunk| {
            let mut failure = None;
            // A failed element keeps nothing more; its error is returned below.
            let mut keep = |x: &T| match f(&env, x) {
                Ok(keep) => keep,
                Err(e) => {
                    failure.get_or_insert(e);
                    false
                }
            };
            let out = chunk.filter(&mut keep);
            match failure {
                None => Ok(out),
                Some(e) => Err(TaskError::failed(e)),
            }
        }))
    }
}

operators! {
    impl[T: Data] T;

    /// Applies `f` to each element.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let fahrenheit = sc.parallelize([32.0f64, 68.0, 212.0]);
    /// let celsius = fahrenheit.map(|t| (t - 32.0) * 5.0 / 9.0);
    /// assert_eq!(celsius.collect()?, [0.0, 20.0, 100.0]);
    /// # Ok(()) }
    /// ```
    fn map[U: Data,]() { f: F(x: T) -> U } -> Rdd<U> = |rdd, env| rdd.pipe("map", false, env, Map(f, PhantomData));

    /// Applies `f` to a reference to each element: over a kept RDD this clones nothing.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["tea", "salt"].map(String::from)).cache();
    /// let lengths = words.map_ref(|word| word.len());
    /// assert_eq!(lengths.collect()?, [3, 4]);
    /// # Ok(()) }
    /// ```
    fn map_ref[U: Data,]() { f: F(x: &T) -> U } -> Rdd<U> =
        |rdd, env| rdd.pipe("map_ref", false, env, MapRef(f, PhantomData));

    /// Keeps the elements for which `f` is true, in their partitions and under their keys.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let readings = sc.parallelize([21.5f64, -40.0, 19.0]);
    /// let plausible = readings.filter(|t| *t > -30.0);
    /// assert_eq!(plausible.collect()?, [21.5, 19.0]);
    /// # Ok(()) }
    /// ```
    fn filter[]() { f: F(x: &T) -> bool } -> Rdd<T> = |rdd, env| {
        let f = move |env: &E, x: &T| Ok::<bool, Infallible>(f(env, x));
        rdd.pipe("filter", true, env, Filter(f, PhantomData))
    };

    /// Applies `f` to each element and keeps what it returns, where it returns something.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let readings = sc.parallelize(["21.5", "broken", "19"].map(String::from));
    /// let numbers = readings.filter_map(|text| text.parse::<f64>().ok());
    /// assert_eq!(numbers.collect()?, [21.5, 19.0]);
    /// # Ok(()) }
    /// ```
    fn filter_map[U: Data,]() { f: F(x: T) -> Option<U> } -> Rdd<U> = |rdd, env| {
        let f = move |env: &E, x: T| Ok::<Option<U>, Infallible>(f(env, x));
        rdd.pipe("filter_map", false, env, FlatMap(f, PhantomData))
    };

    /// Applies `f` to each element and puts all that it returns into the result.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let ranges = sc.parallelize([(1u32, 3u32), (7, 8)]);
    /// let pages = ranges.flat_map(|(first, last)| first..=last);
    /// assert_eq!(pages.collect()?, [1, 2, 3, 7, 8]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "flatMap")]
    fn flat_map[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static,]() { f: F(x: T) -> I } -> Rdd<U> =
        |rdd, env| {
            let f = move |env: &E, x: T| Ok::<I, Infallible>(f(env, x));
            rdd.pipe("flat_map", false, env, FlatMap(f, PhantomData))
        };

    /// As `flat_map`, but `f` gets the element by reference and hands each result to an [`Emitter`]: results that are
    /// built from borrowed input need no Vec an element. The results of one element are together in memory; `flat_map`
    /// with a lazy iterator is for elements with very many.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::Str;
    ///
    /// let lines = sc.parallelize(["to be or", "not to be"].map(String::from));
    /// let words = lines.flat_map_to(|line, words| line.split(' ').for_each(|word| words.emit(Str::from(word))));
    /// assert_eq!(words.count_by_value()?["be"], 2);
    /// # Ok(()) }
    /// ```
    fn flat_map_to[U: Data,]() { f: F(x: &T, emit: &mut Emitter<U>) -> () } -> Rdd<U> =
        |rdd, env| rdd.pipe("flat_map_to", false, env, FlatMapTo(f, PhantomData));

    /// As `map`; an `Err` fails the task with its text.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let texts = sc.parallelize(["17", "four"].map(String::from));
    /// let numbers = texts.try_map(|text| text.parse::<u32>());
    /// assert_eq!(numbers.take(1)?, [17]);
    /// let error = numbers.collect().unwrap_err();
    /// assert!(error.to_string().contains("invalid digit found in string"));
    /// # Ok(()) }
    /// ```
    fn try_map[U: Data, X: Display + 'static,]() { f: F(x: T) -> Result<U, X> } -> Rdd<U> =
        |rdd, env| rdd.pipe("try_map", false, env, TryMap(f, PhantomData));

    /// As `filter`; an `Err` fails the task with its text.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let ages = sc.parallelize(["17", "44", "?"].map(String::from));
    /// let of_age = ages.try_filter(|age| age.parse::<u32>().map(|age| age >= 18));
    /// let error = of_age.collect().unwrap_err();
    /// assert!(error.to_string().contains("invalid digit found in string"));
    /// # Ok(()) }
    /// ```
    fn try_filter[X: Display + 'static,]() { f: F(x: &T) -> Result<bool, X> } -> Rdd<T> =
        |rdd, env| rdd.pipe("try_filter", true, env, Filter(f, PhantomData));

    /// As `flat_map`; an `Err` fails the task with its text.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let rows = sc.parallelize(["1,2", "3"].map(String::from));
    /// let numbers = rows.try_flat_map(|row| row.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>());
    /// assert_eq!(numbers.collect()?, [1, 2, 3]);
    /// # Ok(()) }
    /// ```
    fn try_flat_map[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static, X: Display + 'static,]()
        { f: F(x: T) -> Result<I, X> } -> Rdd<U> =
        |rdd, env| rdd.pipe("try_flat_map", false, env, FlatMap(f, PhantomData));

    /// Pairs each element with the key that `f` gives it.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["tea", "salt"].map(String::from));
    /// let by_length = words.key_by(|word| word.len());
    /// assert_eq!(by_length.collect()?, [(3, "tea".to_owned()), (4, "salt".to_owned())]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "keyBy")]
    fn key_by[K: Data,]() { f: F(x: &T) -> K } -> Rdd<(K, T)> = |rdd, env| {
        let f = move |env: &E, x: T| (f(env, &x), x);
        rdd.pipe("key_by", false, env, Map(f, PhantomData))
    };
}

operators! {
    impl[K: Data, V: Data] (K, V);

    /// Applies `f` to each value; keys and partitions stay.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let net = sc.parallelize([(1001u32, 250u64), (1002, 40)]);
    /// let cents = net.map_values(|euros| euros * 100);
    /// assert_eq!(cents.collect()?, [(1001, 25_000), (1002, 4_000)]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "mapValues")]
    fn map_values[U: Data,]() { f: F(v: V) -> U } -> Rdd<(K, U)> = |rdd, env| {
        let f = move |env: &E, (k, v): (K, V)| (k, f(env, v));
        rdd.pipe("map_values", true, env, Map(f, PhantomData))
    };

    /// Pairs each key with all that `f` returns for its value; keys and partitions stay.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let links = sc.parallelize([(1u32, vec![2u32, 3]), (4, vec![])]);
    /// let edges = links.flat_map_values(|to| to);
    /// assert_eq!(edges.collect()?, [(1, 2), (1, 3)]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "flatMapValues")]
    fn flat_map_values[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static,]() { f: F(v: V) -> I }
        -> Rdd<(K, U)> = |rdd, env| {
            let f = move |env: &E, (k, v): (K, V)| {
                Ok::<_, Infallible>(f(env, v).into_iter().map(move |u| (k.clone(), u)))
            };
            rdd.pipe("flat_map_values", true, env, FlatMap(f, PhantomData))
        };
}

impl<K: Data, V: Data> Rdd<(K, V)> {
    /// The keys, one for each pair.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let stock = sc.parallelize([(1001u32, 25u64), (1002, 4)]);
    /// assert_eq!(stock.keys().collect()?, [1001, 1002]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn keys(&self) -> Rdd<K> {
        self.map(|(k, _)| k)
    }

    /// The values.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let stock = sc.parallelize([(1001u32, 25u64), (1002, 4)]);
    /// assert_eq!(stock.values().collect()?, [25, 4]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn values(&self) -> Rdd<V> {
        self.map(|(_, v)| v)
    }
}
