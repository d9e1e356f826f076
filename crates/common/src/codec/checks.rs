//! What is known of the types that were encoded: whether they come back as they were.
//!
//! The encoding has no names, so attributes that make `Serialize` and `Deserialize` of a type differ would change values in
//! silence. The first value of each shape (a struct with so many fields, a variant of an enum) is decoded and encoded once
//! more; then the shape is known in this process, and costs a look into a small table.

use std::{
    any::type_name,
    cell::Cell,
    collections::HashMap,
    hash::BuildHasher,
    sync::{LazyLock, Mutex, PoisonError},
};

use crate::hash::FixedHash;

/// A struct, or a variant, of one type: where the type's name lies in memory, the variant or what else tells shapes of a
/// type apart, the number of fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Shape {
    name: (usize, usize),
    part: (usize, usize),
    len: u32,
}

impl Shape {
    /// Of a `T`; `part` is the name of its variant, or of a field that was left out.
    #[inline]
    pub fn of<T: ?Sized>(part: &'static str, len: usize) -> Shape {
        let name = type_name::<T>();
        Shape {
            name: (name.as_ptr() as usize, name.len()),
            part: (part.as_ptr() as usize, part.len()),
            len: len as u32,
        }
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
    let place = (shape.name.0 >> 3 ^ shape.part.0 ^ shape.len as usize) % PLACES;
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
    /// Something was met that is not known.
    pub fresh: bool,
    pub close: Option<&'a mut Close>,
}

impl Looks<'_> {
    /// How to encode a shape; `what` tells more of it.
    #[inline]
    pub fn at<T: ?Sized>(&mut self, shape: Shape, what: impl FnOnce() -> What) -> Known {
        let Some(close) = &mut self.close else {
            return known(&shape).unwrap_or_else(|| {
                self.fresh = true;
                Known::Plain
            });
        };
        close.at(shape, type_name::<T>(), what())
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
