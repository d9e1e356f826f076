//! The kinds of accumulators that Spark has: sums of integers and of floats, and collections.

use firesteel_common::Data;
use serde::{Deserialize, Serialize};

use super::{
    accumulate::Accumulate,
    handle::{Accumulator, NotOnDriver},
};

/// Declares a sum with the number of what was added.
macro_rules! sum {
    ($(#[$meta:meta])* $Sum:ident of $T:ty, |$a:ident, $b:ident| $add:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
        pub struct $Sum {
            sum: $T,
            count: u64,
        }

        impl Accumulate for $Sum {
            type In = $T;
            type Out = $T;

            fn add(&mut self, x: $T) {
                let ($a, $b) = (self.sum, x);
                self.sum = $add;
                self.count += 1;
            }

            fn merge(&mut self, other: Self) {
                let ($a, $b) = (self.sum, other.sum);
                self.sum = $add;
                self.count += other.count;
            }

            fn value(&self) -> $T {
                self.sum
            }
        }

        impl Accumulator<$Sum> {
            /// The sum of what was added.
            ///
            /// # Errors
            /// As [`Accumulator::value`].
            pub fn sum(&self) -> Result<$T, NotOnDriver> {
                self.value()
            }

            /// How often something was added.
            ///
            /// # Errors
            /// As [`Accumulator::value`].
            pub fn count(&self) -> Result<u64, NotOnDriver> {
                self.look(|value| value.count)
            }

            /// The average of what was added; not a number when nothing was.
            ///
            /// # Errors
            /// As [`Accumulator::value`].
            pub fn avg(&self) -> Result<f64, NotOnDriver> {
                self.look(|value| value.sum as f64 / value.count as f64)
            }
        }
    };
}

sum!(
    /// A sum of integers, which wraps as Spark's does. Spark: `LongAccumulator`.
    LongSum of i64, |a, b| a.wrapping_add(b)
);
sum!(
    /// A sum of floats. Its last digits depend on the order in which tasks end. Spark: `DoubleAccumulator`.
    DoubleSum of f64, |a, b| a + b
);

/// All that was added, those of one task together and in order; tasks come in the order in which they end. Must fit into the
/// driver's memory, and what one task adds into a message. Spark: `CollectionAccumulator`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Collected<T: Data>(Vec<T>);

impl<T: Data> Default for Collected<T> {
    fn default() -> Self {
        Collected(Vec::new())
    }
}

impl<T: Data> Accumulate for Collected<T> {
    type In = T;
    type Out = Vec<T>;

    fn add(&mut self, x: T) {
        self.0.push(x);
    }

    fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    fn value(&self) -> Vec<T> {
        self.0.clone()
    }
}
