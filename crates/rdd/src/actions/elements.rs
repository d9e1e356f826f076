//! Results that are all elements of a partition: encoded while they come, in runs, so that neither their number nor their
//! bytes are bounded by what one value may take.

use std::marker::PhantomData;

use firesteel_common::{
    Data,
    codec::{self, CodecError},
};
use firesteel_task::{
    TaskContext, TaskError, TaskOutput,
    chunk::{Chunk, Stream},
};

use crate::output::OutputOp;

/// The tasks of `collect`.
pub(super) struct Elements<T>(PhantomData<fn() -> T>);

impl<T> Clone for Elements<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Elements<T> {}

impl<T: Data> Elements<T> {
    pub fn op() -> Self {
        Elements(PhantomData)
    }

    /// The elements of a result: a Vec after the other, to the end.
    pub fn decode(bytes: &[u8]) -> Result<Vec<T>, CodecError> {
        codec::with_room(bytes, || Self::decode_runs(bytes))
    }

    fn decode_runs(mut bytes: &[u8]) -> Result<Vec<T>, CodecError> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (mut run, used): (Vec<T>, usize) = codec::decode_prefix(bytes)?;
            bytes = bytes.get(used..).unwrap_or_default();
            if all.is_empty() {
                // As many as if all runs were as this one.
                run.reserve_exact(bytes.len() / used.max(1) * run.len());
                all = run;
            } else {
                all.append(&mut run);
            }
        }
        Ok(all)
    }
}

impl<T: Data> OutputOp for Elements<T> {
    type In = T;
    type Env = ();

    fn run(
        self,
        _: &std::sync::Arc<()>,
        mut input: Stream<T>,
        ctx: &std::sync::Arc<TaskContext>,
    ) -> Result<TaskOutput, TaskError> {
        let mut out = ctx.result_writer();
        while let Some(chunk) = input.next_chunk()? {
            let goes_on = out.write(|bytes| match &chunk {
                Chunk::Owned(v) => codec::encode_into(v, bytes),
                shared => codec::encode_as::<Vec<T>, _>(shared.as_slice(), bytes),
            })?;
            if !goes_on {
                break;
            }
        }
        out.finish()
    }
}

/// All elements of `parts`, which go as they are taken over.
pub(super) fn concat<T>(mut parts: Vec<Vec<T>>) -> Vec<T> {
    if let [only] = parts.as_mut_slice() {
        return std::mem::take(only);
    }
    let mut all = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    parts.into_iter().for_each(|mut part| all.append(&mut part));
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_of_any_elements_come_back(runs: Vec<Vec<(u32, String)>>, bytes: Vec<Vec<u8>>, units in 0usize..5000) {
            fn there_and_back<T: Data + PartialEq + std::fmt::Debug>(runs: &[Vec<T>]) {
                let mut encoded = Vec::new();
                runs.iter().for_each(|run| codec::encode_into(run, &mut encoded).unwrap());
                assert_eq!(Elements::<T>::decode(&encoded).unwrap(), runs.concat());
            }
            there_and_back(&runs);
            there_and_back(&bytes);
            there_and_back(&[vec![(); units], vec![(); 3]]);
            prop_assert_eq!(concat(runs.clone()), runs.concat());
        }

        #[test]
        fn random_bytes_are_no_panic(bytes: Vec<u8>) {
            let _ = Elements::<(u64, String)>::decode(&bytes);
        }
    }
}
