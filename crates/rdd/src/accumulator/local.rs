//! What one task attempt has added to accumulators.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use firesteel_common::codec::{self, CodecError};

use super::Accumulate;

/// A local value of some kind, and how it is encoded.
struct Local {
    value: Box<dyn Any + Send>,
    encode: fn(&dyn Any) -> Result<Vec<u8>, CodecError>,
}

/// What one task attempt has added to accumulators. Begins empty.
#[derive(Default)]
pub struct TaskAccumulators(Mutex<BTreeMap<u64, Local>>);

impl TaskAccumulators {
    /// Adds to the local value of accumulator `id`.
    pub(crate) fn add<A: Accumulate>(&self, id: u64, x: A::In) {
        let mut locals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let local = locals.entry(id).or_insert_with(|| Local { value: Box::new(A::default()), encode: encode::<A> });
        // An id is never used for two kinds.
        if let Some(value) = local.value.downcast_mut::<A>() {
            value.add(x);
        }
    }

    /// The encoded local values, by accumulator.
    ///
    /// # Errors
    /// When a value cannot be encoded.
    pub fn take(&self) -> Result<Vec<(u64, Vec<u8>)>, CodecError> {
        let locals = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        locals.into_iter().map(|(id, local)| Ok((id, (local.encode)(&*local.value)?))).collect()
    }
}

fn encode<A: Accumulate>(value: &dyn Any) -> Result<Vec<u8>, CodecError> {
    value.downcast_ref::<A>().map_or_else(|| Ok(Vec::new()), codec::encode)
}
