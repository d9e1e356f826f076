//! The handle on a broadcast value.

use std::{fmt, panic::Location, sync::Arc};

use firesteel_common::{BroadcastId, Env, codec};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{
    cell::{Cell, Wire},
    error::BroadcastError,
    source::BroadcastSource,
};
use crate::{current, release::Cleaner};

/// A read-only value that every executor gets once, piece by piece from the driver and from other executors, and that all
/// tasks there share. Made by `Context::broadcast`; cloning gives another handle on the same value.
///
/// A handle is passed to closures with `.with`, by itself or within a tuple or a struct. It is freed on the driver and on all
/// executors when the last handle is dropped; RDDs whose closures use it hold one, as do jobs that run.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::collections::BTreeSet;
///
/// let dictionary = sc.broadcast(BTreeSet::from(["salt".to_owned(), "tea".to_owned()]))?;
/// let words = sc.parallelize(["tea", "tae"].map(String::from));
/// let known = words.with(dictionary.clone()).filter(|dictionary, word| dictionary.value().contains(word));
/// assert_eq!(known.collect()?, ["tea"]);
///
/// // Executors drop their copies, and fetch them again for the next job.
/// dictionary.unpersist();
/// assert_eq!(known.count()?, 1);
///
/// dictionary.destroy();
/// let error = known.count().unwrap_err();
/// assert!(error.to_string().contains("destroyed"), "{error} of broadcast {}", dictionary.id());
/// # Ok(()) }
/// ```
pub struct Broadcast<T: Env>(Arc<Cell<T>>);

/// For the Context.
impl<T: Env> Broadcast<T> {
    /// Makes a value ready to be fetched by executors.
    ///
    /// # Errors
    /// When it cannot be encoded, or not be held.
    pub fn new(source: &BroadcastSource, cleaner: &Arc<dyn Cleaner>, value: T) -> Result<Broadcast<T>, BroadcastError> {
        Cell::on_driver(source, cleaner, value).map(Broadcast)
    }
}

impl<T: Env> Broadcast<T> {
    /// The number of this variable within this process.
    pub fn id(&self) -> u32 {
        self.0.id().0
    }

    /// The value; in a task, the first call on an executor fetches and decodes it.
    ///
    /// # Panics
    /// When it was destroyed. In a task, an error of the fetch ends the task, which is tried again elsewhere.
    #[track_caller]
    pub fn value(&self) -> &T {
        match self.0.get() {
            Ok(value) => value,
            Err(e) => e.raise(),
        }
    }

    /// Has executors drop their copies; they fetch again what they need again. Does not wait for it.
    pub fn unpersist(&self) {
        self.0.unpersist();
    }

    /// Frees the value on all executors and what the driver holds for them. Using any of its handles afterwards is an error.
    ///
    /// The driver's own value goes with the last handle, as somebody may be looking at it.
    #[track_caller]
    pub fn destroy(&self) {
        self.0.destroy(&Location::caller().to_string());
    }
}

impl<T: Env> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Broadcast(self.0.clone())
    }
}

impl<T: Env> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Broadcast").field(&self.id()).finish()
    }
}

impl<T: Env> Serialize for Broadcast<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.wire().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T: Env> Deserialize<'de> for Broadcast<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let id: BroadcastId = wire.meta.id;
        if codec::is_check() {
            return Ok(Broadcast(Arc::new(Cell::detached(wire))));
        }
        let Some(context) = current::context() else {
            return Err(de::Error::custom(BroadcastError::NoTask { id }));
        };
        Cell::open(&context.services().broadcasts, wire).map(Broadcast).map_err(de::Error::custom)
    }
}
