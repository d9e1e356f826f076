//! Data that all sides compute alike from the number of a row.

use serde::{Deserialize, Serialize};

/// The `i`-th number of the seeded sequence that all sides draw their data from (SplitMix64).
#[inline]
pub fn mix(i: u64) -> u64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `i`-th edge of a graph of `1 << bits` vertices. Low numbers are pointed at more often than high ones.
#[inline]
pub fn edge(i: u64, bits: u32) -> (u32, u32) {
    let mask = (1u64 << bits) - 1;
    let (from, to) = (mix(2 * i), mix(2 * i + 1));
    ((from & mask) as u32, (((to & mask) * ((to >> 32) & mask)) >> bits) as u32)
}

/// Dimensions of a [`Point`].
pub const DIMENSIONS: usize = 10;

/// A labelled point of the logistic regression.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// The label, 1 or -1.
    pub y: f64,
    /// The coordinates, each from -1 to 1.
    pub x: [f64; DIMENSIONS],
}

impl Point {
    /// The `i`-th point: its label follows from three of its coordinates and some noise.
    pub fn new(i: u64) -> Point {
        let unit = |d: usize| (mix(i * 16 + d as u64) >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        let x: [f64; DIMENSIONS] = std::array::from_fn(unit);
        let y = if x[0] + 0.5 * x[1] - 0.25 * x[2] + unit(15) > 0.0 { 1.0 } else { -1.0 };
        Point { y, x }
    }

    /// Adds the gradient of the logistic loss at this point under `weights` to `sum`.
    #[inline]
    pub fn add_gradient(&self, weights: &[f64; DIMENSIONS], sum: &mut [f64; DIMENSIONS]) {
        let dot: f64 = weights.iter().zip(&self.x).map(|(w, x)| w * x).sum();
        let scale = (1.0 / (1.0 + (-self.y * dot).exp()) - 1.0) * self.y;
        for (sum, x) in sum.iter_mut().zip(&self.x) {
            *sum += scale * x;
        }
    }
}
