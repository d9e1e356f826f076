//! The record codec. The only file that names bincode, so that it can be replaced here alone.
//!
//! Formats: varint integers, little endian, no type information. Both sides are the same build, which the build-hash
//! check guarantees. As there are no names, what serde's attributes leave out or renumber would come back changed:
//! `writer.rs` sees it, `settle.rs` finds out how such a value can travel, `checks.rs` remembers that. What cannot (untagged,
//! flatten, `serde_json::Value`) is an error on the side that encodes.

use bincode::config::{self, Config};
use serde::{Serialize, de::DeserializeOwned};

pub use self::settle::is_check;
pub(crate) use self::writer::{DEEPEST, on_deep_stack};
use self::{checks::Looks, writer::write};
use crate::bulk;

mod checks;
#[cfg(test)]
mod forms;
mod settle;
mod writer;

/// A value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value's `Serialize` said no, or the codec cannot express it.
    #[error("cannot encode a {type_name}: {message}")]
    Encode {
        /// Rust's name of the type.
        type_name: &'static str,
        /// What the codec said.
        message: String,
    },
    /// The bytes are not a value of that type.
    #[error("cannot decode a {type_name}: {message}")]
    Decode {
        /// Rust's name of the type.
        type_name: &'static str,
        /// What the codec said.
        message: String,
    },
}

/// No single value may take more than this many bytes: what claims more is taken for damage.
pub(crate) const LIMIT: usize = 1 << 31;

#[inline]
fn config() -> impl Config {
    config::standard().with_limit::<LIMIT>()
}

/// A writer over a growing Vec: `std::io::Write` costs several times as much for each record.
struct Appender<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Appender<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends the encoding of `value` to `out`. On error `out` is as it was.
///
/// # Errors
/// When the value would not come back as it was, because of serde's attributes or of a `Serialize` that is no mirror of
/// the `Deserialize`, or when it is nested too deeply.
#[inline]
pub fn encode_into<T: Serialize + DeserializeOwned>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_as::<T, T>(value, out)
}

/// [`encode_into`] of what is decoded as a `D`, such as a slice for a Vec, or a tuple of references.
#[inline]
pub fn encode_as<D, T>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>
where
    D: Serialize + DeserializeOwned,
    T: Serialize + ?Sized,
{
    let start = out.len();
    if !bulk::append(value, out) {
        encode_each::<D, T>(value, out)?;
    }
    if out.len() - start > LIMIT { Err(too_large::<T>(start, out)) } else { Ok(()) }
}

/// What was encoded could not be decoded: better said here, before it travels.
#[cold]
fn too_large<T: ?Sized>(start: usize, out: &mut Vec<u8>) -> CodecError {
    let mib = (out.len() - start) >> 20;
    out.truncate(start);
    let message = format!(
        "it takes {mib} MiB, and one value may take {} MiB at most: make it several elements, or several partitions",
        LIMIT >> 20
    );
    CodecError::Encode { type_name: std::any::type_name::<T>(), message }
}

/// [`encode_as`], element by element.
#[inline]
pub(crate) fn encode_each<D, T>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>
where
    D: Serialize + DeserializeOwned,
    T: Serialize + ?Sized,
{
    let start = out.len();
    let mut looks = Looks::default();
    match write(value, out, &mut looks, 0) {
        // What is too large is said by the caller.
        Ok(()) if looks.fresh.is_empty() || out.len() - start > LIMIT => Ok(()),
        Ok(()) => {
            out.truncate(start);
            settle::settle::<D, T>(value, &looks.fresh, out)
        }
        Err(refused) => {
            out.truncate(start);
            Err(settle::refusal::<T>(refused))
        }
    }
}

/// Appends a length as it stands before the elements of a Vec.
pub(crate) fn append_len(len: usize, out: &mut Vec<u8>) -> bool {
    encode_each::<u64, u64>(&(len as u64), out).is_ok()
}

/// The encoding of `value`.
pub fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Decodes one value from the start of `bytes`; returns it and how many bytes it took.
#[inline]
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    match bulk::take(bytes) {
        Some(taken) => Ok(taken),
        None => decode_each(bytes),
    }
}

/// [`decode_prefix`], element by element.
#[inline]
pub(crate) fn decode_each<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    // Borrowing: a string that is kept in another form, such as inline, is not allocated on the way.
    bincode::serde::borrow_decode_from_slice(bytes, config()).map_err(|e| {
        let message = match e {
            bincode::error::DecodeError::LimitExceeded => {
                format!("it takes more than {} MiB, which is the most that one value may take", LIMIT >> 20)
            }
            e => e.to_string(),
        };
        CodecError::Decode { type_name: std::any::type_name::<T>(), message }
    })
}

/// Runs `decode`, which decodes `bytes` on any thread, with a stack that holds the deepest value.
pub fn with_room<R>(bytes: &[u8], decode: impl FnOnce() -> R) -> R {
    // What is shorter is not nested so deeply that it needs more of a stack than every thread has.
    if bytes.len() > 256 { on_deep_stack(decode) } else { decode() }
}

/// Decodes a value that takes up all of `bytes`; left-over bytes are an error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = with_room(bytes, || decode_prefix(bytes))?;
    if used == bytes.len() {
        Ok(value)
    } else {
        Err(CodecError::Decode {
            type_name: std::any::type_name::<T>(),
            message: format!("{} bytes are left over", bytes.len() - used),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(v: Vec<(u64, String, Option<i32>)>) {
            let bytes = encode(&v).unwrap();
            prop_assert_eq!(decode::<Vec<(u64, String, Option<i32>)>>(&bytes).unwrap(), v);
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode::<Vec<(u64, String)>>(&bytes);
        }
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        let mut bytes = encode(&7u64).unwrap();
        bytes.push(0);
        assert!(decode::<u64>(&bytes).unwrap_err().to_string().contains("left over"));
    }
}
