//! The serde serializer that adds up what a value owns on the heap. Called by [`super::estimate`].
//!
//! The flat size of a struct's field is known from its type. Elements of sequences and maps come behind a reference (serde
//! iterates over them), so theirs is put together from what they consist of.

use std::{any::type_name, fmt};

use serde::ser::{self, Serialize, Serializer};

use super::{allocation, sampled::Jitter};
use crate::codec::{DEEPEST, on_deep_stack};

/// Sequences and maps that are longer are sampled.
const WALK_ALL: usize = 128;
/// How many elements a sample has.
const SAMPLES: usize = 64;
/// `String` and `Vec`.
const CONTAINER: usize = 24;
/// `HashMap`.
const MAP: usize = 48;

pub(super) fn heap<T: Serialize + ?Sized>(value: &T) -> u64 {
    let mut heap = 0;
    // A value that does not serialize fails where it must travel; until there it counts as far as it was seen.
    if let Ok(flat) = value.serialize(Walker { heap: &mut heap, depth: 0 }) {
        flat.boxed_in(value, &mut heap);
    }
    heap
}

/// What a value takes where it lies.
#[derive(Clone, Copy, Default)]
struct Flat {
    bytes: usize,
    align: usize,
    /// Its parts lie in it, so a smaller place than `bytes` means that they lie in a box.
    inline: bool,
}

impl Flat {
    const NONE: Flat = Flat { bytes: 0, align: 1, inline: true };

    #[inline]
    fn plain(bytes: usize) -> Flat {
        Flat { bytes, align: bytes, inline: true }
    }

    #[inline]
    fn container(bytes: usize) -> Flat {
        Flat { bytes, align: 8, inline: false }
    }

    /// Counts the box when `value`'s type is smaller than what it shows.
    #[inline]
    fn boxed_in<T: ?Sized>(self, value: &T, heap: &mut u64) {
        if self.inline && !is_reference::<T>() && self.bytes > size_of_val(value).max(8) {
            *heap += allocation(self.bytes as u64);
        }
    }

    /// The size of `value` where it lies in its parent.
    #[inline]
    fn of<T: ?Sized>(self, value: &T) -> Flat {
        if is_reference::<T>() { self } else { Flat { bytes: size_of_val(value), align: align_of_val(value), ..self } }
    }

    #[inline]
    fn add(&mut self, part: Flat) {
        self.bytes += part.bytes;
        self.align = self.align.max(part.align);
    }

    #[inline]
    fn padded(self) -> Flat {
        Flat { bytes: self.bytes.next_multiple_of(self.align.max(1)), inline: true, ..self }
    }
}

/// Whether `T` is what serde's iteration puts before an element.
fn is_reference<T: ?Sized>() -> bool {
    type_name::<T>().starts_with('&')
}

/// What an element takes of a sequence that shows references to numbers, which need not be walked.
#[inline]
fn number_bytes<T: ?Sized>() -> Option<usize> {
    match type_name::<T>() {
        "&u8" | "&i8" | "&bool" => Some(1),
        "&u16" | "&i16" => Some(2),
        "&u32" | "&i32" | "&f32" | "&char" => Some(4),
        "&u64" | "&i64" | "&f64" => Some(8),
        _ => None,
    }
}

/// A value `depth` levels below the first one. What is nested deeper than may travel counts as far as that.
#[inline]
fn walk<T: Serialize + ?Sized>(value: &T, depth: u32, heap: &mut u64) -> Result<Flat, Failed> {
    if depth > DEEPEST {
        return Ok(Flat::plain(size_of_val(value)));
    }
    let into = |heap: &mut u64| value.serialize(Walker { heap, depth });
    let flat = if depth.is_multiple_of(64) { on_deep_stack(|| into(heap)) } else { into(heap) }?;
    flat.boxed_in(value, heap);
    Ok(flat.of(value))
}

/// A user's `Serialize` said no.
#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value does not serialize")
    }
}

impl std::error::Error for Failed {}

impl ser::Error for Failed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Failed
    }
}

struct Walker<'a> {
    heap: &'a mut u64,
    /// How deep it is below the first value.
    depth: u32,
}

impl Walker<'_> {
    #[inline]
    fn bytes(self, len: usize) -> Result<Flat, Failed> {
        *self.heap += allocation(len as u64);
        Ok(Flat::container(CONTAINER))
    }
}

macro_rules! plain {
    ($($method:ident($t:ty)),+) => {$(
        #[inline]
        fn $method(self, _: $t) -> Result<Flat, Failed> {
            Ok(Flat::plain(size_of::<$t>()))
        }
    )+};
}

impl<'a> Serializer for Walker<'a> {
    type Ok = Flat;
    type Error = Failed;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Fields<'a>;
    type SerializeTupleStruct = Fields<'a>;
    type SerializeTupleVariant = Fields<'a>;
    type SerializeMap = Elements<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    plain!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char)
    );

    #[inline]
    fn serialize_str(self, v: &str) -> Result<Flat, Failed> {
        self.bytes(v.len())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Flat, Failed> {
        self.bytes(v.len())
    }

    fn serialize_none(self) -> Result<Flat, Failed> {
        Ok(Flat::NONE)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Flat, Failed> {
        // A list may consist of `Option`s alone, as `#[serde(transparent)]` makes it.
        let place = walk(value, self.depth + 1, self.heap)?;
        // Of plain numbers `Option` needs a word beside them; pointers have a value to spare.
        let tag = if place.inline && place.bytes == place.align { place.align } else { 0 };
        Ok(Flat { bytes: place.bytes + tag, ..place })
    }

    fn serialize_unit(self) -> Result<Flat, Failed> {
        Ok(Flat::NONE)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Flat, Failed> {
        Ok(Flat::NONE)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Flat, Failed> {
        Ok(Flat::plain(1))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Flat, Failed> {
        walk(value, self.depth + 1, self.heap)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Flat, Failed> {
        let inner = walk(value, self.depth + 1, self.heap)?;
        Ok(Flat { bytes: inner.bytes + inner.align, inline: true, ..inner })
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'a>, Failed> {
        Ok(Elements::new(self, false))
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Fields<'a>, Failed> {
        Ok(Fields::new(self, false))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, Failed> {
        Ok(Fields::new(self, false))
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Fields<'a>, Failed> {
        Ok(Fields::new(self, true))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Elements<'a>, Failed> {
        Ok(Elements::new(self, true))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, Failed> {
        Ok(Fields::new(self, false))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Failed> {
        Ok(Fields::new(self, true))
    }

    fn collect_seq<I: IntoIterator>(self, iter: I) -> Result<Flat, Failed>
    where
        I::Item: Serialize,
    {
        let iter = iter.into_iter();
        if let (Some(bytes), (len, Some(most))) = (number_bytes::<I::Item>(), iter.size_hint())
            && len == most
        {
            *self.heap += allocation((len * bytes) as u64);
            return Ok(Flat::container(CONTAINER));
        }
        let mut elements = Elements::new(self, false);
        sampled(iter, &mut elements, |elements, x| elements.element(&x))
    }

    fn collect_map<K: Serialize, V: Serialize, I: IntoIterator<Item = (K, V)>>(self, iter: I) -> Result<Flat, Failed> {
        let mut elements = Elements::new(self, true);
        sampled(iter.into_iter(), &mut elements, |elements, (k, v)| {
            elements.element(&k)?;
            elements.half(&v)
        })
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<Flat, Failed> {
        // Types that are shown as text are numbers in memory: addresses, dates.
        Ok(Flat::plain(16))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Walks all of `iter`, or some of it that stand for the rest.
fn sampled<I: Iterator>(
    mut iter: I,
    elements: &mut Elements<'_>,
    mut walk: impl FnMut(&mut Elements<'_>, I::Item) -> Result<(), Failed>,
) -> Result<Flat, Failed> {
    let step = match iter.size_hint() {
        (len, Some(most)) if len == most && len > WALK_ALL => len / SAMPLES,
        _ => 1,
    };
    let mut jitter = Jitter::default();
    while let Some(x) = iter.next() {
        walk(elements, x)?;
        if step > 1 {
            let left = iter.size_hint().0.min(jitter.around(step - 1));
            if left > 0 {
                iter.nth(left - 1);
            }
            elements.skipped += left;
        }
    }
    Ok(elements.finish())
}

/// The elements of a sequence, or the keys and values of a map.
struct Elements<'a> {
    heap: &'a mut u64,
    depth: u32,
    /// What the walked elements own.
    own: u64,
    seen: usize,
    skipped: usize,
    /// Keys and values lie apart until an entry is whole.
    largest: [Flat; 2],
    map: bool,
}

impl<'a> Elements<'a> {
    fn new(Walker { heap, depth }: Walker<'a>, map: bool) -> Self {
        Elements { heap, depth, own: 0, seen: 0, skipped: 0, largest: [Flat::NONE; 2], map }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.seen += 1;
        self.part(0, value)
    }

    fn half<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.part(1, value)
    }

    fn part<T: Serialize + ?Sized>(&mut self, part: usize, value: &T) -> Result<(), Failed> {
        let flat = walk(value, self.depth + 1, &mut self.own)?;
        // Absent and small variants take as much room as the others.
        if flat.bytes > self.largest[part].bytes {
            self.largest[part] = flat;
        }
        Ok(())
    }

    fn finish(&mut self) -> Flat {
        let len = self.seen + self.skipped;
        if len == 0 {
            return Flat::container(if self.map { MAP } else { CONTAINER });
        }
        let own = u128::from(self.own) * len as u128 / self.seen.max(1) as u128;
        *self.heap += own as u64;
        let mut entry = self.largest[0];
        if !self.map {
            *self.heap += allocation((len * entry.bytes) as u64);
            return Flat::container(CONTAINER);
        }
        entry.add(self.largest[1]);
        // A hash table's buckets, a power of two of which at most 7/8 are full, with a control byte each.
        let buckets = (len * 8 / 7 + 1).next_power_of_two().max(4);
        *self.heap += allocation((buckets * (entry.padded().bytes + 1) + 16) as u64);
        Flat::container(MAP)
    }
}

impl ser::SerializeSeq for Elements<'_> {
    type Ok = Flat;
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.element(value)
    }

    fn end(mut self) -> Result<Flat, Failed> {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for Elements<'_> {
    type Ok = Flat;
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failed> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        self.half(value)
    }

    fn end(mut self) -> Result<Flat, Failed> {
        Ok(self.finish())
    }
}

/// The fields of a struct, tuple or variant.
struct Fields<'a> {
    heap: &'a mut u64,
    depth: u32,
    flat: Flat,
    variant: bool,
}

impl<'a> Fields<'a> {
    #[inline]
    fn new(Walker { heap, depth }: Walker<'a>, variant: bool) -> Self {
        Fields { heap, depth, flat: Flat::NONE, variant }
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
        let part = walk(value, self.depth + 1, self.heap)?;
        self.flat.add(part);
        Ok(())
    }

    #[inline]
    fn finish(mut self) -> Result<Flat, Failed> {
        if self.variant {
            self.flat.bytes += 1;
        }
        Ok(self.flat.padded())
    }
}

macro_rules! fields {
    ($($kind:ident $method:ident),+) => {$(
        impl ser::$kind for Fields<'_> {
            type Ok = Flat;
            type Error = Failed;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failed> {
                self.field(value)
            }

            #[inline]
            fn end(self) -> Result<Flat, Failed> {
                self.finish()
            }
        }
    )+};
}
fields!(SerializeTuple serialize_element, SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

macro_rules! named_fields {
    ($($kind:ident),+) => {$(
        impl ser::$kind for Fields<'_> {
            type Ok = Flat;
            type Error = Failed;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Failed> {
                self.field(value)
            }

            #[inline]
            fn end(self) -> Result<Flat, Failed> {
                self.finish()
            }
        }
    )+};
}
named_fields!(SerializeStruct, SerializeStructVariant);
