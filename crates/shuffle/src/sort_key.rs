//! The order of keys in sorts. As `Ord`, but floats have it too.

use std::{
    cmp::{Ordering, Reverse},
    rc::Rc,
    sync::Arc,
};

/// A key that can be sorted by. Floats are ordered by `total_cmp`: every NaN has its place.
pub trait SortKey {
    /// Compares two keys; a total order.
    fn cmp_key(&self, other: &Self) -> Ordering;
}

macro_rules! by_ord {
    ($($t:ty),*) => {$(
        impl SortKey for $t {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }
        }
    )*};
}
by_ord!(
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    bool,
    char,
    String,
    str,
    firesteel_common::Str,
    (),
    std::time::Duration
);

macro_rules! by_total_cmp {
    ($($t:ty),*) => {$(
        impl SortKey for $t {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                self.total_cmp(other)
            }
        }
    )*};
}
by_total_cmp!(f32, f64);

macro_rules! pointers {
    ($($t:ty),*) => {$(
        impl<T: SortKey + ?Sized> SortKey for $t {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                (**self).cmp_key(other)
            }
        }
    )*};
}
pointers!(&T, Box<T>, Arc<T>, Rc<T>);

impl<T: SortKey> SortKey for Reverse<T> {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        other.0.cmp_key(&self.0)
    }
}

impl<T: SortKey> SortKey for Option<T> {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        match (self, other) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp_key(b),
        }
    }
}

impl<T: SortKey> SortKey for [T] {
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.iter()
            .zip(other)
            .map(|(a, b)| a.cmp_key(b))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| self.len().cmp(&other.len()))
    }
}

impl<T: SortKey> SortKey for Vec<T> {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.as_slice().cmp_key(other)
    }
}

impl<T: SortKey, const N: usize> SortKey for [T; N] {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.as_slice().cmp_key(other)
    }
}

macro_rules! tuples {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: SortKey),+> SortKey for ($($name,)+) {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                Ordering::Equal$(.then_with(|| self.$index.cmp_key(&other.$index)))+
            }
        }
    };
}
tuples!(A.0);
tuples!(A.0, B.1);
tuples!(A.0, B.1, C.2);
tuples!(A.0, B.1, C.2, D.3);
tuples!(A.0, B.1, C.2, D.3, E.4);
tuples!(A.0, B.1, C.2, D.3, E.4, F.5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compound_keys_compare_part_by_part() {
        assert!((1, "b".to_owned()).cmp_key(&(1, "a".to_owned())).is_gt());
        assert!(vec![1, 2].cmp_key(&vec![1, 2, 0]).is_lt());
        assert!(None.cmp_key(&Some(0)).is_lt());
        assert!(Reverse(1).cmp_key(&Reverse(2)).is_gt());
    }

    #[test]
    fn floats_have_a_total_order() {
        let mut v = [f64::NAN, 1.0, -0.0, 0.0, f64::NEG_INFINITY];
        v.sort_by(SortKey::cmp_key);
        assert_eq!(v[0], f64::NEG_INFINITY);
        assert!(v[1].is_sign_negative() && v[2].is_sign_positive() && v[4].is_nan());
    }
}
