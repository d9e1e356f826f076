//! How far what is computed twice comes out the same.

/// How far a partition of an RDD comes out the same when it is computed again. Spark: `DeterministicLevel`.
///
/// The levels are ordered: what is computed from several parents is as weak as the weakest of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum DeterministicLevel {
    /// The same elements in the same order.
    #[default]
    Determinate,
    /// The same elements, perhaps in another order.
    Unordered,
    /// Perhaps other elements.
    Indeterminate,
}

impl DeterministicLevel {
    /// The level of what places each element by its position in this.
    #[must_use]
    pub fn by_position(self) -> Self {
        match self {
            DeterministicLevel::Determinate => self,
            DeterministicLevel::Unordered | DeterministicLevel::Indeterminate => DeterministicLevel::Indeterminate,
        }
    }
}
