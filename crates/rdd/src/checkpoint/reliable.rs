//! Checkpoints in files, which outlive executors: how they are written, and the body that reads them back.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    CallSite, Data, RddId,
    codec::{self, CodecError},
};
use firesteel_files::{FilePath, FileSystems};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use super::{
    format::{self, Frames},
    remover::CheckpointFiles,
};
use crate::{
    Error, Rdd, Result,
    node::{AnyRdd, Body, Dep},
};

/// Writes all partitions into `dir` and has them be read from there. The result is `dir`.
pub(super) fn write<T: Data>(rdd: &Rdd<T>, dir: &FilePath) -> Result<FilePath> {
    let site = CallSite { operator: "checkpoint", location: rdd.node().meta().location };
    rdd.save_at(site, dir.clone(), Frames)?;
    let systems = rdd.scope().file_systems();
    let files = rdd.scope().remover().map(|remover| CheckpointFiles::new(remover, &systems, dir));
    let hosts = hosts_of(&systems, dir, rdd.num_partitions())?;
    rdd.node().replace_body(ReadBack { dir: dir.clone(), systems, hosts, _files: files, elements: PhantomData });
    Ok(dir.clone())
}

/// Hosts that have a partition's file, for each partition; empty when the file system does not tell.
fn hosts_of(systems: &FileSystems, dir: &FilePath, partitions: u32) -> Result<Vec<Vec<String>>> {
    let system = systems.of(dir)?;
    let failed = |e| Error::from(firesteel_files::Error::io(dir, e));
    let mut hosts = Vec::new();
    for partition in 0..partitions {
        let file = system.status(&dir.join(format::file_name(partition))).map_err(failed)?;
        let blocks = system.block_hosts(&file).map_err(failed)?;
        hosts.push(blocks.into_iter().next().map(|block| block.hosts).unwrap_or_default());
    }
    Ok(if hosts.iter().all(Vec::is_empty) { Vec::new() } else { hosts })
}

/// The body of an RDD whose partitions are in files. Spark: `ReliableCheckpointRDD`.
struct ReadBack<T> {
    dir: FilePath,
    systems: FileSystems,
    /// On the driver.
    hosts: Vec<Vec<String>>,
    /// On the driver, where the files go with the RDD.
    _files: Option<CheckpointFiles>,
    elements: PhantomData<fn() -> T>,
}

impl<T: Data> Body for ReadBack<T> {
    type Item = T;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        format::read(id, p, (&self.systems, &self.dir), ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        Vec::new()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_as::<(FilePath, FileSystems), _>(&(&self.dir, &self.systems), out)
    }

    fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (dir, systems) = codec::decode(env)?;
        Ok(ReadBack { dir, systems, hosts: Vec::new(), _files: None, elements: PhantomData })
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        self.hosts.clone()
    }

    fn is_written_down(&self) -> bool {
        true
    }
}
