//! The serializer: bincode's bytes, and an eye on what would not come back. Called by `codec` alone.

use std::{any::type_name, fmt::Display};

use serde::ser::{self, Serialize, Serializer};

use super::{
    Appender,
    checks::{Known, Looks, Shape, What},
    config,
};

/// Values may be nested so deep: structs, variants, tuples, sequences and maps within each other.
pub const DEEPEST: u32 = 1000;
/// From here on the stack is looked at.
const DEEP: u32 = 64;

/// Runs `f` with a stack that holds the deepest value.
pub(crate) fn on_deep_stack<R>(f: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(6 << 20, 16 << 20, f)
}

/// Why a value was not encoded.
#[derive(Debug)]
pub(super) enum Why {
    /// A `Serialize` or the codec says so.
    Said(String),
    /// The type at which it goes deeper than may be.
    TooDeep(&'static str),
    /// The type that has a sequence or a map whose length is not told before its elements.
    UnknownLen(&'static str),
}

/// A value was not encoded. Boxed: nearly all are, and what is returned for each part of them fits into a register.
#[derive(Debug)]
pub(super) struct Refused(pub Box<Why>);

impl Refused {
    #[cold]
    fn new(why: Why) -> Refused {
        Refused(Box::new(why))
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: Display>(message: T) -> Self {
        Refused::new(Why::Said(message.to_string()))
    }
}

type Done = Result<(), Refused>;

/// Writes a `T`, which tells the type in what is found.
pub(super) struct Writer<'a, 'b, T: ?Sized> {
    pub out: &'a mut Vec<u8>,
    pub looks: &'a mut Looks<'b>,
    pub depth: u32,
    pub of: std::marker::PhantomData<fn(&T)>,
}

#[inline]
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, looks: &mut Looks<'_>, depth: u32) -> Done {
    value.serialize(Writer { out, looks, depth, of: std::marker::PhantomData::<fn(&T)> })
}

#[inline]
fn put<V: bincode::Encode>(value: V, out: &mut Vec<u8>) -> Done {
    bincode::encode_into_writer(value, Appender(out), config()).map_err(|e| Refused::new(Why::Said(e.to_string())))
}

macro_rules! plain {
    ($($method:ident($t:ty): $($name:literal)|+),+ $(,)?) => {$(
        #[inline]
        fn $method(mut self, v: $t) -> Done {
            // Known when the program is compiled; a name costs nothing then.
            if !matches!(type_name::<T>(), $($name)|+) {
                self.bare(stringify!($t));
            }
            put(v, self.out)
        }
    )+};
}

impl<'a, 'b, T: ?Sized> Writer<'a, 'b, T> {
    /// The parts of a value, one level deeper.
    #[inline]
    fn parts(self) -> Result<Parts<'a, 'b, T>, Refused> {
        if self.depth >= DEEPEST {
            return Err(Refused::new(Why::TooDeep(type_name::<T>())));
        }
        Ok(Parts { out: self.out, looks: self.looks, depth: self.depth + 1, without: None, of: self.of })
    }

    #[inline]
    fn fields(self, len: usize) -> Result<Parts<'a, 'b, T>, Refused> {
        let known = self.looks.at::<T>(Shape::of::<T>("", len), || What::Fields(Vec::new()));
        let mut parts = self.parts()?;
        if let Known::Without(field) = known {
            parts.without = Some(field);
        }
        Ok(parts)
    }

    /// A `T` that shows itself as something else, as untagged enums do.
    #[inline]
    fn bare(&mut self, kind: &'static str) {
        self.looks.at::<T>(Shape::of::<T>(kind, 0), || What::Bare(kind));
    }

    #[inline]
    fn variant(&mut self, name: &'static str, index: u32, variant: &'static str, len: usize) -> Done {
        let known = self.looks.at::<T>(Shape::of::<T>(variant, len), || What::Variant(name, variant, index));
        put(if let Known::Variant(index) = known { index } else { index }, self.out)
    }

    fn len(&mut self, len: Option<usize>) -> Done {
        match len {
            Some(len) => put(len, self.out),
            None => Err(Refused::new(Why::UnknownLen(type_name::<T>()))),
        }
    }
}

impl<'a, 'b, T: ?Sized> Serializer for Writer<'a, 'b, T> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Parts<'a, 'b, T>;
    type SerializeTuple = Parts<'a, 'b, T>;
    type SerializeTupleStruct = Parts<'a, 'b, T>;
    type SerializeTupleVariant = Parts<'a, 'b, T>;
    type SerializeMap = Parts<'a, 'b, T>;
    type SerializeStruct = Parts<'a, 'b, T>;
    type SerializeStructVariant = Parts<'a, 'b, T>;

    plain!(
        serialize_bool(bool): "bool" | "&bool",
        serialize_i8(i8): "i8" | "&i8",
        serialize_i16(i16): "i16" | "&i16",
        serialize_i32(i32): "i32" | "&i32",
        serialize_i64(i64): "i64" | "&i64" | "isize" | "&isize",
        serialize_i128(i128): "i128" | "&i128",
        serialize_u8(u8): "u8" | "&u8",
        serialize_u16(u16): "u16" | "&u16",
        serialize_u32(u32): "u32" | "&u32",
        serialize_u64(u64): "u64" | "&u64" | "usize" | "&usize",
        serialize_u128(u128): "u128" | "&u128",
        serialize_f32(f32): "f32" | "&f32",
        serialize_f64(f64): "f64" | "&f64",
        serialize_char(char): "char" | "&char",
        serialize_str(&str): "str" | "&str" | "alloc::string::String" | "&alloc::string::String"
            | "compact_str::CompactString" | "&compact_str::CompactString",
        serialize_bytes(&[u8]): "bytes::bytes::Bytes",
    );

    #[inline]
    fn serialize_none(self) -> Done {
        put(0u8, self.out)
    }

    #[inline]
    fn serialize_some<U: Serialize + ?Sized>(self, value: &U) -> Done {
        put(1u8, self.out)?;
        write(value, self.out, self.looks, self.depth)
    }

    #[inline]
    fn serialize_unit(mut self) -> Done {
        if !matches!(type_name::<T>(), "()" | "&()") {
            self.bare("unit");
        }
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(mut self, name: &'static str, index: u32, variant: &'static str) -> Done {
        self.variant(name, index, variant, 0)
    }

    #[inline]
    fn serialize_newtype_struct<U: Serialize + ?Sized>(self, _: &'static str, value: &U) -> Done {
        self.parts()?.part(value)
    }

    #[inline]
    fn serialize_newtype_variant<U: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &U,
    ) -> Done {
        self.variant(name, index, variant, 1)?;
        self.parts()?.part(value)
    }

    #[inline]
    fn serialize_seq(mut self, len: Option<usize>) -> Result<Parts<'a, 'b, T>, Refused> {
        let name = type_name::<T>();
        let vec = name.starts_with("alloc::vec::Vec<") || name.starts_with("&alloc::vec::Vec<");
        if !vec && !matches!(name.as_bytes(), [b'[', ..] | [b'&', b'[', ..]) {
            self.bare("seq");
        }
        self.len(len)?;
        self.parts()
    }

    #[inline]
    fn serialize_tuple(mut self, _: usize) -> Result<Parts<'a, 'b, T>, Refused> {
        if !matches!(type_name::<T>().as_bytes(), [b'(' | b'[', ..] | [b'&', b'(' | b'[', ..]) {
            self.bare("tuple");
        }
        self.parts()
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Parts<'a, 'b, T>, Refused> {
        self.fields(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'a, 'b, T>, Refused> {
        self.variant(name, index, variant, len)?;
        self.parts()
    }

    #[inline]
    fn serialize_map(mut self, len: Option<usize>) -> Result<Parts<'a, 'b, T>, Refused> {
        self.bare("map");
        self.len(len)?;
        self.parts()
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Parts<'a, 'b, T>, Refused> {
        self.fields(len)
    }

    #[inline]
    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'a, 'b, T>, Refused> {
        self.variant(name, index, variant, len)?;
        self.parts()
    }

    #[inline]
    fn collect_seq<I: IntoIterator>(self, elements: I) -> Done
    where
        I::Item: Serialize,
    {
        let mut elements = elements.into_iter();
        let len = match elements.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        let Parts { out, looks, depth, .. } = self.serialize_seq(len)?;
        // Asked once, not for each element.
        let mut all = || elements.try_for_each(|x| write(&x, out, looks, depth));
        if depth.is_multiple_of(DEEP) { on_deep_stack(all) } else { all() }
    }

    fn collect_str<D: Display + ?Sized>(self, value: &D) -> Done {
        self.serialize_str(&value.to_string())
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a `T`.
pub(super) struct Parts<'a, 'b, T: ?Sized> {
    out: &'a mut Vec<u8>,
    looks: &'a mut Looks<'b>,
    depth: u32,
    /// A field that is never read.
    without: Option<&'static str>,
    of: std::marker::PhantomData<fn(&T)>,
}

impl<T: ?Sized> Parts<'_, '_, T> {
    #[inline]
    fn part<U: Serialize + ?Sized>(&mut self, value: &U) -> Done {
        if self.depth.is_multiple_of(DEEP) {
            return on_deep_stack(|| write(value, self.out, self.looks, self.depth));
        }
        write(value, self.out, self.looks, self.depth)
    }

    #[inline]
    fn field<U: Serialize + ?Sized>(&mut self, name: &'static str, value: &U) -> Done {
        if let Some(close) = &mut self.looks.close {
            close.field::<T>(name);
        }
        if self.without == Some(name) { Ok(()) } else { self.part(value) }
    }

    /// `skip_serializing_if`: zero stands for what is nearly always left out: nothing, an empty text, list or map, 0, false.
    #[cold]
    fn left_out(&mut self, name: &'static str) -> Done {
        self.looks.at::<T>(Shape::of::<T>(name, usize::MAX), || What::LeftOut(name));
        put(0u8, self.out)
    }
}

macro_rules! elements {
    ($($kind:ident $method:ident),+ $(,)?) => {$(
        impl<T: ?Sized> ser::$kind for Parts<'_, '_, T> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<U: Serialize + ?Sized>(&mut self, value: &U) -> Done {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )+};
}
elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
);

impl<T: ?Sized> ser::SerializeMap for Parts<'_, '_, T> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<U: Serialize + ?Sized>(&mut self, key: &U) -> Done {
        self.part(key)
    }

    #[inline]
    fn serialize_value<U: Serialize + ?Sized>(&mut self, value: &U) -> Done {
        self.part(value)
    }

    #[inline]
    fn end(self) -> Done {
        Ok(())
    }
}

macro_rules! named {
    ($($kind:ident),+) => {$(
        impl<T: ?Sized> ser::$kind for Parts<'_, '_, T> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn serialize_field<U: Serialize + ?Sized>(&mut self, name: &'static str, value: &U) -> Done {
                self.field(name, value)
            }

            fn skip_field(&mut self, name: &'static str) -> Done {
                self.left_out(name)
            }

            #[inline]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )+};
}
named!(SerializeStruct, SerializeStructVariant);
