//! What a program says about combining: the operators of `rdd` implement it, [`Aggregation`](super::Aggregation) and
//! [`CombineTable`](crate::CombineTable) call it.

use serde::{Serialize, de::DeserializeOwned};

/// What is done with the values of a key. Spark: `Aggregator`.
pub trait Combine {
    /// The key.
    type Key: std::hash::Hash + Eq + Serialize + DeserializeOwned;
    /// What comes in under a key.
    type Value: Serialize;
    /// What the values of a key become.
    type Combined: Serialize + DeserializeOwned;

    /// Makes one of a key's first value.
    fn create(&self, value: Self::Value) -> Self::Combined;
    /// Adds a value.
    fn merge_value(&self, combined: Self::Combined, value: Self::Value) -> Self::Combined;
    /// Puts two together, the one of the earlier values first.
    fn merge_combined(&self, a: Self::Combined, b: Self::Combined) -> Self::Combined;
}
