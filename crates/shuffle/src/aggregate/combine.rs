//! What a program says about combining: the operators of `rdd` implement it, [`Aggregation`](super::Aggregation) and
//! [`CombineTable`](crate::CombineTable) call it.

use std::mem::needs_drop;

use firesteel_common::size::{Filling, room_of};
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

    /// Hands what is spilled to `piece`: as it is, or, where it may be large and can be taken apart, in pieces of about a
    /// megabyte that [`merge_combined`](Combine::merge_combined) puts together again in their order.
    fn pieces<E>(
        &self,
        combined: Self::Combined,
        mut piece: impl FnMut(Self::Combined) -> Result<(), E>,
    ) -> Result<(), E> {
        piece(combined)
    }
}

/// The values of a group in pieces of about a megabyte; a small group, and an empty one, is one piece.
pub fn group_pieces<V: Serialize, E>(group: Vec<V>, mut piece: impl FnMut(Vec<V>) -> Result<(), E>) -> Result<(), E> {
    let most = room_of::<V>(usize::MAX);
    if group.len() <= most && !needs_drop::<V>() {
        return piece(group);
    }
    let (mut filling, mut rest) = (Filling::default(), group.into_iter());
    loop {
        let next = &rest.as_slice()[..rest.len().min(most)];
        let n = filling.prefix(next);
        if n == rest.len() {
            return piece(rest.collect());
        }
        piece(rest.by_ref().take(n).collect())?;
    }
}
