//! Vecs of bytes and of floats as a whole: their encoding is their memory, so that a copy does what the codec would do
//! element by element. Called by `codec` alone; the bytes are the same either way.

use castaway::cast;

use crate::codec::{LIMIT, append_len, decode_each};

/// Appends the encoding of `value` when it is such a Vec; otherwise, or when it cannot, `out` is as it was.
#[inline]
pub(crate) fn append<T: ?Sized>(value: &T, out: &mut Vec<u8>) -> bool {
    // Most types are told apart by their size already, which costs nothing in any build.
    if size_of_val(value) != size_of::<Vec<u8>>() {
        return false;
    }
    if let Ok(bytes) = cast!(value, &Vec<u8>) {
        return append_len(bytes.len(), out) && {
            out.extend_from_slice(bytes);
            true
        };
    }
    if let Ok(floats) = cast!(value, &Vec<f64>) {
        return append_floats(floats, |x| x.to_le_bytes(), out);
    }
    if let Ok(floats) = cast!(value, &Vec<f32>) {
        return append_floats(floats, |x| x.to_le_bytes(), out);
    }
    false
}

fn append_floats<F: Copy, const N: usize>(floats: &[F], bytes_of: impl Fn(F) -> [u8; N], out: &mut Vec<u8>) -> bool {
    if !append_len(floats.len(), out) {
        return false;
    }
    let start = out.len();
    out.resize(start + floats.len() * N, 0);
    out[start..].chunks_exact_mut(N).zip(floats).for_each(|(to, x)| to.copy_from_slice(&bytes_of(*x)));
    true
}

/// Decodes a `T` from the start of `bytes` when it is such a Vec; returns it and how many bytes it took. `None` also where
/// the bytes are not one or claim too much: then the codec says so.
#[inline]
pub(crate) fn take<T>(bytes: &[u8]) -> Option<(T, usize)> {
    if size_of::<T>() != size_of::<Vec<u8>>() {
        return None;
    }
    let mut taken: Option<T> = None;
    let mut used = 0;
    if let Ok(slot) = cast!(&mut taken, &mut Option<Vec<u8>>) {
        let (elements, end) = elements(bytes, 1)?;
        (*slot, used) = (Some(elements.to_vec()), end);
    } else if let Ok(slot) = cast!(&mut taken, &mut Option<Vec<f64>>) {
        let (elements, end) = elements(bytes, 8)?;
        (*slot, used) = (Some(elements.as_chunks().0.iter().map(|x| f64::from_le_bytes(*x)).collect()), end);
    } else if let Ok(slot) = cast!(&mut taken, &mut Option<Vec<f32>>) {
        let (elements, end) = elements(bytes, 4)?;
        (*slot, used) = (Some(elements.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()), end);
    }
    taken.map(|taken| (taken, used))
}

/// The elements of `width` bytes that follow their number, and where they end.
fn elements(bytes: &[u8], width: usize) -> Option<(&[u8], usize)> {
    let (len, at) = decode_each::<u64>(bytes).ok()?;
    let size = usize::try_from(len).ok()?.checked_mul(width).filter(|size| *size <= LIMIT - at)?;
    let end = at + size;
    Some((bytes.get(at..end)?, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Serialize, de::DeserializeOwned};

    use crate::codec::{decode, decode_each, decode_prefix, encode, encode_each};

    /// Both ways give the same bytes, and each reads what the other wrote.
    fn same<T: Serialize + DeserializeOwned>(value: T, follows: &[u8]) {
        let whole = encode(&value).unwrap();
        let mut each = Vec::new();
        encode_each::<T, T>(&value, &mut each).unwrap();
        assert_eq!(whole, each);
        let bytes = [&whole, follows].concat();
        let (taken, used) = decode_prefix::<T>(&bytes).unwrap();
        assert_eq!((encode(&taken).unwrap(), used), (whole.clone(), whole.len()));
        let (taken, used) = decode_each::<T>(&bytes).unwrap();
        assert_eq!((encode(&taken).unwrap(), used), (whole, each.len()));
    }

    proptest! {
        #[test]
        fn vecs_as_a_whole_are_what_they_are_by_elements(bytes: Vec<u8>, doubles: Vec<f64>, n in 0usize..1000) {
            same(doubles.iter().map(|x| *x as f32).collect::<Vec<_>>(), &bytes);
            same(vec![0.5f32; n], &bytes);
            same(bytes.clone(), &[1, 2]);
            same(doubles, &bytes);
            same((bytes.clone(), n), &bytes);
            same(bytes.iter().map(|b| u64::from(*b) << 20).collect::<Vec<_>>(), &bytes);
            same(String::from_utf8_lossy(&bytes).into_owned(), &bytes);
        }

        #[test]
        fn both_ways_take_the_same_bytes(bytes: Vec<u8>) {
            let whole = decode_prefix::<Vec<u8>>(&bytes).ok();
            prop_assert_eq!(whole, decode_each::<Vec<u8>>(&bytes).ok());
            let used = |taken: Result<(Vec<f64>, usize), _>| taken.ok().map(|(v, used): (Vec<f64>, _)| (v.len(), used));
            prop_assert_eq!(used(decode_prefix(&bytes)), used(decode_each(&bytes)));
        }
    }

    #[test]
    fn what_is_cut_off_or_claims_too_much_is_an_error() {
        for len in 0..17 {
            let cut = &encode(&vec![1.0f64, 2.0]).unwrap()[..len];
            assert!(decode::<Vec<f64>>(cut).is_err());
        }
        same(vec![7u8; 70_000], &[]);
        for claimed in [1u64 << 40, u64::MAX] {
            let bytes = encode(&claimed).unwrap();
            assert!(decode::<Vec<u8>>(&bytes).is_err() && decode::<Vec<f64>>(&bytes).is_err());
        }
    }
}
