//! `#[derive(MemSize)]`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use firesteel::MemSize;

#[derive(MemSize)]
struct Named<T> {
    name: String,
    values: Vec<T>,
    number: u64,
}

#[derive(MemSize)]
struct Pair(String, [u8; 4]);

#[derive(MemSize)]
enum Shape {
    Polygon { points: Vec<(f64, f64)> },
    Label(String, Option<Box<u64>>),
    Nothing,
}

#[test]
fn the_derive_adds_up_the_fields() {
    let named = Named { name: "a".repeat(20), values: vec!["b".repeat(40); 3], number: 1 };
    assert_eq!(named.heap_bytes(), 32 + 80 + 3 * 48);
    assert_eq!(named.mem_size(), (size_of::<Named<String>>() + 32 + 80 + 3 * 48) as u64);
    assert_eq!((named.number, Pair("c".repeat(16), [1; 4]).heap_bytes()), (1, 16));
    assert_eq!(Shape::Polygon { points: vec![(1.0, 2.0); 3] }.heap_bytes(), 48);
    assert_eq!(Shape::Label("d".to_owned(), Some(Box::new(1))).heap_bytes(), 32);
    assert_eq!(Shape::Nothing.heap_bytes(), 0);
}
