//! `to_debug_string`: a lineage as text.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use firesteel_common::{Data, RddId};

use crate::{
    Rdd,
    node::{AnyRdd, Dep},
};

/// A node that is still to be written.
struct Waiting {
    node: Arc<dyn AnyRdd>,
    /// What stands before the lines of its stage.
    prefix: String,
    /// It ends a stage of its own, and whether something of the same child comes behind it.
    shuffled: Option<Last>,
}

/// Whether it is the last that its child depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

impl<T: Data> Rdd<T> {
    /// This RDD and all that it is computed from, a line each, indented where a shuffle lies between; the number of
    /// partitions stands where a stage begins, and in brackets how an RDD is kept. What has been written before is not
    /// unfolded again. Spark: `toDebugString`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.partitioned(3).parallelize(["to", "be", "to"].map(String::from));
    /// let counts = words.map(|word| (word, 1u64)).partitioned(2).reduce_by_key(|a, b| a + b).cache();
    /// let text = counts.to_debug_string();
    /// let mut lines = text.lines();
    /// assert!(lines.next().unwrap().starts_with("(2) reduce_by_key["));
    /// assert!(lines.next().unwrap().starts_with(" +-(3) map["));
    /// assert!(lines.next().unwrap().starts_with("    |  parallelize["));
    /// assert!(text.lines().next().unwrap().ends_with("[MEMORY_ONLY]"));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "toDebugString")]
    pub fn to_debug_string(&self) -> String {
        let root = (**self.node()).clone() as Arc<dyn AnyRdd>;
        let (mut text, mut seen) = (String::new(), BTreeSet::new());
        let (count, inner) = beginning("", &*root, Last::Yes);
        text.push_str(&count);
        text.push(' ');
        write_node(&mut text, &*root, true);
        seen.insert(root.meta().id);
        // `inner` of the root begins where its line does.
        let mut waiting = children(&root, &inner[2..]);
        while let Some(Waiting { node, prefix, shuffled }) = waiting.pop() {
            let inner = match shuffled {
                None => {
                    text.push_str(&prefix);
                    prefix
                }
                Some(last) => {
                    let before = before_branch(&prefix);
                    let (count, inner) = beginning(before, &*node, last);
                    text.push_str(before);
                    text.push_str("+-");
                    text.push_str(&count);
                    text.push(' ');
                    inner
                }
            };
            let fresh = seen.insert(node.meta().id);
            write_node(&mut text, &*node, fresh);
            if fresh {
                waiting.append(&mut children(&node, &inner));
            }
        }
        text
    }
}

/// The prefix of a stage's lines without the line that goes down from its child.
fn before_branch(prefix: &str) -> &str {
    let trimmed = prefix.trim_end();
    trimmed.strip_suffix('|').unwrap_or(prefix)
}

/// A stage's number of partitions, and what stands before its further lines.
fn beginning(before: &str, node: &dyn AnyRdd, last: Last) -> (String, String) {
    let count = format!("({})", node.meta().partitions);
    let left = (count.len() - 1) / 2;
    let down = if last == Last::Yes { "  " } else { "| " };
    let inner = format!("{before}{down}{}|{}", " ".repeat(left), " ".repeat(count.len() - left));
    (count, inner)
}

/// What a node depends on, the first one last, as it is written first.
fn children(node: &Arc<dyn AnyRdd>, prefix: &str) -> Vec<Waiting> {
    let deps = node.body().deps();
    let n = deps.len();
    let child = |(i, dep)| {
        let last = if i + 1 == n { Last::Yes } else { Last::No };
        let (node, shuffled) = match dep {
            Dep::Narrow { parent, .. } => (parent, None),
            Dep::Shuffle(shuffle) => (shuffle.parent(), Some(last)),
        };
        Waiting { node, prefix: prefix.to_owned(), shuffled }
    };
    let mut children: Vec<Waiting> = deps.into_iter().enumerate().map(child).collect();
    children.reverse();
    children
}

/// The rest of a line: name, operator, number, place, and how it is kept.
fn write_node(text: &mut String, node: &dyn AnyRdd, fresh: bool) {
    let meta = node.meta();
    if let Some(name) = meta.given_name() {
        text.push_str(&name);
        text.push(' ');
    }
    let RddId(id) = meta.id;
    // Writing to a string does not fail.
    let _ = write!(text, "{}[{id}]", meta.name);
    if let Some(place) = meta.location {
        let _ = write!(text, " at {place}");
    }
    let level = meta.level();
    let _ = if level.is_kept() { write!(text, " [{level}]") } else { write!(text, " []") };
    text.push_str(if fresh { "\n" } else { " (as above)\n" });
}
