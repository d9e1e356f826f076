//! What is known of the types that were encoded: whether they come back as they were.
//!
//! The encoding has no names, so attributes that make `Serialize` and `Deserialize` of a type differ would change values in
//! silence. The first value of each shape (a struct with so many fields, a variant of an enum) is decoded and encoded once
//! more; then the shape is known in this process, and costs a look into a small table.

use std::{
    any::type_name,
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher},
    sync::{LazyLock, Mutex, PoisonError},
};

use crate::hash::FixedHash;

/// A struct, or a variant, of one type: the type's name, the variant or what else tells shapes of a type apart, the number
/// of fields. Two are equal when their names lie at the same place, as two types may have one name; but one type's name
/// may lie at several places, since the compiler makes its code more than once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    name: &'static str,
    part: &'static str,
    len: u32,
}

impl Shape {
    /// Of a `T`; `part` is the name of its variant, or of a field that was left out.
    #[inline]
    pub fn of<T: ?Sized>(part: &'static str, len: usize) -> Shape {
        Shape { name: type_name::<T>(), part, len: len as u32 }
    }

    /// Where its names lie.
    #[inline]
    fn place(&self) -> [usize; 5] {
        let (name, part) = (self.name.as_ptr() as usize, self.part.as_ptr() as usize);
        [name, self.name.len(), part, self.part.len(), self.len as usize]
    }

    /// Whether the other has the same names, wherever they lie.
    pub fn is_named_as(&self, other: &Shape) -> bool {
        (self.name, self.part, self.len) == (other.name, other.part, other.len)
    }
}

impl PartialEq for Shape {
    #[inline]
    fn eq(&self, other: &Shape) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Shape {}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

/// How a shape is encoded so that it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// As it is.
    Plain,
    /// A variant, under this number.
    Variant(u32),
    /// A struct, without the field of this name, which is never read.
    Without(&'static str),
}

const PLACES: usize = 64;

thread_local! {
    /// What this thread has looked at last, by place.
    static NEAR: [Cell<Option<(Shape, Known)>>; PLACES] = const { [const { Cell::new(None) }; PLACES] };
}

static ALL: LazyLock<Mutex<HashMap<Shape, Known, FixedHash>>> = LazyLock::new(Mutex::default);

#[inline]
pub(super) fn known(shape: &Shape) -> Option<Known> {
    let place = {
        let [name, _, part, _, len] = shape.place();
        (name >> 3 ^ part ^ len) % PLACES
    };
    NEAR.with(|near| match near[place].get() {
        Some((at, known)) if at == *shape => Some(known),
        _ => far(shape).inspect(|known| near[place].set(Some((*shape, *known)))),
    })
}

#[cold]
fn far(shape: &Shape) -> Option<Known> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner).get(shape).copied()
}

pub(super) fn learn(shapes: impl IntoIterator<Item = (Shape, Known)>) {
    ALL.lock().unwrap_or_else(PoisonError::into_inner).extend(shapes);
}

/// One shape that was met while a value is looked at closely.
pub(super) struct Met {
    pub shape: Shape,
    pub type_name: &'static str,
    pub what: What,
    /// How it was encoded.
    pub how: Known,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum What {
    /// A struct, and its fields' names as they come.
    Fields(Vec<&'static str>),
    /// A variant of the enum of this name, and its number among all that are declared.
    Variant(&'static str, &'static str, u32),
    /// Something without a name of its own, which a type shows in place of itself.
    Bare(&'static str),
    /// A field that `skip_serializing_if` left out, in whose place zero was written.
    LeftOut(&'static str),
}

/// What is tried in place of what is usual.
#[derive(Clone, Copy)]
pub(super) enum Tried {
    /// The variants from this number on of the enum of this name get numbers that are so much smaller.
    Shift(&'static str, u32, u32),
    /// A struct goes without a field.
    Without(Shape, &'static str),
}

/// What is gathered while a value is looked at closely.
#[derive(Default)]
pub(super) struct Close {
    /// Everything that was met.
    pub met: Vec<Met>,
    pub tried: Option<Tried>,
}

/// How a value is looked at while it is encoded.
#[derive(Default)]
pub(super) struct Looks<'a> {
    /// What was met that is not known.
    pub fresh: Vec<Shape>,
    pub close: Option<&'a mut Close>,
}

impl Looks<'_> {
    /// How to encode a shape; `what` tells more of it.
    #[inline]
    pub fn at<T: ?Sized>(&mut self, shape: Shape, what: impl FnOnce() -> What) -> Known {
        let Some(close) = &mut self.close else {
            return known(&shape).unwrap_or_else(|| self.not_known(shape));
        };
        close.at(shape, type_name::<T>(), what())
    }

    #[cold]
    fn not_known(&mut self, shape: Shape) -> Known {
        if !self.fresh.contains(&shape) {
            self.fresh.push(shape);
        }
        Known::Plain
    }
}

impl Close {
    #[cold]
    fn at(&mut self, shape: Shape, type_name: &'static str, what: What) -> Known {
        let how = known(&shape).unwrap_or_else(|| match (&what, self.tried) {
            (What::Variant(of, _, index), Some(Tried::Shift(tried, from, by))) if *of == tried && *index >= from => {
                Known::Variant(index.saturating_sub(by))
            }
            (What::Fields(_), Some(Tried::Without(tried, field))) if shape == tried => Known::Without(field),
            _ => Known::Plain,
        });
        self.met.push(Met { shape, type_name, what, how });
        how
    }

    /// A field of the struct `T` that was met last.
    #[cold]
    pub fn field<T: ?Sized>(&mut self, name: &'static str) {
        let of = type_name::<T>();
        let last = self.met.iter_mut().rev().find(|met| met.type_name == of);
        if let Some(Met { what: What::Fields(fields), .. }) = last {
            fields.push(name);
        }
    }
}

/// A sum over what was met, in any order: maps and sets come back in another.
pub(super) fn sum(met: &[Met]) -> u64 {
    met.iter().fold(met.len() as u64, |sum, met| {
        sum.wrapping_add(match &met.what {
            What::Fields(fields) => FixedHash.hash_one(fields),
            What::Variant(of, variant, _) => FixedHash.hash_one((of, variant)),
            What::Bare(kind) => FixedHash.hash_one(kind),
            What::LeftOut(field) => FixedHash.hash_one(field),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::settle::settle;

    #[derive(Serialize, Deserialize)]
    struct Pair {
        a: u32,
        b: String,
    }

    /// As code for `Pair` that the compiler has made elsewhere would have it.
    fn elsewhere(len: usize) -> Shape {
        let shape = Shape::of::<Pair>("", len);
        Shape { name: String::from(shape.name).leak(), ..shape }
    }

    #[test]
    fn a_shape_is_settled_once_wherever_the_name_of_its_type_lies() {
        let (pair, twin, other) = (Pair { a: 1, b: "b".to_owned() }, elsewhere(2), elsewhere(3));
        assert!(twin != Shape::of::<Pair>("", 2) && twin.is_named_as(&Shape::of::<Pair>("", 2)));
        let mut out = Vec::new();
        settle::<Pair, Pair>(&pair, &[twin, other], &mut out).unwrap();
        assert_eq!(known(&twin), Some(Known::Plain));
        assert_eq!(known(&Shape::of::<Pair>("", 2)), Some(Known::Plain));
        assert_eq!(known(&other), None, "no value had it");
    }
}
