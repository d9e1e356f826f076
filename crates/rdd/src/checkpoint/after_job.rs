//! What the end of a job means for the RDDs that it was computed from. Called by the actions.

use std::sync::Arc;

use crate::{
    error::Result,
    node::{AnyRdd, Dep},
};

/// Writes the checkpoints of the RDDs that are marked, of all that `root` is computed from, nearest first: what a marked
/// RDD is computed from is not looked at, as it is let go. Spark: `RDD.doCheckpoint`.
///
/// Each RDD is looked at once in its life, so that jobs on a lineage that was looked at pay nothing.
pub(crate) fn after_job(root: &Arc<dyn AnyRdd>) -> Result<()> {
    let (mut waiting, mut seen, mut marked) = (vec![root.clone()], Vec::new(), Vec::new());
    while let Some(node) = waiting.pop() {
        if !node.meta().checkpoint.first_job() {
            continue;
        }
        if node.meta().checkpoint.is_marked() {
            marked.push(node.clone());
        } else {
            waiting.extend(node.body().deps().into_iter().map(|dep| match dep {
                Dep::Narrow { parent, .. } => parent,
                Dep::Shuffle(shuffle) => shuffle.parent(),
            }));
        }
        seen.push(node);
    }
    let written = marked.iter().try_for_each(|node| node.meta().checkpoint.write());
    if written.is_err() {
        seen.iter().for_each(|node| node.meta().checkpoint.had_none());
    }
    written
}
