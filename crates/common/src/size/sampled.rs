//! The size of a collection that grows, from a sample of what was put in. Called by tables and caches.

use std::mem::needs_drop;

use serde::Serialize;

use super::heap_estimate;

/// Each distance between samples is this much longer than the one before.
const GROWTH: f64 = 1.1;
/// But no longer than this: what comes later may be larger than what came first.
const FARTHEST: f64 = 256.0;

/// Distances between samples that fall into step with no pattern in the data, the same in every run.
#[derive(Clone, Debug, Default)]
pub(super) struct Jitter(u32);

impl Jitter {
    /// From 0 to twice `mean`.
    pub fn around(&mut self, mean: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.0 >> 8) * (2 * mean as u64 + 1)) >> 24) as usize
    }
}

/// Estimates what the elements of a growing collection take in memory. Only a sample of them is looked at, with distances
/// that grow, so that adding one costs next to nothing. Spark: `SizeTracker`.
///
/// Each element looked at stands for those since the one before it, so that elements that get larger are followed.
#[derive(Clone, Debug, Default)]
pub struct SampledSize {
    seen: u64,
    /// The element to look at next, counted from 0.
    next: u64,
    distance: f64,
    jitter: Jitter,
    flat: u64,
    /// Of the elements that samples stand for.
    heap: u64,
    covered: u64,
    /// Of the last sample.
    last: u64,
}

impl SampledSize {
    /// Of an empty collection.
    pub fn new() -> SampledSize {
        SampledSize::default()
    }

    /// One more element.
    #[inline]
    pub fn add<T: Serialize>(&mut self, element: &T) {
        self.add_with(element, heap_estimate);
    }

    /// One more element, whose bytes on the heap `heap` knows.
    #[inline]
    pub fn add_with<T>(&mut self, element: &T, heap: impl FnOnce(&T) -> u64) {
        self.flat += size_of::<T>() as u64;
        if needs_drop::<T>() && self.seen == self.next {
            self.sample(heap(element));
        }
        self.seen += 1;
    }

    /// More elements. Costs nothing for each when they own nothing.
    pub fn add_all<T: Serialize>(&mut self, elements: &[T]) {
        self.add_all_with(elements, heap_estimate);
    }

    /// More elements, whose bytes on the heap `heap` knows.
    pub fn add_all_with<T>(&mut self, elements: &[T], mut heap: impl FnMut(&T) -> u64) {
        self.flat += size_of_val(elements) as u64;
        let end = self.seen + elements.len() as u64;
        if needs_drop::<T>() {
            while let Some(element) = elements.get((self.next.max(self.seen) - self.seen) as usize) {
                self.sample(heap(element));
            }
        }
        self.seen = end;
    }

    /// `heap` is that of element `next`.
    fn sample(&mut self, heap: u64) {
        let stands_for = self.next + 1 - self.covered;
        // Half way between two samples lies the border of what they stand for.
        let before = if self.covered == 0 { heap } else { self.last.midpoint(heap) };
        self.heap += before * (stands_for - 1) + heap;
        (self.covered, self.last) = (self.next + 1, heap);
        self.distance = (self.distance.max(1.0) * GROWTH).min(FARTHEST);
        self.next += 1 + self.jitter.around(self.distance as usize - 1) as u64;
    }

    /// Elements so far.
    pub fn len(&self) -> u64 {
        self.seen
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// What the elements take, each with its flat part and its heap; not what the collection itself adds.
    pub fn bytes(&self) -> u64 {
        self.flat + self.heap_bytes()
    }

    /// What the elements own on the heap.
    pub fn heap_bytes(&self) -> u64 {
        self.heap + self.seen.saturating_sub(self.covered) * self.last
    }
}
