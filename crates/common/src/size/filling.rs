//! When a run of values that is being put together has enough bytes. Called by operators and tables, for each value.

use std::mem::needs_drop;

use serde::Serialize;

use super::heap_estimate;

/// What a chunk of elements takes in memory, about; one that is larger than this is a chunk by itself.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// At most so many elements pass between two that are looked at.
const FARTHEST: u32 = 8;

/// How many `T` a chunk of at most `most` has room for, by what a `T` takes without its heap; at least one.
pub const fn room_of<T>(most: usize) -> usize {
    let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
    let room = CHUNK_BYTES as usize / size;
    match room {
        0 => 1,
        _ if room < most => room,
        _ => most,
    }
}

/// Follows what the elements of a chunk own on the heap, and says when that is enough.
///
/// Of small elements one in eight is looked at, so that it costs next to nothing; from the first large one on, each. What
/// owns nothing is never looked at.
#[derive(Clone, Debug)]
pub struct Filling {
    /// Heap bytes since it was begun.
    bytes: u64,
    /// Elements until the next one that is looked at, with that one.
    until: u32,
    /// What that one stands for.
    step: u32,
    /// No step is longer.
    farthest: u32,
    /// Of all that was looked at, ever.
    largest: u64,
    /// Elements that were looked at or passed over since it was begun.
    elements: usize,
    /// So many filled a chunk last time.
    expected: usize,
}

impl Default for Filling {
    fn default() -> Self {
        Filling { bytes: 0, until: 1, step: 1, farthest: FARTHEST, largest: 0, elements: 0, expected: usize::MAX }
    }
}

impl Filling {
    /// Begins a chunk.
    #[inline]
    pub fn begin(&mut self) {
        self.bytes = 0;
        self.elements = 0;
    }

    /// For how many of `most` elements the next chunk should have room at first.
    #[inline]
    pub fn room(&self, most: usize) -> usize {
        most.min(self.expected)
    }

    /// Counts one more element; true when the chunk has enough with it.
    #[inline]
    pub fn is_full_with<T: Serialize>(&mut self, x: &T) -> bool {
        self.is_full_by::<T>(|| heap_estimate(x))
    }

    /// Counts one more `T`, of which `heap` tells what it owns.
    #[inline]
    pub fn is_full_by<T>(&mut self, heap: impl FnOnce() -> u64) -> bool {
        if !needs_drop::<T>() {
            return false;
        }
        self.until -= 1;
        self.until == 0 && self.look(heap())
    }

    /// Counts some more elements; true when the chunk has enough with them.
    #[inline]
    pub fn is_full_with_all<T: Serialize>(&mut self, elements: &[T]) -> bool {
        self.is_full_by_all(elements, heap_estimate)
    }

    /// Counts some more elements, of which `heap` tells what one owns.
    #[inline]
    pub fn is_full_by_all<T>(&mut self, elements: &[T], heap: impl Fn(&T) -> u64) -> bool {
        if !needs_drop::<T>() || elements.is_empty() {
            return false;
        }
        let (mut left, mut full) = (elements, false);
        while let Some(x) = left.get(self.until as usize - 1) {
            left = &left[self.until as usize..];
            full |= self.look(heap(x));
        }
        self.until -= left.len() as u32;
        full
    }

    /// How many of `elements`, at least one where there are any, make a chunk.
    pub fn prefix<T: Serialize>(&mut self, elements: &[T]) -> usize {
        self.begin();
        if !needs_drop::<T>() {
            return elements.len();
        }
        let mut passed = 0;
        while let Some(x) = elements.get(passed + self.until as usize - 1) {
            passed += self.until as usize;
            if self.look(heap_estimate(x)) {
                return passed;
            }
        }
        self.until -= (elements.len() - passed) as u32;
        elements.len()
    }

    /// What the elements since [`Filling::begin`] own on the heap, as far as they were looked at.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    fn look(&mut self, heap: u64) -> bool {
        self.bytes = self.bytes.saturating_add(heap.saturating_mul(u64::from(self.step)));
        self.elements += self.step as usize;
        if heap > self.largest {
            self.saw_larger(heap);
        }
        // No step is much longer than the last.
        self.step = self.farthest.min(self.step + 1);
        self.until = self.step;
        let full = self.bytes >= CHUNK_BYTES;
        if full {
            self.expected = self.elements + self.elements / 4;
        }
        full
    }

    /// Elements that come unseen between two looks shall not be much together.
    #[cold]
    fn saw_larger(&mut self, heap: u64) {
        self.largest = heap;
        self.farthest = (CHUNK_BYTES / 16 / heap).clamp(1, u64::from(FARTHEST)) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the chunks that `sizes` are cut into, each a String of that many bytes.
    fn cut(sizes: impl Iterator<Item = usize>) -> Vec<usize> {
        let (mut filling, mut lengths, mut len) = (Filling::default(), Vec::new(), 0);
        filling.begin();
        for size in sizes {
            len += 1;
            if filling.is_full_with(&"x".repeat(size)) || len == 1024 {
                lengths.push(len);
                len = 0;
                filling.begin();
            }
        }
        lengths.extend((len > 0).then_some(len));
        lengths
    }

    #[test]
    fn a_large_element_is_a_chunk_and_small_ones_are_a_thousand() {
        assert_eq!(cut([2 << 20; 20].into_iter()), [1; 20]);
        assert_eq!(cut([100; 5000].into_iter()), [1024, 1024, 1024, 1024, 904]);
        let halves = cut([1 << 17; 64].into_iter());
        assert!(halves.iter().all(|len| *len == 8), "{halves:?}");
    }

    #[test]
    fn large_elements_after_small_ones_end_the_chunk_within_a_step() {
        let lengths = cut([10; 3000].into_iter().chain([3 << 20; 40]));
        let (small, large) = lengths.split_at(2);
        assert_eq!(small, [1024, 1024]);
        assert!(large[0] <= 3000 - 2048 + FARTHEST as usize, "{large:?}");
        assert!(large[1..].iter().all(|len| *len == 1), "{large:?}");
    }

    #[test]
    fn once_a_large_element_was_seen_none_is_missed() {
        let sizes = (0..4000).map(|i| if i == 0 || i % 100 == 99 { 2 << 20 } else { 5 });
        assert!(cut(sizes).iter().all(|len| *len <= 100));
    }

    #[test]
    fn slices_are_cut_as_elements_are() {
        let words: Vec<String> =
            (0..3000usize).map(|i| "x".repeat(if i % 700 == 0 { 1 << 20 } else { i % 50 })).collect();
        let (mut filling, mut left, mut lengths) = (Filling::default(), &words[..], Vec::new());
        while !left.is_empty() {
            let len = filling.prefix(left);
            lengths.push(len);
            left = &left[len..];
        }
        assert_eq!(lengths.iter().sum::<usize>(), 3000);
        assert_eq!(lengths[..3], [1, 700, 700]);
        let mut filling = Filling::default();
        filling.begin();
        assert!(filling.is_full_with_all(&words[..1]));
        filling.begin();
        assert!(!filling.is_full_with_all(&words[1..700]));
        assert!(filling.is_full_with_all(&words[700..]));
    }

    #[test]
    fn what_owns_nothing_is_bounded_by_its_own_size() {
        let mut filling = Filling::default();
        assert!((0..1_000_000u64).all(|x| !filling.is_full_with(&x)));
        assert_eq!((room_of::<u64>(1024), room_of::<[u64; 1024]>(1024), room_of::<()>(1024)), (1024, 128, 1024));
        assert_eq!(room_of::<[u64; 1 << 20]>(1024), 1);
    }
}
