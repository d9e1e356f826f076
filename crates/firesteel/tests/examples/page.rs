//! `docs/rdd-api.md` beside the code: what it names exists, and what exists stands on it.

use std::collections::BTreeSet;

use super::methods::Sources;

/// The names between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The second cells of the rows of all tables.
fn ours(page: &str) -> Vec<&str> {
    let rows =
        page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---") && !line.starts_with("| Spark"));
    rows.map(|row| row.split('|').nth(2).expect("a row of three cells").trim()).collect()
}

/// Names on the page that no public method of an RDD bears, and public methods of RDDs that the page lacks.
fn differences(page: &str, sources: &Sources) -> (Vec<String>, Vec<String>) {
    let handle = |of: &str| ["Rdd", "Partitioned"].contains(&of);
    let there: BTreeSet<&str> = sources.methods.iter().filter(|m| handle(&m.of)).map(|m| m.name.as_str()).collect();
    let named: BTreeSet<&str> = ours(page).into_iter().flat_map(quoted).collect();
    let unknown = named.iter().filter(|name| !there.contains(*name)).map(|name| (*name).to_owned()).collect();
    let absent = there.iter().filter(|name| !named.contains(*name)).map(|name| (*name).to_owned()).collect();
    (unknown, absent)
}

#[test]
fn the_page_names_every_method_of_an_rdd_and_no_other() {
    let page = include_str!("../../../../docs/rdd-api.md");
    let (unknown, absent) = differences(page, &Sources::read());
    assert!(unknown.is_empty(), "the page names what is not there: {unknown:?}");
    assert!(absent.is_empty(), "the page lacks: {absent:?}");
    let said = |cell: &&str| cell.is_empty() || (!cell.contains('`') && !["not yet", "not offered"].contains(cell));
    let empty: Vec<&str> = ours(page).into_iter().filter(said).collect();
    assert!(empty.is_empty(), "a row names a method, or says `not yet` or `not offered`: {empty:?}");
}

#[test]
fn a_missing_and_a_made_up_name_are_found() {
    let mut sources = Sources::default();
    sources.types.insert("Rdd".to_owned(), String::new());
    sources.add("own.rs", "impl<T> Rdd<T> { pub fn map(&self) {} pub fn fold(&self) {} }");
    let page =
        "text `no`\n| Spark | Firesteel | |\n|---|---|---|\n| `map` | `map`, `mapp` | `x` |\n| `y` | not yet | |\n";
    assert_eq!(differences(page, &sources), (vec!["mapp".to_owned()], vec!["fold".to_owned()]));
}
