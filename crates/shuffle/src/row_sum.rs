//! The checksum of a map output: of its rows and where they go, whatever order they come in.
//!
//! Two runs of a map task that write the same rows for each reducer have the same one, also where the rows lie in another
//! order, or hold maps that do. It is what shows that a task gave other rows when it ran again.

use firesteel_common::content_hash::{content_hash, fold};
use serde::Serialize;

const REDUCER: u64 = 0xd1b5_4a32_d192_ed03;
const ROW: u64 = 0x8cb9_2ba7_2f3d_8dd7;

/// What the rows so far add up to. Spark: `RowBasedChecksum`.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct RowSum {
    sum: u64,
    xor: u64,
    rows: u64,
}

impl RowSum {
    /// Adds a row that goes to `reduce`.
    #[inline]
    pub(crate) fn add<T: Serialize + ?Sized>(&mut self, reduce: u32, row: &T) {
        // A row that cannot be hashed cannot be encoded either, and its task fails.
        let row = content_hash(u64::from(reduce), row).unwrap_or_default();
        self.sum = self.sum.wrapping_add(row);
        self.xor ^= row;
        self.rows += 1;
    }

    /// One number for all.
    pub(crate) fn value(self) -> u64 {
        fold(fold(self.sum ^ ROW, self.rows ^ REDUCER) ^ self.xor, REDUCER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[(u32, u64)]) -> u64 {
        let mut sum = RowSum::default();
        rows.iter().for_each(|(reduce, row)| sum.add(*reduce, row));
        sum.value()
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter_and_all_else_does() {
        let base = sum(&[(0, 7), (1, 8), (1, 9)]);
        assert_eq!(base, sum(&[(1, 9), (0, 7), (1, 8)]));
        for other in [
            &[(0, 7), (1, 8)][..],
            &[(0, 7), (1, 8), (1, 9), (1, 9)],
            &[(0, 7), (1, 8), (0, 9)],
            &[(1, 7), (0, 8), (1, 9)],
            &[(0, 7), (1, 8), (1, 10)],
            &[],
        ] {
            assert_ne!(base, sum(other), "{other:?}");
        }
    }
}
