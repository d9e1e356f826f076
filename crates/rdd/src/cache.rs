//! Partitions of persisted RDDs, kept in the executor's memory store.

use std::{any::Any, mem::needs_drop, sync::Arc};

use firesteel_common::{Data, RddId, codec};
use firesteel_storage::BlockId;

use crate::{
    chunk::{SharedChunks, Stream, drain},
    task::{CacheUpdate, TaskContext, TaskError},
};

/// The elements of a persisted partition: those in memory, or computed and, when they fit, kept.
pub fn get_or_compute<T: Data>(
    rdd: RddId,
    partition: u32,
    ctx: &Arc<TaskContext>,
    compute: impl FnOnce() -> Result<Stream<T>, TaskError>,
) -> Result<Stream<T>, TaskError> {
    let block = BlockId::Rdd { rdd, partition };
    let store = ctx.services.blocks.memory();
    if let Some(found) = store.get_values(&block) {
        let data = found
            .downcast::<Vec<T>>()
            .map_err(|_| TaskError::failed(format!("{block} holds elements of another type")))?;
        return Ok(SharedChunks::stream(data, ctx));
    }
    let data = Arc::new(drain(compute()?)?);
    let size = estimate(&data);
    let stored = store.put_values(block, data.clone() as Arc<dyn Any + Send + Sync>, size);
    if stored {
        ctx.cache_updated(CacheUpdate { rdd, partition, stored: true, memory_bytes: size });
    } else {
        tracing::warn!(%rdd, partition, bytes = size, "not enough memory to keep the partition");
    }
    Ok(SharedChunks::stream(data, ctx))
}

/// Bytes that `data` takes in memory: exact for plain elements; for others the heap part is taken to be as large as the
/// encoding, measured on a sample.
fn estimate<T: Data>(data: &[T]) -> u64 {
    const SAMPLES: usize = 64;
    let flat = size_of_val(data) as u64;
    if !needs_drop::<T>() || data.is_empty() {
        return flat;
    }
    let step = data.len().div_ceil(SAMPLES);
    let mut buffer = Vec::new();
    let mut sampled = 0u64;
    for x in data.iter().step_by(step) {
        // An element that cannot be encoded fails where it must travel; its size stays that of its flat part.
        if codec::encode_into(x, &mut buffer).is_ok() {
            sampled += 1;
        }
    }
    flat + buffer.len() as u64 * data.len() as u64 / sampled.max(1)
}
