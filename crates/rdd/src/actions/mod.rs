//! Actions: what starts a job and brings something back to the driver.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Env, codec};
use firesteel_task::{TaskContext, TaskError, TaskOutput, chunk::Stream};
use serde::{Serialize, de::DeserializeOwned};

use crate::output::OutputOp;

mod approximate;
mod asynchronous;
mod by_key;
mod collect;
mod elements;
mod fold;
mod foreach;
mod local_iterator;
mod numeric;
mod ordered;
mod save;
mod take_sample;
mod tree;

pub use approximate::{BoundedDouble, PartialResult};
pub use asynchronous::JobFuture;
pub use local_iterator::LocalIterator;
pub use numeric::Number;

/// An output operator whose tasks turn the stream of their partition into one value.
pub(crate) struct OverStream<T, U, E, F>(F, PhantomData<fn(T, E) -> U>);

copy_as_functions!(OverStream<T, U, E; F>);

impl<T: Data, U: Serialize + DeserializeOwned + 'static, E: Env, F> OutputOp for OverStream<T, U, E, F>
where
    F: Fn(&E, Stream<T>, &Arc<TaskContext>) -> Result<U, TaskError> + Copy + Send + Sync + 'static,
{
    type In = T;
    type Env = E;

    fn run(self, env: &Arc<E>, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError> {
        Ok(TaskOutput::Result(codec::encode(&(self.0)(env, input, ctx)?)?))
    }
}

/// An [`OverStream`], with its types inferred from the closure's signature.
pub(crate) fn over<T: Data, U: Serialize + DeserializeOwned + 'static, E: Env, F>(f: F) -> OverStream<T, U, E, F>
where
    F: Fn(&E, Stream<T>, &Arc<TaskContext>) -> Result<U, TaskError> + Copy + Send + Sync + 'static,
{
    OverStream(f, PhantomData)
}

/// An output operator whose tasks do something outside.
#[derive(Clone, Copy)]
pub(crate) struct WithEffects<O>(pub(crate) O);

impl<O: OutputOp> OutputOp for WithEffects<O> {
    type In = O::In;
    type Env = O::Env;

    const HAS_EFFECTS: bool = true;

    fn run(self, env: &Arc<O::Env>, input: Stream<O::In>, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError> {
        self.0.run(env, input, ctx)
    }
}
