//! The order of keys in sorts. As `Ord`, but floats have it too, the order that Java's `Double.compare` gives them.

use std::{
    cmp::{Ordering, Reverse},
    rc::Rc,
    sync::Arc,
};

/// A key that can be sorted by. Floats are ordered as Spark orders them: `-0.0` before `0.0`, every NaN equal to every
/// other and after infinity, also one that was computed and has the sign bit set, as `0.0 / 0.0` has on x86.
pub trait SortKey {
    /// Compares two keys; a total order.
    fn cmp_key(&self, other: &Self) -> Ordering;

    /// A number that never falls as the key rises, so that most keys can be told apart by it: of a text its first bytes.
    #[inline]
    fn prefix(&self) -> u64 {
        0
    }

    /// The same for several keys that are compared one after the other.
    #[inline]
    fn prefix_of(keys: &[Self]) -> u64
    where
        Self: Sized,
    {
        keys.first().map_or(0, |key| key.prefix() >> 1 | 1 << 63)
    }
}

/// The first eight bytes, the first one highest.
#[inline]
fn first_bytes(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)) << (8 * (8 - bytes.len()) % 64),
    }
}

macro_rules! by_ord {
    ($($t:ty => $prefix:expr),* $(,)?) => {$(
        impl SortKey for $t {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }

            #[inline]
            fn prefix(&self) -> u64 {
                let prefix: fn(&$t) -> u64 = $prefix;
                prefix(self)
            }
        }
    )*};
}

const SIGN: u64 = 1 << 63;

by_ord!(
    i8 => |x| i64::from(*x) as u64 ^ SIGN,
    i16 => |x| i64::from(*x) as u64 ^ SIGN,
    i32 => |x| i64::from(*x) as u64 ^ SIGN,
    i64 => |x| *x as u64 ^ SIGN,
    i128 => |x| (*x >> 64) as u64 ^ SIGN,
    isize => |x| *x as u64 ^ SIGN,
    u16 => |x| u64::from(*x),
    u32 => |x| u64::from(*x),
    u64 => |x| *x,
    u128 => |x| (*x >> 64) as u64,
    usize => |x| *x as u64,
    bool => |x| u64::from(*x),
    char => |x| u64::from(*x),
    String => |x| first_bytes(x.as_bytes()),
    str => |x| first_bytes(x.as_bytes()),
    firesteel_common::Str => |x| first_bytes(x.as_bytes()),
    () => |_| 0,
    std::time::Duration => |x| x.as_secs(),
);
/// The bits of a float, so that they rise with it as unsigned numbers. Every NaN has those of the positive quiet one.
macro_rules! floats {
    ($($t:ty, $bits:ty);+ $(;)?) => {$(
        impl SortKey for $t {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                self.prefix().cmp(&other.prefix())
            }

            #[inline]
            fn prefix(&self) -> u64 {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let bits = if self.is_nan() { <$t>::NAN.to_bits() & !SIGN } else { self.to_bits() };
                // Negative ones fall as their bits rise.
                u64::from(if bits & SIGN == 0 { bits | SIGN } else { !bits })
            }
        }
    )+};
}
floats!(f64, u64; f32, u32);

impl SortKey for u8 {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }

    #[inline]
    fn prefix(&self) -> u64 {
        u64::from(*self)
    }

    #[inline]
    fn prefix_of(keys: &[u8]) -> u64 {
        first_bytes(keys)
    }
}

macro_rules! pointers {
    ($($t:ty),*) => {$(
        impl<T: SortKey + ?Sized> SortKey for $t {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                (**self).cmp_key(other)
            }

            #[inline]
            fn prefix(&self) -> u64 {
                (**self).prefix()
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

    #[inline]
    fn prefix(&self) -> u64 {
        !self.0.prefix()
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

    #[inline]
    fn prefix(&self) -> u64 {
        self.as_ref().map_or(0, |key| key.prefix() >> 1 | SIGN)
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

    #[inline]
    fn prefix(&self) -> u64 {
        T::prefix_of(self)
    }
}

impl<T: SortKey> SortKey for Vec<T> {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.as_slice().cmp_key(other)
    }

    #[inline]
    fn prefix(&self) -> u64 {
        T::prefix_of(self)
    }
}

impl<T: SortKey, const N: usize> SortKey for [T; N] {
    #[inline]
    fn cmp_key(&self, other: &Self) -> Ordering {
        self.as_slice().cmp_key(other)
    }

    #[inline]
    fn prefix(&self) -> u64 {
        T::prefix_of(self)
    }
}

macro_rules! tuples {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: SortKey),+> SortKey for ($($name,)+) {
            #[inline]
            fn cmp_key(&self, other: &Self) -> Ordering {
                Ordering::Equal$(.then_with(|| self.$index.cmp_key(&other.$index)))+
            }

            #[inline]
            fn prefix(&self) -> u64 {
                self.0.prefix()
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
    use std::hint::black_box;

    use super::*;

    #[test]
    fn compound_keys_compare_part_by_part() {
        assert!((1, "b".to_owned()).cmp_key(&(1, "a".to_owned())).is_gt());
        assert!(vec![1, 2].cmp_key(&vec![1, 2, 0]).is_lt());
        assert!(None.cmp_key(&Some(0)).is_lt());
        assert!(Reverse(1).cmp_key(&Reverse(2)).is_gt());
    }

    /// What x86 gives for `0.0 / 0.0`, and others.
    fn nans() -> [f64; 4] {
        [f64::NAN, -f64::NAN, black_box(0.0) / black_box(0.0), f64::from_bits(0x7ff0_0000_0000_0001)]
    }

    #[test]
    fn floats_have_the_order_of_javas_compare() {
        let mut v = [f64::NAN, 1.0, 0.0, -f64::NAN, f64::INFINITY, -0.0, f64::NEG_INFINITY, -1.0];
        v.sort_by(SortKey::cmp_key);
        assert_eq!(v[..6], [f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1.0, f64::INFINITY]);
        assert!(v[2].is_sign_negative() && v[3].is_sign_positive() && v[6].is_nan() && v[7].is_nan());
    }

    #[test]
    fn every_nan_is_equal_to_every_other_and_the_largest_also_inside_of_other_keys() {
        for a in nans() {
            for b in nans() {
                assert!(a.cmp_key(&b).is_eq() && (a as f32).cmp_key(&(b as f32)).is_eq());
                assert!((a, 1).cmp_key(&(b, 2)).is_lt() && Some(a).cmp_key(&Some(b)).is_eq());
                assert!(vec![a, 1.0].cmp_key(&vec![b, 0.0]).is_gt() && [a].cmp_key(&[b]).is_eq());
                assert!(Reverse(a).cmp_key(&Reverse(b)).is_eq() && Box::new(a).cmp_key(&Box::new(b)).is_eq());
            }
            assert!(a.cmp_key(&f64::INFINITY).is_gt() && (a as f32).cmp_key(&f32::INFINITY).is_gt());
            assert!(Reverse(a).cmp_key(&Reverse(f64::MAX)).is_lt() && Some(a).cmp_key(&None).is_gt());
        }
    }

    fn follows<T: SortKey + std::fmt::Debug>(mut keys: Vec<T>) {
        keys.sort_by(SortKey::cmp_key);
        for pair in keys.windows(2) {
            assert!(pair[0].prefix() <= pair[1].prefix(), "{pair:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn prefixes_follow_the_order_of_the_keys(
            a: Vec<i8>, b: Vec<i64>, c: Vec<u128>, d: Vec<String>, e: Vec<f64>, f: Vec<f32>, g: Vec<Option<i32>>,
            h: Vec<(i16, String)>, i: Vec<Vec<u8>>, j: Vec<Vec<i16>>, k: Vec<[u8; 10]>, l: Vec<char>, m: Vec<i128>,
        ) {
            follows(a);
            follows(b.iter().copied().map(Reverse).collect());
            follows(b);
            follows(c);
            follows(d);
            follows(e.into_iter().chain([f64::NAN, -f64::NAN, f64::INFINITY, 0.0, -0.0]).collect());
            follows(f.into_iter().chain([f32::NAN, -f32::NAN, f32::INFINITY, 0.0, -0.0]).collect());
            follows(g);
            follows(h);
            follows(i);
            follows(j);
            follows(k);
            follows(l);
            follows(m);
        }
    }
}
