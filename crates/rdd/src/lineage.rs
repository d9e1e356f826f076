//! A lineage as a flat table: one stage is encoded in topological order, by loops, so that a lineage of any depth
//! overflows no stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_closure::{
    CodeRef, DecodeError,
    table::{Table, TableNode},
};
use firesteel_common::{NarrowMap, RddId};
use firesteel_task::{StageTask, StageTaskNode};

use crate::{
    error::Error,
    node::{AnyBody, AnyRdd, Dep, EncodedOp, Meta, encode_node},
};

/// One RDD of a lineage as it was when somebody looked.
pub struct Step {
    /// The RDD.
    pub node: Arc<dyn AnyRdd>,
    /// What it was computed from and how.
    pub body: Arc<dyn AnyBody>,
    /// The body's dependencies.
    pub deps: Vec<Dep>,
}

impl Step {
    fn of(node: Arc<dyn AnyRdd>) -> Step {
        let body = node.body();
        let deps = body.deps();
        Step { node, body, deps }
    }

    fn parents(&self, across_shuffles: bool) -> Vec<Arc<dyn AnyRdd>> {
        let parent = |dep: &Dep| match dep {
            Dep::Narrow { parent, .. } => Some(parent.clone()),
            Dep::Shuffle(shuffle) => across_shuffles.then(|| shuffle.parent()),
        };
        self.deps.iter().filter_map(parent).collect()
    }
}

/// All RDDs that `root` is computed from and `root` itself, parents before children, each once, and looked at once.
///
/// With `across_shuffles` false, those of `root`'s stage only.
pub fn topological(root: &Arc<dyn AnyRdd>, across_shuffles: bool) -> Vec<Step> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::from([root.meta().id]);
    let enter = |node: Arc<dyn AnyRdd>| {
        let step = Step::of(node);
        let parents = step.parents(across_shuffles);
        (step, parents)
    };
    let mut path = vec![enter(root.clone())];
    while let Some((step, mut waiting)) = path.pop() {
        match waiting.pop() {
            Some(parent) => {
                path.push((step, waiting));
                if seen.insert(parent.meta().id) {
                    path.push(enter(parent));
                }
            }
            None => order.push(step),
        }
    }
    order
}

/// The lineage of a stage as it was when an attempt of it began: what that sends and what its tasks get fits together,
/// whatever is checkpointed meanwhile.
pub struct StageLineage {
    /// Parents before children.
    steps: Vec<StageStep>,
}

struct StageStep {
    node: Arc<dyn AnyRdd>,
    body: Arc<dyn AnyBody>,
    /// Index of each narrow parent.
    parents: Vec<(usize, NarrowMap)>,
}

impl StageLineage {
    /// Of the stage that ends in `root`.
    pub fn of(root: &Arc<dyn AnyRdd>) -> Self {
        let mut index: BTreeMap<RddId, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        for Step { node, body, deps } in topological(root, false) {
            let parent = |dep| match dep {
                Dep::Narrow { parent, map } => index.get(&parent.meta().id).map(|i| (*i, map)),
                Dep::Shuffle(_) => None,
            };
            let parents = deps.into_iter().filter_map(parent).collect();
            index.insert(node.meta().id, steps.len());
            steps.push(StageStep { node, body, parents });
        }
        StageLineage { steps }
    }

    /// Encodes the stage, which hands its partitions to `output`.
    pub fn encode(&self, output: EncodedOp) -> Result<Vec<u8>, Error> {
        let mut table = Table::default();
        for StageStep { node, body, parents } in &self.steps {
            let EncodedOp { desc, env } = encode_node(node.meta(), &**body)?;
            let parents = parents.iter().map(|(i, _)| *i as u32).collect();
            table.push(TableNode { code: CodeRef::of(desc)?, parents, env });
        }
        let parents = self.steps.len().checked_sub(1).map(|root| root as u32).into_iter().collect();
        table.push(TableNode { code: CodeRef::of(output.desc)?, parents, env: output.env });
        Ok(table.encode()?)
    }

    /// The source partitions that partition `p` is computed from, within the stage.
    pub fn inputs_of(&self, p: u32) -> Result<Vec<Input>, Error> {
        let (mut inputs, mut failed) = (Vec::new(), None);
        self.walk(p, |step, partition| {
            match step.body.input(partition) {
                Ok(data) => {
                    let rdd = step.node.meta().id;
                    inputs.extend(data.map(|data| Input { rdd, partition, data }));
                }
                Err(e) => failed = Some(e),
            }
            failed.is_none()
        });
        failed.map_or(Ok(inputs), Err)
    }

    /// The RDDs.
    pub fn metas(&self) -> impl Iterator<Item = &Meta> {
        self.steps.iter().map(|step| step.node.meta())
    }

    /// Shows `look` the partitions that partition `p` is computed from, itself first, each once; goes on to those that one
    /// is computed from where it says true.
    pub fn partitions_of(&self, p: u32, mut look: impl FnMut(&Meta, u32) -> bool) {
        self.walk(p, |step, partition| look(step.node.meta(), partition));
    }

    fn walk(&self, p: u32, mut look: impl FnMut(&StageStep, u32) -> bool) {
        let Some(root) = self.steps.len().checked_sub(1) else { return };
        let mut seen = BTreeSet::from([(root, p)]);
        let mut waiting = vec![(root, p)];
        while let Some((i, p)) = waiting.pop() {
            let step = &self.steps[i];
            if !look(step, p) {
                continue;
            }
            for (parent, map) in &step.parents {
                waiting.extend(map.parents_of(p).map(|q| (*parent, q)).filter(|of| seen.insert(*of)));
            }
        }
    }
}

/// Decodes a stage; the reverse of [`StageLineage::encode`].
pub fn decode_stage(bytes: &[u8]) -> Result<Arc<dyn StageTask>, DecodeError> {
    let last = Table::decode(bytes)?.instantiate()?;
    match last.downcast::<StageTaskNode>() {
        Ok(node) => Ok(node.0.clone()),
        Err(_) => Err(DecodeError::Custom("the lineage table does not end in an output operator".into())),
    }
}

/// Data of one source partition, which travels with the task that computes from it.
pub struct Input {
    /// The source RDD.
    pub rdd: RddId,
    /// Its partition.
    pub partition: u32,
    /// What its body decodes.
    pub data: Bytes,
}
