//! Estimated and exact sizes (`firesteel_common::size`) against what an allocator that counts has given out. Here, because
//! an allocator is unsafe code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "tests"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::{BTreeMap, HashMap},
};

use firesteel_common::size::{MemSize, SampledSize, allocation, estimate};
use serde::{Deserialize, Serialize};

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a constant-initialised cell only, which
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + allocation(layout.size() as u64) as i64);
        // SAFETY: the caller's promise is the one that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - allocation(layout.size() as u64) as i64);
        // SAFETY: `pointer` came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` makes, and how much memory it holds.
fn bytes_of<T>(make: impl Fn() -> T) -> (T, u64) {
    let before = HELD.get();
    let value = make();
    (value, (HELD.get() - before) as u64)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Person {
    name: String,
    age: u8,
    height: f64,
    tags: Vec<String>,
    friend: Option<Box<Person>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Shape {
    Circle(f64),
    Polygon { points: Vec<(f64, f64)>, name: String },
    Nothing,
}

fn text(i: usize) -> String {
    "x".repeat(i * 7 % 61)
}

fn key(i: usize) -> String {
    format!("{i:05}{}", text(i))
}

fn person(i: usize) -> Person {
    let friend = (!i.is_multiple_of(3)).then(|| Box::new(person(i - i % 3)));
    Person { name: text(i), age: 3, height: 1.5, tags: (0..i % 5).map(text).collect(), friend }
}

/// The estimate is within `percent` of what `make` really takes.
fn check<T: Serialize>(what: &str, percent: u64, make: impl Fn() -> T) {
    let (value, heap) = bytes_of(make);
    let (truth, estimated) = (size_of::<T>() as u64 + heap, estimate(&value));
    let error = estimated.abs_diff(truth) * 100 / truth;
    println!("{what}: {estimated} estimated, {truth} true: {error} %");
    assert!(error <= percent, "{what}: {estimated} estimated, {truth} true");
}

fn check_exact<T: MemSize>(what: &str, percent: u64, make: impl Fn() -> T) {
    let (value, heap) = bytes_of(make);
    let (truth, size) = (size_of::<T>() as u64 + heap, value.mem_size());
    let error = size.abs_diff(truth) * 100 / truth;
    assert!(error <= percent, "{what}: {size} said, {truth} true");
}

#[test]
fn estimates_are_close_for_what_has_no_spare_room() {
    check("a string", 0, || text(5));
    check("an empty string", 0, String::new);
    check("strings", 0, || (0..100).map(text).collect::<Vec<_>>());
    check("many strings, sampled", 5, || (0..10_000).map(text).collect::<Vec<_>>());
    check("numbers", 1, || vec![1u64; 100_000]);
    check("bytes", 1, || vec![1u8; 100_000]);
    check("nested vectors", 5, || (0..1000).map(|i| vec![i as u32; i % 50]).collect::<Vec<_>>());
    check("thrice nested", 5, || {
        (0..60).map(|i| (0..i).map(|j| vec![j as f64; j % 9]).collect()).collect::<Vec<Vec<_>>>()
    });
    check("pairs", 5, || (0..1000).map(|i| (text(i), i as u64)).collect::<Vec<_>>());
    check("uneven tuples", 5, || (0..1000).map(|i| (i as u8, i as u64, i as u16)).collect::<Vec<_>>());
    check("options of numbers", 5, || {
        (0..1000).map(|i: usize| i.is_multiple_of(2).then_some(i as u64)).collect::<Vec<_>>()
    });
    check("options of strings", 5, || {
        (0..1000).map(|i: usize| i.is_multiple_of(2).then(|| text(i))).collect::<Vec<_>>()
    });
    check("structs", 10, || (0..1000).map(person).collect::<Vec<_>>());
    let shape = |i: usize| match i % 3 {
        0 => Shape::Circle(1.0),
        1 => Shape::Polygon { points: vec![(1.0, 2.0); i % 20], name: text(i) },
        _ => Shape::Nothing,
    };
    check("variants", 20, || (0..1000).map(shape).collect::<Vec<_>>());
}

#[test]
fn estimates_of_maps_are_within_a_factor_of_two() {
    for n in [1, 10, 100, 1000, 7000, 20_000] {
        check("a hash map", 50, || (0..n).map(|i| (key(i), i as u64)).collect::<HashMap<_, _>>());
        check("a hash map of vectors", 50, || (0..n).map(|i| (i, vec![i; i % 10])).collect::<HashMap<_, _>>());
        check("a tree map", 100, || (0..n).map(|i| (i, text(i))).collect::<BTreeMap<_, _>>());
    }
}

#[test]
fn mem_size_is_exact_but_for_trees() {
    check_exact("a string with room", 0, || {
        let mut s = String::with_capacity(1000);
        s.push('x');
        s
    });
    check_exact("strings", 0, || (0..1000).map(text).collect::<Vec<_>>());
    check_exact("options", 0, || (0..1000).map(|i: usize| i.is_multiple_of(2).then(|| text(i))).collect::<Vec<_>>());
    check_exact("boxes", 0, || (0..1000).map(|i| Box::new((i as u64, text(i)))).collect::<Vec<_>>());
    check_exact("slices", 0, || (0..1000).map(|i| vec![i as u16; i % 30].into_boxed_slice()).collect::<Vec<_>>());
    for n in [0, 1, 3, 5, 20, 100, 1000, 5000] {
        check_exact("a hash map", 1, || (0..n).map(|i| (key(i), i as u64)).collect::<HashMap<_, _>>());
        check_exact("a tree", 60, || (0..n).map(|i| (i, text(i))).collect::<BTreeMap<_, _>>());
    }
}

#[test]
fn a_sample_follows_a_collection_whose_elements_grow() {
    for (what, percent, len) in [("even", 12, 50_000usize), ("few", 30, 40)] {
        let element = |i: usize| (i as u64, "x".repeat(i * 31 % 200));
        let (elements, heap) = bytes_of(|| (0..len).map(element).collect::<Vec<_>>());
        let mut one_by_one = SampledSize::new();
        elements.iter().for_each(|x| one_by_one.add(x));
        let mut in_chunks = SampledSize::new();
        elements.chunks(1000).for_each(|chunk| in_chunks.add_all(chunk));
        assert_eq!(one_by_one.bytes(), in_chunks.bytes());
        let error = one_by_one.bytes().abs_diff(heap) * 100 / heap;
        assert!(error <= percent, "{what}: {} estimated, {heap} true", one_by_one.bytes());
    }
    let (growing, heap) = bytes_of(|| (0..20_000usize).map(|i| vec![0u8; i / 16]).collect::<Vec<_>>());
    let mut size = SampledSize::new();
    growing.iter().for_each(|x| size.add(x));
    assert!(size.bytes().abs_diff(heap) * 100 / heap <= 5, "{} estimated, {heap} true", size.bytes());
}

#[test]
fn a_sample_of_numbers_is_exact() {
    let mut size = SampledSize::new();
    size.add_all(&[1u64; 1000]);
    size.add(&1u64);
    assert_eq!((size.bytes(), size.len(), allocation(1)), (8008, 1001, 16));
}
