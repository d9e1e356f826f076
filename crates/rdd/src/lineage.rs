//! A lineage as a flat table: one stage is encoded in topological order, by loops, so that a lineage of any depth
//! overflows no stack.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use firesteel_closure::{
    CodeRef, DecodeError,
    table::{Table, TableNode},
};
use firesteel_common::RddId;
use firesteel_task::{StageTask, StageTaskNode};

use crate::{
    error::Error,
    node::{AnyRdd, Dep, EncodedOp},
};

/// All RDDs that `root` is computed from and `root` itself, parents before children, each once.
///
/// With `across_shuffles` false, those of `root`'s stage only.
pub fn topological(root: &Arc<dyn AnyRdd>, across_shuffles: bool) -> Vec<Arc<dyn AnyRdd>> {
    let parents = |node: &Arc<dyn AnyRdd>| -> Vec<Arc<dyn AnyRdd>> {
        let parent = |dep| match dep {
            Dep::Narrow { parent, .. } => Some(parent),
            Dep::Shuffle(shuffle) => across_shuffles.then(|| shuffle.parent()),
        };
        node.deps().into_iter().filter_map(parent).collect()
    };
    let mut order = Vec::new();
    let mut seen = std::collections::BTreeSet::from([root.meta().id]);
    let mut path = vec![(root.clone(), parents(root))];
    while let Some((node, waiting)) = path.last_mut() {
        match waiting.pop() {
            Some(parent) if seen.insert(parent.meta().id) => {
                let above = parents(&parent);
                path.push((parent, above));
            }
            Some(_) => {}
            None => {
                order.push(node.clone());
                path.pop();
            }
        }
    }
    order
}

/// Encodes the stage that ends in `root` and hands its partitions to `output`.
pub fn encode_stage(root: &Arc<dyn AnyRdd>, output: EncodedOp) -> Result<Vec<u8>, Error> {
    let order = topological(root, false);
    let mut index: BTreeMap<RddId, u32> = BTreeMap::new();
    let mut table = Table::default();
    for node in &order {
        let parents = node
            .deps()
            .iter()
            .filter_map(|dep| match dep {
                Dep::Narrow { parent, .. } => index.get(&parent.meta().id).copied(),
                Dep::Shuffle(_) => None,
            })
            .collect();
        let EncodedOp { desc, env } = node.encode()?;
        index.insert(node.meta().id, table.push(TableNode { code: CodeRef::of(desc)?, parents, env }));
    }
    let parents = index.get(&root.meta().id).copied().into_iter().collect();
    table.push(TableNode { code: CodeRef::of(output.desc)?, parents, env: output.env });
    Ok(table.encode()?)
}

/// Decodes a stage; the reverse of [`encode_stage`].
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

/// The source partitions that partition `p` of `root` is computed from, within its stage.
pub fn inputs_of(root: &Arc<dyn AnyRdd>, p: u32) -> Result<Vec<Input>, Error> {
    let mut inputs = Vec::new();
    let mut seen = std::collections::BTreeSet::from([(root.meta().id, p)]);
    let mut waiting = vec![(root.clone(), p)];
    while let Some((node, p)) = waiting.pop() {
        if let Some(data) = node.input(p)? {
            inputs.push(Input { rdd: node.meta().id, partition: p, data });
        }
        for dep in node.deps() {
            if let Dep::Narrow { parent, map } = dep {
                for q in map.parents_of(p) {
                    if seen.insert((parent.meta().id, q)) {
                        waiting.push((parent.clone(), q));
                    }
                }
            }
        }
    }
    Ok(inputs)
}
