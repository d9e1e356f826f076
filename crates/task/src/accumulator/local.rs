//! What one task attempt has added to accumulators.

use std::{any::Any, collections::BTreeMap};

use firesteel_common::codec::{self, CodecError};

use super::accumulate::Accumulate;

/// A local value of some kind, and how it is encoded.
struct Local {
    value: Box<dyn Any>,
    encode: fn(&dyn Any) -> Result<Vec<u8>, CodecError>,
}

/// What one task attempt has added to accumulators, on its thread.
#[derive(Default)]
pub(crate) struct TaskAccumulators(BTreeMap<u64, Local>);

impl TaskAccumulators {
    /// Nothing so far.
    pub const fn none() -> TaskAccumulators {
        TaskAccumulators(BTreeMap::new())
    }

    /// Adds to the local value of accumulator `id`; false when that has another kind, which none has.
    pub fn add<A: Accumulate>(&mut self, id: u64, x: A::In) -> bool {
        let new = || Local { value: Box::new(A::default()), encode: encode::<A> };
        let local = self.0.entry(id).or_insert_with(new);
        local.value.downcast_mut::<A>().map(|value| value.add(x)).is_some()
    }

    /// The encoded local values, by accumulator.
    pub fn encode(self) -> Result<Vec<(u64, Vec<u8>)>, CodecError> {
        self.0.into_iter().map(|(id, local)| Ok((id, (local.encode)(&*local.value)?))).collect()
    }
}

fn encode<A: Accumulate>(value: &dyn Any) -> Result<Vec<u8>, CodecError> {
    value.downcast_ref::<A>().map_or_else(|| Ok(Vec::new()), codec::encode)
}
