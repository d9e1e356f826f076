//! How far RDDs come out the same when they are computed again: from what each does, and from what it is computed from.
//!
//! Here map outputs are read in map order and tables hand their entries out in the order in which the keys came, so what is
//! read from a shuffle is as determinate as what was written, where Spark's would be unordered. A join's order depends on
//! whether its table fits into memory. User code counts as determinate unless [`Rdd::indeterminate`] says otherwise; what
//! it really gives is compared when it runs again (see the schedulers' map outputs).

use std::{collections::BTreeMap, sync::Arc};

use firesteel_common::{Data, DeterministicLevel, RddId};

use crate::{
    Rdd,
    lineage::{Step, topological},
    node::{AnyRdd, Dep},
};

/// The level of a step, when those of its parents are known.
pub fn level_of(step: &Step, known: &BTreeMap<RddId, DeterministicLevel>) -> DeterministicLevel {
    let Step { node, body, deps } = step;
    if body.is_written_down() {
        return DeterministicLevel::Determinate;
    }
    if node.meta().indeterminate() {
        return DeterministicLevel::Indeterminate;
    }
    let of = |parent: &Arc<dyn AnyRdd>| known.get(&parent.meta().id).copied().unwrap_or_default();
    let through = |dep: &Dep| match dep {
        Dep::Narrow { parent, .. } if body.by_position() => of(parent).by_position(),
        Dep::Narrow { parent, .. } => of(parent),
        Dep::Shuffle(shuffle) if shuffle.by_position() => of(&shuffle.parent()).by_position(),
        Dep::Shuffle(shuffle) => of(&shuffle.parent()),
    };
    let own = if body.order_varies() { DeterministicLevel::Unordered } else { DeterministicLevel::Determinate };
    deps.iter().map(through).fold(own, DeterministicLevel::max)
}

impl<T: Data> Rdd<T> {
    /// How far a partition comes out the same when it is computed again, as far as the operators and
    /// [`Rdd::indeterminate`] tell. Spark: `getOutputDeterministicLevel`.
    ///
    /// ```
    /// # use firesteel_common::DeterministicLevel;
    /// # fn levels(pairs: &firesteel_rdd::Rdd<(u64, String)>) {
    /// assert_eq!(pairs.repartition(8).deterministic_level(), DeterministicLevel::Determinate);
    /// let joined = pairs.join(pairs);
    /// assert_eq!(joined.deterministic_level(), DeterministicLevel::Unordered);
    /// assert_eq!(joined.repartition(8).deterministic_level(), DeterministicLevel::Indeterminate);
    /// # }
    /// ```
    #[doc(alias = "getOutputDeterministicLevel")]
    pub fn deterministic_level(&self) -> DeterministicLevel {
        let root = (**self.node()).clone() as Arc<dyn AnyRdd>;
        let mut known = BTreeMap::new();
        for step in topological(&root, true) {
            let level = level_of(&step, &known);
            known.insert(step.node.meta().id, level);
        }
        known.get(&root.meta().id).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Weak, atomic::AtomicU32};

    use firesteel_common::DeterministicLevel::{Determinate, Indeterminate, Unordered};
    use firesteel_shuffle::HashPartitioner;

    use super::*;
    use crate::{
        Error, Result,
        runner::{Job, JobHandle, JobRunner, Scope},
        sources::range,
    };

    struct Nobody;

    impl JobRunner for Nobody {
        fn submit(&self, _: Job) -> Result<JobHandle> {
            Err(Error::Stopped)
        }

        fn unpersist(&self, _: RddId) {}

        fn is_kept(&self, _: RddId, _: u32) -> Result<bool> {
            Err(Error::Stopped)
        }
    }

    #[test]
    fn what_depends_on_positions_in_an_order_that_varies_is_indeterminate_and_so_is_all_behind_it() {
        let nobody: Weak<dyn JobRunner> = Weak::<Nobody>::new();
        let numbers = range(&Scope::new(nobody, None, Arc::new(AtomicU32::new(2))), 0..100u64, 4);
        let pairs = numbers.map(|i| (i % 10, i));
        let levels = [
            (numbers.deterministic_level(), Determinate),
            (numbers.repartition(3).deterministic_level(), Determinate),
            (pairs.reduce_by_key(|a, b| a + b).repartition(3).deterministic_level(), Determinate),
            (pairs.partition_by(HashPartitioner::new(3)).coalesce(2).deterministic_level(), Determinate),
            (pairs.cogroup(&pairs).deterministic_level(), Determinate),
            (pairs.join(&pairs).deterministic_level(), Unordered),
            (pairs.join(&pairs).group_by_key().deterministic_level(), Unordered),
            (pairs.join(&pairs).repartition(2).deterministic_level(), Indeterminate),
            (numbers.sample(false, 0.5, 1).unwrap().deterministic_level(), Determinate),
            (pairs.join(&pairs).sample(false, 0.5, 1).unwrap().deterministic_level(), Indeterminate),
            (pairs.join(&pairs).zip_with_unique_id().deterministic_level(), Indeterminate),
            (pairs.join(&pairs).glom().deterministic_level(), Indeterminate),
            (pairs.zip(&numbers).unwrap().deterministic_level(), Determinate),
            (pairs.join(&pairs).zip(&numbers).unwrap().deterministic_level(), Indeterminate),
            (numbers.zip(&pairs.join(&pairs)).unwrap().deterministic_level(), Indeterminate),
            (numbers.cartesian(&pairs.join(&pairs)).unwrap().deterministic_level(), Unordered),
            (
                numbers.union(&pairs.join(&pairs).keys().repartition(2)).repartition(9).deterministic_level(),
                Indeterminate,
            ),
            (
                numbers.map(|i| i + 1).indeterminate().map(|i| (i, i)).group_by_key().deterministic_level(),
                Indeterminate,
            ),
        ];
        for (i, (is, should)) in levels.into_iter().enumerate() {
            assert_eq!(is, should, "{i}");
        }
    }
}
