//! Vectors of plain numbers travel as they lie in memory: no encoding, and on the driver no copy.
//!
//! Driver and executors run the same build, so size and byte order agree.

use std::{
    any::{Any, TypeId},
    ops::Range,
    sync::Arc,
};

use bytemuck::Pod;
use bytes::Bytes;

type AnyArc = Arc<dyn Any + Send + Sync>;

/// The bytes of a shared vector.
struct View<E>(Arc<Vec<E>>);

impl<E: Pod> AsRef<[u8]> for View<E> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Where the bytes of a value are put together.
pub trait Sink {
    /// The place of a range of them.
    fn place(&mut self, range: Range<usize>) -> Option<&mut [u8]>;

    /// The value, of the type that the sink was made for.
    fn finish(self: Box<Self>) -> Box<dyn Any + Send + Sync>;
}

impl<E: Pod + Send + Sync> Sink for Vec<E> {
    fn place(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        bytemuck::cast_slice_mut::<E, u8>(self).get_mut(range)
    }

    fn finish(self: Box<Self>) -> Box<dyn Any + Send + Sync> {
        self
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        /// The bytes of `value` if it is such a vector.
        pub fn view(value: AnyArc) -> Option<Bytes> {
            $(let value = match value.downcast::<Vec<$number>>() {
                Ok(vec) => return Some(Bytes::from_owner(View(vec))),
                Err(other) => other,
            };)*
            drop(value);
            None
        }

        /// Where `len` bytes become a value of that type, if it is such a vector.
        pub fn sink(of: TypeId, len: usize) -> Option<Box<dyn Sink>> {
            $(if of == TypeId::of::<Vec<$number>>() && len.is_multiple_of(size_of::<$number>()) {
                return Some(Box::new(vec![<$number>::default(); len / size_of::<$number>()]));
            })*
            None
        }
    };
}

numbers!(u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_numbers_come_back_and_others_are_not_taken() {
        let value = Arc::new(vec![1.5f64, -0.0, f64::MAX]);
        let bytes = view(value.clone()).unwrap();
        assert_eq!(bytes.len(), 24);
        let mut sink = sink(TypeId::of::<Vec<f64>>(), 24).unwrap();
        sink.place(8..24).unwrap().copy_from_slice(&bytes[8..]);
        sink.place(0..8).unwrap().copy_from_slice(&bytes[..8]);
        assert!(sink.place(16..25).is_none());
        assert_eq!(*sink.finish().downcast::<Vec<f64>>().unwrap(), *value);
        assert!(view(Arc::new(vec!["a"])).is_none());
        assert!(
            super::sink(TypeId::of::<Vec<f64>>(), 23).is_none() && super::sink(TypeId::of::<String>(), 8).is_none()
        );
    }
}
