//! `repartition`: the same elements, dealt out evenly.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{Data, ShuffleId, codec, hash::fixed_hash};
use firesteel_shuffle::Dealer;

use super::{ShuffleDep, ShuffleRead, partition_by::ReadRecords};
use crate::{
    Rdd,
    chunk::Stream,
    output::OutputOp,
    task::{TaskContext, TaskError, TaskOutput},
};

/// Map side: deals the elements out.
///
/// When a map task runs again, perhaps on input in another order, each element must go where it went before, or some
/// would be read twice and others never. So where one goes depends on its bytes and on how many equal ones came before
/// it, not on its place.
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

    fn run(self, env: &Arc<Self::Env>, mut input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError> {
        let (shuffle, partitions) = **env;
        let mut writer = ctx.map_writer(shuffle, partitions);
        let mut dealer = Dealer::new(&ctx.spills());
        let partitions = u64::from(partitions);
        let mut deal = |hash: u64, before: u64, x: &T| {
            let first = hash.rotate_left(32) % partitions;
            writer.write(((first + before) % partitions) as u32, x)
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = input.next_chunk()? {
            for x in chunk.as_slice() {
                bytes.clear();
                codec::encode_into(x, &mut bytes)?;
                let hash = fixed_hash(bytes.as_slice());
                if let Some(before) = dealer.count(hash, x)? {
                    deal(hash, before, x)?;
                }
            }
        }
        dealer.finish(|hash, before, x| deal(hash, before, &x))?;
        Ok(TaskOutput::Map(writer.finish()?))
    }
}

impl<T: Data> Rdd<T> {
    /// Deals the elements out into `partitions` partitions (at least one) of nearly equal size, through a shuffle.
    pub fn repartition(&self, partitions: u32) -> Rdd<T> {
        let partitions = partitions.max(1);
        let dep = ShuffleDep::new(self, partitions, |id| (id, partitions), WriteDealt(PhantomData));
        let body = ReadRecords { shuffle: ShuffleRead::of(dep), records: PhantomData };
        Rdd::from_body(self.scope(), partitions, "repartition", None, body)
    }
}
