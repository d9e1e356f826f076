//! Where data comes from. A source's partitions travel with the tasks that compute from them, not with the stage.

use std::sync::Arc;

use bytes::Bytes;
use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    Data, Env, RddId,
    codec::{self, CodecError},
};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{
    Rdd,
    error::{Error, Result},
    node::{Body, Dep},
    runner::Scope,
};

mod format;
mod parallelize;
mod range;
mod text_file;

pub use format::{Reading, read_with_format};
pub use parallelize::{parallelize, parallelize_at};
pub use range::{RangeItem, range};
pub use text_file::{text_file, text_lines};

/// A kind of source.
trait Source: Send + Sync + 'static {
    /// Type of the elements.
    type Item: Data;
    /// What executors need of it, whichever partition they compute; travels with the stage.
    type Env: Env;

    /// On the driver: what a task needs to produce partition `p`.
    fn input(&self, p: u32) -> Result<Bytes>;

    /// On the driver: hosts where the partitions are best computed, for each of them; empty when it does not matter.
    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// On an executor: the elements, from what [`Source::input`] gave.
    fn open(env: &Self::Env, input: &[u8], ctx: &Arc<TaskContext>) -> Result<Stream<Self::Item>, TaskError>;
}

/// The node of a [`Source`].
struct SourceBody<S: Source> {
    /// On executors there is none: they have the inputs of their tasks.
    source: Option<S>,
    env: S::Env,
}

impl<S: Source> Body for SourceBody<S> {
    type Item = S::Item;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<S::Item>, TaskError> {
        S::open(&self.env, ctx.input(id, p)?, ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        Vec::new()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&self.env, out)
    }

    fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        Ok(SourceBody { source: None, env: codec::decode(env)? })
    }

    fn input(&self, p: u32) -> Result<Option<Bytes>, Error> {
        self.source.as_ref().map(|s| s.input(p)).transpose()
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        self.source.as_ref().map(S::preferred_hosts).unwrap_or_default()
    }
}

#[track_caller]
fn rdd_of<S: Source>(scope: &Arc<Scope>, partitions: u32, name: &'static str, source: S, env: S::Env) -> Rdd<S::Item> {
    Rdd::from_body(scope, partitions, name, None, SourceBody { source: Some(source), env })
}

/// The `p`-th of `parts` runs of nearly equal length of `0..len`.
fn run_of(len: u128, p: u32, parts: u32) -> (u128, u128) {
    let at = |i: u32| len * u128::from(i) / u128::from(parts.max(1));
    (at(p), at(p + 1))
}
