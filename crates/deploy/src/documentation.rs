//! `docs/configuration.md`, from the key table and the list of environment variables. A test keeps the file true; the
//! example `configuration` of this crate prints it.

use std::fmt::Write;

use firesteel_common::conf::{
    environment::VARIABLES,
    key::{AnyKey, Origin},
    keys,
};

const START: &str = "\
# Configuration

<!-- Made from crates/common/src/conf by: cargo run -p firesteel-deploy --example configuration > docs/configuration.md -->

A key is looked for in this order:

1. the application's code: `Context::builder().set(\"spark.executor.memory\", \"2g\")`;
2. the arguments of `firesteel-submit`: `--executor-memory 2g`, else `--conf spark.executor.memory=2g`;
3. the properties file: `--properties-file`, else `conf/spark-defaults.conf`.

Daemons read `-Dkey=value` from `SPARK_MASTER_OPTS` or `SPARK_WORKER_OPTS`, then from `SPARK_DAEMON_JAVA_OPTS`, then the
properties file. Properties files have the grammar of `java.util.Properties`: `key value`, `key=value` or `key: value`.

Sizes are whole numbers with `b`, `k`, `m`, `g`, `t` or `p` (powers of 1,024), durations with `us`, `ms`, `s`, `m`, `h` or `d`. A
number alone is in the unit that the table names.

A bad value of a key of these tables is an error. Spark's keys that have no meaning here are accepted, with one warning a
file. Any other key that starts with `spark.` is kept for the application, with a warning that names the nearest known
key; `spark.conf.strict=true` makes it an error.

`bin/firesteel-submit --verbose` prints the effective configuration and where each value comes from.
";

/// The whole text of the file.
pub fn configuration() -> String {
    let mut out = START.to_owned();
    for (title, keys) in keys::GROUPS {
        push(
            &mut out,
            format_args!("\n## {title}\n\n| key | default | value | meaning | since |\n|---|---|---|---|---|\n"),
        );
        for key in *keys {
            row(&mut out, *key);
        }
    }
    out.push_str("\n## Environment variables\n\nThey stand in `conf/spark-env.sh`, which every script reads.\n\n");
    out.push_str("| variable | meaning |\n|---|---|\n");
    for (name, meaning) in VARIABLES {
        push(&mut out, format_args!("| `{name}` | {} |\n", cell(meaning)));
    }
    out
}

fn row(out: &mut String, key: &dyn AnyKey) {
    let default = match key.default_text() {
        Some(text) => format!("`{text}`"),
        None => "(none)".to_owned(),
    };
    let since = match key.origin() {
        Origin::Spark(version) => format!("Spark {version}"),
        Origin::Firesteel => "Firesteel".to_owned(),
    };
    let (name, kind, mut doc) = (key.name(), key.kind(), cell(key.doc().trim()));
    if let Some(former) = key.former_name() {
        push(&mut doc, format_args!(" It may also be called `{former}`, as it once was."));
    }
    push(out, format_args!("| `{name}` | {default} | {kind} | {doc} | {since} |\n"));
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_docs_is_what_the_key_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let file = std::fs::read_to_string(path).unwrap();
        let command = "cargo run -p firesteel-deploy --example configuration > docs/configuration.md";
        assert!(file == configuration(), "docs/configuration.md is out of date; run: {command}");
    }
}
