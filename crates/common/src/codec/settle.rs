//! The first value of a shape: how it can travel, or why it cannot. Called by `codec` alone.

use std::{any::type_name, cell::Cell};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    CodecError,
    checks::{Close, Known, Looks, Met, Shape, Tried, What, learn, sum},
    decode_each,
    writer::{DEEPEST, Refused, Why, on_deep_stack, write},
};

/// Skipped variants before another that are looked for.
const SKIPPED: u32 = 16;

thread_local! {
    static CHECKING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the value that this thread decodes is only compared with what was encoded, and then dropped: a `Deserialize`
/// that does more than make a value leaves that out.
pub fn is_check() -> bool {
    CHECKING.get()
}

/// Encodes `value` so that it comes back as it was, and remembers how: also for the `fresh` shapes that whoever calls has
/// met in it, whose names may lie elsewhere than where this code has them.
#[cold]
pub(super) fn settle<D, T>(value: &T, fresh: &[Shape], out: &mut Vec<u8>) -> Result<(), CodecError>
where
    D: Serialize + DeserializeOwned,
    T: Serialize + ?Sized,
{
    on_deep_stack(|| {
        let mut usual = Vec::new();
        let met = attempt::<D, T>(value, None, &mut usual)?;
        let (met, bytes) = match met {
            Ok(met) => (met, usual),
            Err((met, why)) => otherwise::<D, T>(value, &met)?.ok_or_else(|| changed::<D>(&met, &why))?,
        };
        let how = |shape: &Shape| {
            let mut all = met.iter().filter(|met| met.shape.is_named_as(shape)).map(|met| met.how);
            let first = all.next()?;
            // Two types of one name that travel differently are looked at each time.
            all.all(|how| how == first).then_some((*shape, first))
        };
        learn(fresh.iter().filter_map(how).chain(met.iter().map(|met| (met.shape, met.how))));
        out.extend_from_slice(&bytes);
        Ok(())
    })
}

/// What was met, and beside it why the value does not come back.
type Attempt = Result<Vec<Met>, (Vec<Met>, String)>;

/// Encodes `value`, decodes it and encodes that.
fn attempt<D, T>(value: &T, tried: Option<Tried>, bytes: &mut Vec<u8>) -> Result<Attempt, CodecError>
where
    D: Serialize + DeserializeOwned,
    T: Serialize + ?Sized,
{
    bytes.clear();
    let close = || Close { met: Vec::new(), tried };
    let mut first = close();
    write(value, bytes, &mut Looks { fresh: Vec::new(), close: Some(&mut first) }, 0).map_err(refusal::<T>)?;
    let met = first.met;
    let before = CHECKING.replace(true);
    let decoded = decode_each::<D>(bytes);
    CHECKING.set(before);
    let (back, used) = match decoded {
        Ok(back) => back,
        Err(CodecError::Decode { message, .. } | CodecError::Encode { message, .. }) => return Ok(Err((met, message))),
    };
    let (mut second, mut again) = (close(), Vec::new());
    let same = used == bytes.len()
        && write(&back, &mut again, &mut Looks { fresh: Vec::new(), close: Some(&mut second) }, 0).is_ok()
        && again.len() == bytes.len()
        && histogram(&again) == histogram(bytes)
        && sum(&second.met) == sum(&met);
    Ok(if same { Ok(met) } else { Err((met, "what is read is another value".to_owned())) })
}

/// How often each byte occurs: the same for maps and sets that come back in another order.
fn histogram(bytes: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    counts
}

/// The encoding that comes back when some variants or a field are never read; none when there is no such encoding.
fn otherwise<D, T>(value: &T, met: &[Met]) -> Result<Option<(Vec<Met>, Vec<u8>)>, CodecError>
where
    D: Serialize + DeserializeOwned,
    T: Serialize + ?Sized,
{
    let mut tries = Vec::new();
    let mut variants: Vec<(&str, u32)> = Vec::new();
    let mut structs = Vec::new();
    for met in met {
        match &met.what {
            What::Variant(of, _, index) if !variants.contains(&(of, *index)) => variants.push((of, *index)),
            What::Fields(fields) if !structs.contains(&met.shape) => {
                structs.push(met.shape);
                tries.extend(fields.iter().map(|field| Tried::Without(met.shape, field)));
            }
            _ => {}
        }
    }
    for (of, from) in variants {
        tries.extend((1..=SKIPPED.min(from)).map(|by| Tried::Shift(of, from, by)));
    }
    let mut bytes = Vec::new();
    for tried in tries {
        if let Ok(met) = attempt::<D, T>(value, Some(tried), &mut bytes)? {
            return Ok(Some((met, bytes)));
        }
    }
    Ok(None)
}

/// The types that were met, without those around them.
fn named(type_name: &str) -> &str {
    type_name.trim_start_matches('&')
}

fn changed<D>(met: &[Met], why: &str) -> CodecError {
    let left_out = met.iter().find_map(|met| match met.what {
        What::LeftOut(field) if met.how == Known::Plain => Some((field, named(met.type_name))),
        _ => None,
    });
    let message = if why.contains("AnyNotSupported") || why.contains("NotSupported") {
        "its Deserialize must be told what comes next, as #[serde(untagged)], #[serde(tag)], #[serde(flatten)] and \
         serde_json::Value ask for, and the encoding does not tell it; use an enum or struct without that attribute, or keep \
         the value as text"
            .to_owned()
    } else if let Some((field, of)) = left_out {
        format!(
            "field `{field}` of {of} is left out by #[serde(skip_serializing_if)] and does not come back as it was ({why}): \
             remove that attribute"
        )
    } else {
        let mut types: Vec<&str> = met.iter().map(|met| named(met.type_name)).collect();
        types.sort_unstable();
        types.dedup();
        types.truncate(8);
        format!(
            "it would not come back as it was ({why}): look for #[serde(skip)], skip_serializing, skip_deserializing and \
             tag, content, with, from or a Serialize written by hand in {}",
            types.join(", ")
        )
    };
    CodecError::Encode { type_name: type_name::<D>(), message }
}

/// Why `value` was not written.
#[cold]
pub(super) fn refusal<T: ?Sized>(refused: Refused) -> CodecError {
    let message = match *refused.0 {
        Why::TooDeep(of) => {
            format!("{} in it is nested deeper than {DEEPEST} levels, which is the most: make it flat", named(of))
        }
        Why::UnknownLen(of) => format!(
            "{} does not tell how many elements or fields it has before it gives them, as with #[serde(flatten)]: remove \
             that attribute",
            named(of)
        ),
        Why::Said(message) if message.contains("cannot be serialized") => {
            format!("{message}: it has #[serde(skip)] or skip_serializing")
        }
        Why::Said(message) => message,
    };
    CodecError::Encode { type_name: type_name::<T>(), message }
}
