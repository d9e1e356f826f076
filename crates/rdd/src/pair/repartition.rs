//! `repartition`: the same elements, dealt out evenly.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{Data, ShuffleId};
use firesteel_task::{TaskContext, TaskError, TaskOutput, chunk::Stream};

use super::{ShuffleDep, ShuffleRead, partition_by::ReadRecords};
use crate::{Rdd, output::OutputOp};

/// Map side: deals the elements out in turn.
///
/// Where an element goes depends on its position alone, never on what it is: elements may encode to other bytes each time
/// that they are made. Where the order may change from one run to the next, the result is indeterminate, and the
/// schedulers know.
struct WriteDealt<T>(PhantomData<fn() -> T>);

impl<T> Clone for WriteDealt<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for WriteDealt<T> {}

impl<T: Data> OutputOp for WriteDealt<T> {
    type In = T;
    type Env = (ShuffleId, u32);

    const BY_POSITION: bool = true;

    fn run(self, env: &Arc<Self::Env>, mut input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError> {
        let (shuffle, partitions) = **env;
        let mut writer = ctx.map_writer(shuffle, partitions);
        let mut next = first_reducer(ctx.partition_id(), partitions);
        while let Some(chunk) = input.next_chunk()? {
            for x in chunk.as_slice() {
                writer.write(next, x)?;
                next = if next + 1 < partitions { next + 1 } else { 0 };
            }
        }
        Ok(TaskOutput::Map(writer.finish()?))
    }
}

/// Who gets the first element of a partition. Partitions that follow each other begin a golden section of the circle
/// apart, so that however few elements each has, no reducer gets clearly more than another.
fn first_reducer(partition: u32, reducers: u32) -> u32 {
    const GOLDEN: u32 = 0x9e37_79b9;
    ((u64::from(partition.wrapping_mul(GOLDEN)) * u64::from(reducers)) >> 32) as u32
}

impl<T: Data> Rdd<T> {
    /// Deals the elements out into `partitions` partitions (at least one) of nearly equal size, through a shuffle.
    ///
    /// Each partition's elements are dealt out in turn, by their position.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let uneven = sc.partitioned(2).range(0..1000u64).filter(|n| *n < 500);
    /// let sizes = uneven.repartition(4).map_partitions(|numbers| [numbers.count()]);
    /// assert_eq!(sizes.collect()?, [125; 4]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn repartition(&self, partitions: u32) -> Rdd<T> {
        let partitions = partitions.max(1);
        let dep = ShuffleDep::new(self, partitions, |id| (id, partitions), WriteDealt(PhantomData));
        let body = ReadRecords { shuffle: ShuffleRead::of(dep), records: PhantomData };
        Rdd::from_body(self.scope(), partitions, "repartition", None, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_equal_size_are_dealt_out_evenly() {
        for (from, each, to) in [
            (200u32, 500u32, 64u32),
            (64, 1562, 128),
            (7, 14_285, 4),
            (1000, 1, 1000),
            (10, 1, 8),
            (256, 3, 256),
            (1, 9, 4),
        ] {
            let mut sizes = vec![0u32; to as usize];
            for p in 0..from {
                let first = first_reducer(p, to);
                (0..each).for_each(|i| sizes[((first + i) % to) as usize] += 1);
            }
            let (least, most) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
            assert!(most - least <= 2 + from * each / to / 50, "{from} of {each} into {to}: {least} to {most}");
        }
    }
}
