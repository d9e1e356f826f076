//! Every public operator and action has an example that is run.
//!
//! ```text
//!  lib.rs: what `firesteel` re-exports ─▶ types ─▶ sources: their public methods, with docs ─▶ who has no example
//! ```
//!
//! `methods` reads the sources.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod methods;
mod page;

use std::collections::{BTreeMap, BTreeSet};

use methods::{Method, Sources};

/// Handles that offer what another one does, with an environment or a partitioning: their methods share the examples of
/// the methods of the same name there.
const VARIANTS: [(&str, &str); 6] = [
    ("With", "Rdd"),
    ("Partitioned", "Rdd"),
    ("PartitionedWith", "Rdd"),
    ("LinesWith", "Lines"),
    ("BarrierWith", "RddBarrier"),
    ("PartitionedContext", "Context"),
];

/// The text of each example that `cargo test` runs.
fn examples(docs: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in docs.lines().map(str::trim) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take().and_then(|(run, text)| run.then_some(text))),
            (Some(info), None) => {
                let run = info.split(',').all(|word| matches!(word.trim(), "" | "rust" | "should_panic"));
                open = Some((run, String::new()));
            }
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Whether one of the examples states what comes out.
fn asserts(docs: &str) -> bool {
    examples(docs).iter().any(|example| example.contains("assert"))
}

/// Whether an example of a type states what comes out and uses the method.
fn uses(docs: &str, method: &str) -> bool {
    let calls = [format!(".{method}("), format!("::{method}("), format!(".{method}::<")];
    examples(docs).iter().any(|text| text.contains("assert") && calls.iter().any(|call| text.contains(call)))
}

/// The public operators and actions that have no example of their own.
///
/// * They are the public methods of the types that `firesteel` re-exports from itself, `firesteel_rdd` and
///   `firesteel_task`, without those that are hidden from the documentation, those in `impl` blocks for the Context,
///   the executor or operators, and those that take a `Scope`, which no program has.
/// * A method has an example when its documentation has one that is run and asserts something.
/// * The methods of `VARIANTS` share those of their base. What the macros `operators!`, `shuffles!` and `shuffles_with!`
///   declare is one method, of the plain handle: the other forms name it in their documentation.
/// * The bases offer so much that each of their methods needs an example of its own. Elsewhere the one of the type does for
///   the methods that it calls.
fn lacking(sources: &Sources) -> Vec<String> {
    let base: BTreeMap<&str, &str> = VARIANTS.into_iter().collect();
    let bases: BTreeSet<&str> = VARIANTS.into_iter().map(|(_, base)| base).collect();
    let shown: BTreeSet<(&str, &str)> =
        sources.methods.iter().filter(|m| asserts(&m.docs)).map(|m| (m.of.as_str(), m.name.as_str())).collect();
    let has = |m: &Method| {
        let by_base = base.get(m.of.as_str()).is_some_and(|base| shown.contains(&(*base, m.name.as_str())));
        let by_type =
            || !bases.contains(m.of.as_str()) && sources.types.get(&m.of).is_some_and(|docs| uses(docs, &m.name));
        shown.contains(&(m.of.as_str(), m.name.as_str())) || by_base || by_type()
    };
    sources.methods.iter().filter(|m| !has(m)).map(|m| format!("{}::{} ({})", m.of, m.name, m.file)).collect()
}

#[test]
fn every_public_operator_and_action_has_an_example_that_is_run() {
    let sources = Sources::read();
    let names: BTreeSet<(&str, &str)> = sources.methods.iter().map(|m| (m.of.as_str(), m.name.as_str())).collect();
    // One of each way to declare a method: were it not found, what is declared so would be looked at no more.
    for known in [
        ("Rdd", "collect"),
        ("Rdd", "map"),
        ("Rdd", "join"),
        ("Rdd", "left_outer_join"),
        ("Rdd", "reduce_by_key"),
        ("Lines", "map_to"),
        ("RddBarrier", "map_partitions"),
        ("Accumulator", "avg"),
        ("Context", "range"),
        ("PartitionedContext", "range"),
    ] {
        assert!(names.contains(&known), "{known:?} is not found among {} methods", names.len());
    }
    let lacking = lacking(&sources);
    assert!(lacking.is_empty(), "{} of {} have no example:\n{}", lacking.len(), names.len(), lacking.join("\n"));
}

#[test]
fn an_example_counts_when_it_is_run_and_asserts() {
    assert!(asserts("Text.\n```\nassert_eq!(1, 1);\n```"));
    assert!(asserts("```text\nno code\n```\n```rust\nassert!(true);\n```"));
    for none in [
        "Text that says assert.",
        "```no_run\nassert!(true);\n```",
        "```ignore\nassert!(true);\n```",
        "```text\nassert!(true);\n```",
        "```compile_fail\nassert!(true);\n```",
        "```\nlet x = 1;\n```\nassert",
    ] {
        assert!(!asserts(none), "{none}");
    }
}

#[test]
fn a_method_without_an_example_is_named() {
    let source = |docs: &str| {
        let declared = format!(
            "operators! {{ impl[T: Data] T; /// Once.\n {docs} #[doc(alias = \"x\")] \
             fn twice[U: Data,]() {{ f: F(x: T) -> U }} -> Rdd<U> = |rdd, env| rdd.pipe(f); \
             /// ```\n/// assert!(true);\n/// ```\n fn thrice[]() -> () = |r, e| (); }}"
        );
        let written = "impl<T> With<T> { pub fn twice(&self) {} pub(crate) fn inner(&self) {} }
             impl<T> With<T> { #[doc(hidden)] pub fn old(&self) {} pub fn of(scope: &Arc<Scope>) -> Self {} }
             impl<T> Clone for Rdd<T> { fn clone(&self) {} }";
        declared + written
    };
    let read = |docs| {
        let mut sources = Sources::default();
        sources.types.extend(["Rdd", "With"].map(|name| (name.to_owned(), String::new())));
        sources.add("own.rs", &source(docs));
        lacking(&sources)
    };
    assert_eq!(read("/// ```no_run\n/// assert!(true);\n/// ```\n"), ["Rdd::twice (own.rs)", "With::twice (own.rs)"]);
    assert!(read("/// ```\n/// assert!(true);\n/// ```\n").is_empty());
}
