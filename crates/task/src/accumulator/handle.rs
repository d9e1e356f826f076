//! The handle on an accumulator, and those of a Context.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use firesteel_common::codec::{self, CodecError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::accumulate::Accumulate;
use crate::current;

/// The value of an accumulator was asked for in a task: it is on the driver only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the value of accumulator {0} is on the driver only: tasks add to it, the program reads it after the action")]
pub struct NotOnDriver(pub u64);

/// A value that tasks add to and the driver reads: `rdd.with(counter.clone()).map(|counter, x| { counter.add(1); x })`.
///
/// As Spark's: what a result task added counts exactly once, when its result does, however often it is tried again, also
/// beside a copy of it. What the tasks of a stage before a shuffle added counts for each output that is taken, so once more
/// when a lost output is computed again. What failed and killed tasks added never counts. The results of an action that
/// returns them together may be taken back while it runs: what such tasks added counts when the action returns. The
/// operators after which no action comes are not computed, and add nothing.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// let parsed = sc.long_accumulator("bytes parsed");
/// let lines = sc.parallelize(["7 cups", "12 pots"].map(String::from));
/// lines.with(parsed.clone()).foreach(|parsed, line| parsed.add(line.len() as i64))?;
/// assert_eq!((parsed.value()?, parsed.sum()?, parsed.count()?, parsed.avg()?), (13, 13, 2, 6.5));
/// assert_eq!(parsed.name(), Some("bytes parsed"));
///
/// parsed.reset()?;
/// assert_eq!(parsed.value()?, 0);
/// # Ok(()) }
/// ```
#[doc(alias = "LongAccumulator")]
pub struct Accumulator<A: Accumulate> {
    id: u64,
    /// On the driver only.
    registered: Option<Arc<Registered<A>>>,
    kind: PhantomData<fn(A) -> A>,
}

struct Registered<A> {
    name: Option<String>,
    value: Mutex<A>,
}

impl<A> Registered<A> {
    fn value(&self) -> MutexGuard<'_, A> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registered accumulator of any kind.
trait AnyAccumulator: Any + Send + Sync {
    fn merge(&self, bytes: &[u8]) -> Result<(), CodecError>;
}

impl<A: Accumulate> AnyAccumulator for Registered<A> {
    fn merge(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let other: A = codec::decode(bytes)?;
        self.value().merge(other);
        Ok(())
    }
}

/// The accumulators of one Context. One whose last handle was dropped is forgotten.
#[derive(Default)]
pub struct Accumulators(Mutex<BTreeMap<u64, Weak<dyn AnyAccumulator>>>);

impl Accumulators {
    /// A new accumulator of kind `A` at zero.
    pub fn register<A: Accumulate>(&self, name: Option<&str>) -> Accumulator<A> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let registered = Arc::new(Registered { name: name.map(str::to_owned), value: Mutex::new(A::default()) });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| known.strong_count() > 0);
        let weak: Weak<Registered<A>> = Arc::downgrade(&registered);
        all.insert(id, weak);
        Accumulator { id, registered: Some(registered), kind: PhantomData }
    }

    /// Adds what a task added. Does nothing when nobody can read it any more.
    ///
    /// # Errors
    /// When the bytes are none of this kind.
    pub fn merge(&self, id: u64, bytes: &[u8]) -> Result<(), CodecError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).and_then(Weak::upgrade);
        known.map_or(Ok(()), |accumulator| accumulator.merge(bytes))
    }
}

impl<A: Accumulate> Accumulator<A> {
    /// Adds something: in a task to what the task hands over with its success, on the driver to the value itself.
    ///
    /// # Panics
    /// On a thread of an executor that is none of a task's: nobody could count it. When called from within the `add` of
    /// another accumulator's kind.
    #[track_caller]
    #[expect(clippy::panic, reason = "what the caller documents")]
    pub fn add(&self, x: A::In) {
        if let Some(registered) = &self.registered {
            return registered.value().add(x);
        }
        if !current::add_to::<A>(self.id, x) {
            panic!("accumulator {} is added to on a thread that runs no task", self.id);
        }
    }

    /// What it amounts to so far; all that counts of an action once that has returned.
    ///
    /// # Errors
    /// [`NotOnDriver`] in a task.
    pub fn value(&self) -> Result<A::Out, NotOnDriver> {
        self.look(A::value)
    }

    /// Sets it back to zero.
    ///
    /// # Errors
    /// As [`Accumulator::value`].
    pub fn reset(&self) -> Result<(), NotOnDriver> {
        self.look_mut(|value| *value = A::default())
    }

    /// The name that it was given.
    pub fn name(&self) -> Option<&str> {
        self.registered.as_ref()?.name.as_deref()
    }

    pub(crate) fn look<R>(&self, look: impl FnOnce(&A) -> R) -> Result<R, NotOnDriver> {
        self.look_mut(|value| look(value))
    }

    fn look_mut<R>(&self, look: impl FnOnce(&mut A) -> R) -> Result<R, NotOnDriver> {
        match &self.registered {
            Some(registered) => Ok(look(&mut registered.value())),
            None => Err(NotOnDriver(self.id)),
        }
    }
}

impl<A: Accumulate> Clone for Accumulator<A> {
    fn clone(&self) -> Self {
        Accumulator { id: self.id, registered: self.registered.clone(), kind: PhantomData }
    }
}

impl<A: Accumulate> fmt::Debug for Accumulator<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator").field("id", &self.id).field("name", &self.name()).finish_non_exhaustive()
    }
}

impl<A: Accumulate> Serialize for Accumulator<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.id.serialize(serializer)
    }
}

impl<'de, A: Accumulate> Deserialize<'de> for Accumulator<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Accumulator { id: u64::deserialize(deserializer)?, registered: None, kind: PhantomData })
    }
}
