//! RDDs of a program's own: [`CustomRdd`] is what a user writes, `parents` what it reads, [`from_custom`] makes the node.

mod parents;

use std::{any::type_name, error::Error as StdError, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    Data, Env, NarrowMap, RddId,
    codec::{self, CodecError},
};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use self::parents::Held;
pub use self::parents::{ParentInput, ParentRdds};
use crate::{
    Error, Rdd, Result,
    elements::FromIter,
    node::{Body, Dep},
    runner::Scope,
};

/// An RDD as a program writes it, for what the operators and formats do not offer: a source with partitions and places of its
/// own, or another way to put partitions of parents together. Spark: a class that extends `RDD`.
///
/// A value travels to the executors as its encoding, and is shared there by the tasks of a stage. `Context::rdd` makes
/// an RDD of one without parents, `Context::rdd_from` of one with parents. What needs a shuffle is a parent that was shuffled:
/// partitioned pairs, or what `repartition` gives.
///
/// A source with places:
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::{error::Error, sync::Arc};
/// use firesteel::{CustomRdd, TaskContext};
/// use serde::{Deserialize, Serialize};
///
/// /// The readings of some sensors, a partition each.
/// #[derive(Serialize, Deserialize)]
/// struct Sensors(Vec<String>);
///
/// impl CustomRdd for Sensors {
///     type Item = (String, u32);
///     type Parents = ();
///
///     fn partitions(&self) -> u32 {
///         self.0.len() as u32
///     }
///
///     fn preferred_locations(&self, partition: u32) -> Vec<String> {
///         vec![format!("gateway-{}", partition % 2)]
///     }
///
///     fn compute(
///         &self,
///         partition: u32,
///         (): (),
///         _: &Arc<TaskContext>,
///     ) -> Result<impl Iterator<Item = (String, u32)> + 'static, Box<dyn Error + Send + Sync>> {
///         let sensor = self.0[partition as usize].clone();
///         let first: u32 = sensor.trim_start_matches(char::is_alphabetic).parse()?;
///         Ok((first..first + 2).map(move |reading| (sensor.clone(), reading)))
///     }
/// }
///
/// let readings = sc.rdd(Sensors(vec!["t7".to_owned(), "p20".to_owned()]))?;
/// assert_eq!(readings.values().collect()?, [7, 8, 20, 21]);
/// let broken = sc.rdd(Sensors(vec!["t".to_owned()]))?;
/// assert!(broken.count().unwrap_err().to_string().contains("cannot parse integer from empty string"));
/// # Ok(()) }
/// ```
///
/// One over the partitions of two parents is an example of [`ParentInput`].
pub trait CustomRdd: Env {
    /// Type of the elements.
    type Item: Data;

    /// What it is computed from: `()`, an [`Rdd`], two or three in a tuple, or a Vec of some.
    type Parents: ParentRdds;

    /// Number of partitions. Asked for once, on the driver.
    fn partitions(&self) -> u32;

    /// For each parent, in their order, which of its partitions a partition needs; [`NarrowMap::OneToOne`] is that of the
    /// same number. Asked for once, on the driver.
    fn dependencies(&self) -> Vec<NarrowMap> {
        Vec::new()
    }

    /// Hosts on which a partition is best computed; empty where it does not matter, or where the parents' places do. Asked
    /// for once for each partition, on the driver.
    #[doc(alias = "getPreferredLocations")]
    fn preferred_locations(&self, partition: u32) -> Vec<String> {
        let _ = partition;
        Vec::new()
    }

    /// Whether it puts elements together for their positions in the parents' partitions, or chooses by them: then it is
    /// indeterminate where their order is not certain. Spark: `getOutputDeterministicLevel`.
    fn by_position(&self) -> bool {
        true
    }

    /// The elements of a partition, in a task on an executor; `parents` has the partitions that
    /// [`CustomRdd::dependencies`] named. Must come out the same each time, or the RDD be declared
    /// ([`Rdd::indeterminate`]).
    ///
    /// # Errors
    /// Fail the task, with their text.
    fn compute(
        &self,
        partition: u32,
        parents: <Self::Parents as ParentRdds>::Inputs,
        ctx: &Arc<TaskContext>,
    ) -> Result<impl Iterator<Item = Self::Item> + 'static, Box<dyn StdError + Send + Sync>>;
}

/// The RDD of `custom` over `parents`.
///
/// # Errors
/// [`Error::InvalidArgument`] when it does not name the partitions that it needs of each parent, or names some that a parent
/// does not have.
#[track_caller]
pub fn from_custom<C: CustomRdd>(scope: &Arc<Scope>, custom: C, parents: &C::Parents) -> Result<Rdd<C::Item>> {
    let name = short_name::<C>();
    let (partitions, maps, nodes) = (custom.partitions(), custom.dependencies(), parents.hold());
    let of = C::Parents::nodes(&nodes);
    if maps.len() != of.len() {
        let (named, are) = (maps.len(), of.len());
        let what = format!("{name} has dependencies on {named} parents where {are} are given");
        return Err(Error::InvalidArgument(what));
    }
    for (i, (map, parent)) in maps.iter().zip(&of).enumerate() {
        let has = parent.meta().partitions;
        if !map.fits(partitions, has) {
            let what = format!("{name} needs partitions of parent {i} that it does not have: its partitions are {has}");
            return Err(Error::InvalidArgument(what));
        }
    }
    let mut hosts: Vec<Vec<String>> = (0..partitions).map(|p| custom.preferred_locations(p)).collect();
    if hosts.iter().all(Vec::is_empty) {
        hosts.clear();
    }
    Ok(Rdd::from_body(scope, partitions, name, None, Custom { custom: Arc::new(custom), maps, nodes, hosts }))
}

/// The type's name without its modules and parameters.
fn short_name<C>() -> &'static str {
    let name = type_name::<C>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

/// The body of a [`CustomRdd`].
struct Custom<C: CustomRdd> {
    custom: Arc<C>,
    maps: Vec<NarrowMap>,
    nodes: <C::Parents as Held>::Nodes,
    /// On the driver: of each partition, or none at all.
    hosts: Vec<Vec<String>>,
}

impl<C: CustomRdd> Body for Custom<C> {
    type Item = C::Item;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<C::Item>, TaskError> {
        let inputs = C::Parents::inputs(&self.nodes, &self.maps, p, ctx);
        let elements = self.custom.compute(p, inputs, ctx).map_err(TaskError::failed)?;
        Ok(FromIter::stream(elements, ctx))
    }

    fn deps(&self) -> Vec<Dep> {
        let maps = self.maps.iter().cloned();
        C::Parents::nodes(&self.nodes).into_iter().zip(maps).map(|(parent, map)| Dep::Narrow { parent, map }).collect()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_as::<(C, Vec<NarrowMap>), _>(&(&*self.custom, &self.maps), out)
    }

    fn decode(_: Func<()>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (custom, maps): (C, Vec<NarrowMap>) = codec::decode(env)?;
        let nodes = C::Parents::decode(parents, maps.len())?;
        Ok(Custom { custom: Arc::new(custom), maps, nodes, hosts: Vec::new() })
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        self.hosts.clone()
    }

    fn by_position(&self) -> bool {
        self.custom.by_position()
    }
}
