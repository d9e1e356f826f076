//! What a task added to an accumulator.

use bytes::Bytes;

/// The part of one accumulator's value that one task attempt made. Spark: `AccumulableInfo` with its update.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccumulatorUpdate {
    /// Which accumulator; unique within the driver's process.
    pub id: u64,
    /// The encoded local value, which began at zero in this attempt.
    pub value: Bytes,
}
