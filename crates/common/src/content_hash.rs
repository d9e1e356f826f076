//! The hash of what a value says, whatever order its maps and sets happen to have.
//!
//! A `HashMap` that is made twice has its entries in another order each time, and so have its encoded bytes, though it is
//! the same value. Here entries of maps and elements of sequences are added up, so that their order does not matter; a set
//! looks like any other sequence. All else counts in its order. For a type without maps and sequences the compiler makes
//! straight code of this, a multiplication a field.

use std::{error::Error, fmt};

use castaway::cast;
use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
        SerializeTupleVariant,
    },
};

const SEED: u64 = 0x243f_6a88_85a3_08d3;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const LENGTH: u64 = 0xa409_3822_299f_31d1;
const EMPTY: u64 = 0x082e_fa98_ec4e_6c89;
const PLACE: u64 = 0xd1b5_4a32_d192_ed03;

/// The hash of `value` at `place`, each of which has hashes of its own; `None` when its `Serialize` refuses, which then also
/// fails the encoding.
#[inline]
pub fn content_hash<T: Serialize + ?Sized>(place: u64, value: &T) -> Option<u64> {
    let mut hasher = ContentHasher(SEED ^ place.wrapping_mul(PLACE));
    // The codec copies these as a whole, too.
    if size_of_val(value) == size_of::<Vec<u8>>()
        && let Ok(bytes) = cast!(value, &Vec<u8>)
    {
        hasher.bytes(bytes);
        return Some(hasher.0);
    }
    value.serialize(&mut hasher).ok()?;
    Some(hasher.0)
}

/// Both halves of the product, put together.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// The state, into which values are mixed one after the other.
struct ContentHasher(u64);

impl ContentHasher {
    #[inline]
    fn mix(&mut self, x: u64) {
        self.0 = fold(self.0 ^ x, MULTIPLIER);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return self.mix(EMPTY);
        }
        let (chunks, rest) = bytes.as_chunks::<16>();
        let word = |at: usize, n: usize| rest[at..at + n].iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
        let last = match rest.len() {
            0 => None,
            n @ 1..=3 => Some((word(0, n), 0)),
            n @ 4..=7 => Some((word(0, 4), word(n - 4, 4))),
            n => Some((word(0, 8), word(n - 8, 8))),
        };
        let mut key = self.0 ^ (bytes.len() as u64).wrapping_mul(LENGTH);
        if let (true, Some((low, high))) = (chunks.is_empty(), last) {
            self.0 = fold(key ^ low, high ^ MULTIPLIER);
            return;
        }
        // Each place has a key of its own and no product waits for the one before.
        let mut sum = 0u64;
        let mut take = |(low, high): (u64, u64)| {
            sum = sum.wrapping_add(fold(low ^ key, high ^ key.rotate_left(32) ^ MULTIPLIER));
            key = key.wrapping_add(LENGTH);
        };
        for chunk in chunks {
            let both = u128::from_le_bytes(*chunk);
            take((both as u64, (both >> 64) as u64));
        }
        last.into_iter().for_each(&mut take);
        self.0 = fold(sum ^ key, MULTIPLIER);
    }
}

/// The value's `Serialize` refuses.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value refuses to be encoded")
    }
}

impl Error for Refused {}

impl serde::ser::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Refused
    }
}

macro_rules! mixed {
    ($($method:ident($t:ty) |$x:ident| $mixed:expr;)*) => {$(
        #[inline]
        fn $method(self, $x: $t) -> Result<(), Refused> {
            self.mix($mixed);
            Ok(())
        }
    )*};
}

impl<'a> Serializer for &'a mut ContentHasher {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = AnyOrder<'a>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = AnyOrder<'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    mixed! {
        serialize_bool(bool) |x| u64::from(x);
        serialize_i8(i8) |x| x as u64;
        serialize_i16(i16) |x| x as u64;
        serialize_i32(i32) |x| x as u64;
        serialize_i64(i64) |x| x as u64;
        serialize_u8(u8) |x| u64::from(x);
        serialize_u16(u16) |x| u64::from(x);
        serialize_u32(u32) |x| u64::from(x);
        serialize_u64(u64) |x| x;
        serialize_f32(f32) |x| u64::from(x.to_bits());
        serialize_f64(f64) |x| x.to_bits();
        serialize_char(char) |x| u64::from(x);
    }

    fn serialize_i128(self, x: i128) -> Result<(), Refused> {
        self.serialize_u128(x as u128)
    }

    fn serialize_u128(self, x: u128) -> Result<(), Refused> {
        self.mix(x as u64);
        self.mix((x >> 64) as u64);
        Ok(())
    }

    #[inline]
    fn serialize_str(self, x: &str) -> Result<(), Refused> {
        self.bytes(x.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, x: &[u8]) -> Result<(), Refused> {
        self.bytes(x);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Refused> {
        self.mix(0);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, x: &T) -> Result<(), Refused> {
        self.mix(1);
        x.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Result<(), Refused> {
        self.mix(u64::from(variant));
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, x: &T) -> Result<(), Refused> {
        x.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        x: &T,
    ) -> Result<(), Refused> {
        self.mix(u64::from(variant));
        x.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<AnyOrder<'a>, Refused> {
        Ok(AnyOrder::of(self))
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Refused> {
        self.mix(u64::from(variant));
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<AnyOrder<'a>, Refused> {
        Ok(AnyOrder::of(self))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Refused> {
        self.mix(u64::from(variant));
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Fields that count in their order.
macro_rules! in_order {
    ($($compound:ident::$method:ident($($name:ty)?);)*) => {$(
        impl $compound for &mut ContentHasher {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? x: &T) -> Result<(), Refused> {
                x.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )*};
}

in_order! {
    SerializeTuple::serialize_element();
    SerializeTupleStruct::serialize_field();
    SerializeTupleVariant::serialize_field();
    SerializeStruct::serialize_field(&'static str);
    SerializeStructVariant::serialize_field(&'static str);
}

/// Elements or entries that add up.
struct AnyOrder<'a> {
    whole: &'a mut ContentHasher,
    entry: ContentHasher,
    sum: u64,
    count: u64,
}

impl<'a> AnyOrder<'a> {
    #[inline]
    fn of(whole: &'a mut ContentHasher) -> Self {
        AnyOrder { whole, entry: ContentHasher(SEED), sum: 0, count: 0 }
    }

    #[inline]
    fn add(&mut self) {
        // Once more, as an entry that is a number would otherwise be as good as the sum of others.
        self.entry.mix(LENGTH);
        self.sum = self.sum.wrapping_add(self.entry.0);
        self.count += 1;
        self.entry = ContentHasher(SEED);
    }

    #[inline]
    fn close(self) {
        self.whole.mix(self.sum);
        self.whole.mix(self.count);
    }
}

impl SerializeSeq for AnyOrder<'_> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, x: &T) -> Result<(), Refused> {
        x.serialize(&mut self.entry)?;
        self.add();
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Refused> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for AnyOrder<'_> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        key.serialize(&mut self.entry)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(&mut self.entry)?;
        self.add();
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Refused> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

    use super::*;

    fn hash<T: Serialize>(x: T) -> u64 {
        content_hash(0, &x).unwrap()
    }

    #[test]
    fn maps_and_sets_that_are_equal_hash_alike_however_often_they_are_made() {
        let map = || (0..50u32).map(|i| (i, i.to_string())).collect::<HashMap<u32, String>>();
        let nested = || Some(vec![(1u8, HashMap::from([("s", (0..20u64).collect::<HashSet<u64>>())]))]);
        for _ in 0..10 {
            assert_eq!(hash(map()), hash(map()));
            assert_eq!(hash(nested()), hash(nested()));
        }
        assert_eq!(hash(map()), hash(map().into_iter().collect::<BTreeMap<_, _>>()));
        assert_ne!(hash(map()), hash((0..51u32).map(|i| (i, i.to_string())).collect::<HashMap<_, _>>()));
    }

    #[test]
    fn what_differs_hashes_differently() {
        let all = [
            hash(0u64),
            hash(1u64),
            hash((0u64, 1u64)),
            hash((1u64, 0u64)),
            hash(("", "a")),
            hash(("a", "")),
            hash("a"),
            hash("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            hash("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            hash(vec![1u64, 2, 3]),
            hash(vec![1u64, 2]),
            hash(vec![3u64, 0]),
            hash(vec![vec![1u64, 2], vec![3]]),
            hash(vec![vec![1u64], vec![2, 3]]),
            hash(Some(1u64)),
            hash(1.5f64),
            hash(-1i32),
            hash(1u128 << 70),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn texts_of_all_lengths_differ_by_any_byte() {
        let mut seen = BTreeSet::new();
        for len in 0..40 {
            let text = "x".repeat(len);
            assert!(seen.insert(hash(&text)));
            for at in 0..len {
                let mut other = text.clone().into_bytes();
                other[at] = b'y';
                assert!(seen.insert(hash(String::from_utf8(other).unwrap())), "{len} {at}");
            }
        }
    }
}
