//! Types that know what they take in memory. Implemented by users through the derive; called by caches.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    hash::{BuildHasher, Hash},
    mem::needs_drop,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::allocation;

/// A value that knows how much memory it takes. `#[derive(MemSize)]` writes it for structs and enums.
pub trait MemSize {
    /// Bytes that the value owns on the heap, spare capacity included.
    fn heap_bytes(&self) -> u64;

    /// Bytes that the value takes, with its heap.
    fn mem_size(&self) -> u64 {
        size_of_val(self) as u64 + self.heap_bytes()
    }
}

macro_rules! flat {
    ($($t:ty),+ $(,)?) => {$(
        impl MemSize for $t {
            #[inline]
            fn heap_bytes(&self) -> u64 {
                0
            }
        }
    )+};
}
flat!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    str,
    Duration,
    Instant,
    SystemTime,
    &'static str,
    std::net::IpAddr,
    std::net::SocketAddr,
);

macro_rules! tuples {
    ($(($($t:ident $i:tt),+))+) => {$(
        impl<$($t: MemSize),+> MemSize for ($($t,)+) {
            #[inline]
            fn heap_bytes(&self) -> u64 {
                0 $(+ self.$i.heap_bytes())+
            }
        }
    )+};
}
tuples! {
    (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6) (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// What the elements own, beside the room that their collection has for them.
#[inline]
fn owned<'a, T: MemSize + 'a>(elements: impl Iterator<Item = &'a T>) -> u64 {
    // What needs no drop owns nothing: the loop is not run for plain numbers.
    if needs_drop::<T>() { elements.map(MemSize::heap_bytes).sum() } else { 0 }
}

/// An array of `capacity` elements.
#[inline]
fn array<T>(capacity: usize) -> u64 {
    allocation((capacity * size_of::<T>()) as u64)
}

impl<T: MemSize> MemSize for [T] {
    fn heap_bytes(&self) -> u64 {
        owned(self.iter())
    }
}

impl<T: MemSize, const N: usize> MemSize for [T; N] {
    fn heap_bytes(&self) -> u64 {
        owned(self.iter())
    }
}

impl<T: MemSize> MemSize for Option<T> {
    #[inline]
    fn heap_bytes(&self) -> u64 {
        self.as_ref().map_or(0, MemSize::heap_bytes)
    }
}

impl<T: MemSize, E: MemSize> MemSize for Result<T, E> {
    fn heap_bytes(&self) -> u64 {
        match self {
            Ok(x) => x.heap_bytes(),
            Err(e) => e.heap_bytes(),
        }
    }
}

impl MemSize for String {
    #[inline]
    fn heap_bytes(&self) -> u64 {
        allocation(self.capacity() as u64)
    }
}

impl<T: MemSize> MemSize for Vec<T> {
    #[inline]
    fn heap_bytes(&self) -> u64 {
        array::<T>(self.capacity()) + owned(self.iter())
    }
}

impl<T: MemSize> MemSize for VecDeque<T> {
    fn heap_bytes(&self) -> u64 {
        array::<T>(self.capacity()) + owned(self.iter())
    }
}

impl<T: MemSize> MemSize for BinaryHeap<T> {
    fn heap_bytes(&self) -> u64 {
        array::<T>(self.capacity()) + owned(self.iter())
    }
}

impl<T: MemSize> MemSize for LinkedList<T> {
    fn heap_bytes(&self) -> u64 {
        self.len() as u64 * allocation((size_of::<T>() + 16) as u64) + owned(self.iter())
    }
}

/// A box owns what it points to.
impl<T: MemSize + ?Sized> MemSize for Box<T> {
    fn heap_bytes(&self) -> u64 {
        allocation(size_of_val::<T>(self) as u64) + (**self).heap_bytes()
    }
}

/// Counted at each handle: who else holds it is not known.
impl<T: MemSize + ?Sized> MemSize for Arc<T> {
    fn heap_bytes(&self) -> u64 {
        allocation(size_of_val::<T>(self) as u64 + 16) + (**self).heap_bytes()
    }
}

/// Counted at each handle: who else holds it is not known.
impl<T: MemSize + ?Sized> MemSize for Rc<T> {
    fn heap_bytes(&self) -> u64 {
        allocation(size_of_val::<T>(self) as u64 + 16) + (**self).heap_bytes()
    }
}

/// A hash table with room for `capacity` entries of `entry` bytes: a power of two of buckets, 7/8 of which may be full.
fn hash_table(capacity: usize, entry: usize) -> u64 {
    if capacity == 0 {
        return 0;
    }
    let buckets =
        if capacity < 8 { (capacity + 1).next_power_of_two() } else { (capacity * 8 / 7).next_power_of_two() };
    allocation((buckets * (entry + 1) + 16) as u64)
}

impl<K: MemSize, V: MemSize, S: BuildHasher> MemSize for HashMap<K, V, S> {
    fn heap_bytes(&self) -> u64 {
        hash_table(self.capacity(), size_of::<(K, V)>()) + owned(self.keys()) + owned(self.values())
    }
}

impl<T: MemSize + Hash + Eq, S: BuildHasher> MemSize for HashSet<T, S> {
    fn heap_bytes(&self) -> u64 {
        hash_table(self.capacity(), size_of::<T>()) + owned(self.iter())
    }
}

/// A tree's nodes have room for 11 entries and are two thirds full on average; inner nodes add pointers.
fn tree(len: usize, entry: usize) -> u64 {
    if len == 0 {
        return 0;
    }
    let node = allocation((11 * entry + 16) as u64);
    let leaves = (len as u64 * 3).div_ceil(22).max(1);
    leaves * node + leaves / 7 * (node + 96)
}

/// Estimated: a tree does not tell how full its nodes are.
impl<K: MemSize, V: MemSize> MemSize for BTreeMap<K, V> {
    fn heap_bytes(&self) -> u64 {
        tree(self.len(), size_of::<K>() + size_of::<V>()) + owned(self.keys()) + owned(self.values())
    }
}

/// Estimated: a tree does not tell how full its nodes are.
impl<T: MemSize> MemSize for BTreeSet<T> {
    fn heap_bytes(&self) -> u64 {
        tree(self.len(), size_of::<T>()) + owned(self.iter())
    }
}

impl MemSize for crate::Str {
    #[inline]
    fn heap_bytes(&self) -> u64 {
        if self.is_heap_allocated() { allocation(self.capacity() as u64) } else { 0 }
    }
}
