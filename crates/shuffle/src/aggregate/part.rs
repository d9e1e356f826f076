//! One of the parts into which an aggregation deals the rows that its hot table has no place for.

use super::{Combine, Entries};

/// A row that is not combined yet, with its key's hash.
pub(super) type Row<A> = (u64, <A as Combine>::Key, <A as Combine>::Value);

/// What one digit of the hash has: combined entries, and rows that came since.
pub(super) struct Part<A: Combine> {
    pub combined: Entries<A::Key, A::Combined>,
    /// Heap bytes of `combined`.
    pub combined_heap: u64,
    /// In chunks of equal size, all but the last one full.
    pub rows: Vec<Vec<Row<A>>>,
}

impl<A: Combine> Part<A> {
    /// Rows and entries.
    pub fn entries(&self) -> usize {
        self.combined.keys.len() + self.rows.iter().map(Vec::len).sum::<usize>()
    }
}

impl<A: Combine> Default for Part<A> {
    fn default() -> Self {
        Part { combined: Entries::default(), combined_heap: 0, rows: Vec::new() }
    }
}
