//! The bounds on what an RDD may hold, as blanket traits: a user implements nothing.

use std::hash::Hash;

use serde::{Serialize, de::DeserializeOwned};

/// An element of an RDD.
pub trait Data: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}
impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Data for T {}

/// What `.with(env)` passes to closures: like [`Data`], but it need not be `Clone`; decoded once a stage and executor
/// and then shared read-only by its tasks.
pub trait Env: Send + Sync + Serialize + DeserializeOwned + 'static {}
impl<T: Send + Sync + Serialize + DeserializeOwned + 'static> Env for T {}

/// A key of a pair RDD.
pub trait Key: Data + Hash + Eq {}
impl<T: Data + Hash + Eq> Key for T {}
