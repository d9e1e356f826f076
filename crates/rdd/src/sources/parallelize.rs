//! A Vec of the driver's as an RDD.

use std::sync::Arc;

use bytes::Bytes;
use firesteel_common::{Data, codec};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use super::{Source, rdd_of, run_of};
use crate::{
    Rdd,
    elements::FromIter,
    error::{Error, Result},
    runner::Scope,
};

struct Parallelize<T> {
    data: Vec<T>,
    partitions: u32,
    /// Of each partition, or none at all.
    hosts: Vec<Vec<String>>,
}

impl<T: Data> Source for Parallelize<T> {
    type Item = T;
    type Env = ();

    fn input(&self, p: u32) -> Result<Bytes> {
        let (from, to) = run_of(self.data.len() as u128, p, self.partitions);
        let mut bytes = Vec::new();
        codec::encode_as::<Vec<T>, _>(self.data.get(from as usize..to as usize).unwrap_or_default(), &mut bytes)?;
        Ok(bytes.into())
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        self.hosts.clone()
    }

    fn open(_: &(), input: &[u8], ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        Ok(FromIter::stream(codec::decode::<Vec<T>>(input)?.into_iter(), ctx))
    }
}

/// An RDD of `data`, in `partitions` runs of nearly equal length (at least one).
#[track_caller]
pub fn parallelize<T: Data>(scope: &Arc<Scope>, data: Vec<T>, partitions: u32) -> Rdd<T> {
    let partitions = partitions.max(1);
    rdd_of(scope, partitions, "parallelize", Parallelize { data, partitions, hosts: Vec::new() }, ())
}

/// An RDD of `data`, a partition for each element, which is best computed on one of the hosts beside it.
///
/// # Errors
/// When there are more elements than an RDD has partitions.
#[track_caller]
pub fn parallelize_at<T: Data>(scope: &Arc<Scope>, data: Vec<(T, Vec<String>)>) -> Result<Rdd<T>> {
    let (data, hosts): (Vec<T>, Vec<Vec<String>>) = data.into_iter().unzip();
    let partitions = u32::try_from(data.len())
        .map_err(|_| Error::InvalidArgument(format!("{} elements are too many to be partitions", data.len())))?;
    let partitions = partitions.max(1);
    Ok(rdd_of(scope, partitions, "make_rdd", Parallelize { data, partitions, hosts }, ()))
}
