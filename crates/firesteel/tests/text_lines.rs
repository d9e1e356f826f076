//! Lines of text files by reference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path};

use firesteel::{Context, Emitter, Str, prelude::*};

fn context() -> Context {
    Context::builder().master("local[2]").build().unwrap()
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn blocks_of_lines_meet_whatever_the_lines_and_splits_are() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    // Around the size of a block, twice as much, and much more.
    let lengths = [65_535, 0, 1, 65_536, 65_534, 131_071, 7, 131_072, 300_000, 2, 65_537, 40_000, 30_000];
    let lines: Vec<String> =
        lengths.iter().enumerate().map(|(i, n)| String::from((b'a' + i as u8) as char).repeat(*n)).collect();
    for end in ["\n", "\r\n", "\r"] {
        for text in [lines.join(end), lines.join(end) + end] {
            fs::write(&path, &text).unwrap();
            for splits in [1, 2, 3, 7, 16, 50] {
                let found = sc.partitioned(splits).text_lines(name(&path)).unwrap();
                assert_eq!(found.count().unwrap(), lines.len() as u64);
                assert_eq!(found.to_strings().count().unwrap(), lines.len() as u64);
                assert!(found.to_strings().collect().unwrap() == lines, "{splits} splits, {end:?}");
            }
        }
    }
}

#[test]
fn lines_are_seen_by_reference_with_and_without_an_environment() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    let text: String = (0..20_000).map(|i| format!("{i} {} ünï\n", i % 3)).collect();
    fs::write(&path, &text).unwrap();
    let lines = sc.partitioned(4).text_lines(name(&path)).unwrap();
    assert_eq!(lines.num_partitions(), 4);
    assert_eq!(lines.map_to(|line| line.len() as u64 + 1).reduce(|a, b| a + b).unwrap(), text.len() as u64);

    let kept = lines.filter(|line| line.contains(" 1 ")).with(12usize).filter(|longest, line| line.len() <= *longest);
    let expected: Vec<&str> = text.lines().filter(|l| l.contains(" 1 ") && l.len() <= 12).collect();
    assert!(!expected.is_empty());
    assert_eq!(kept.count().unwrap(), expected.len() as u64);
    assert_eq!(kept.to_strings().count().unwrap(), expected.len() as u64);
    assert_eq!(kept.to_strings().collect().unwrap(), expected);
    assert_eq!(kept.with('n').map_to(|c, line| line.find(*c)).distinct().count().unwrap(), 4);

    let words = |line: &str, words: &mut Emitter<(Str, u64)>| {
        line.split(' ').skip(1).for_each(|word| words.emit((Str::from(word), 1)));
    };
    let mut counts = lines.flat_map_to(words).reduce_by_key(|a, b| a + b).collect().unwrap();
    counts.sort();
    let all = [("0", 6667), ("1", 6667), ("2", 6666), ("ünï", 20_000)];
    assert_eq!(counts, all.map(|(word, n)| (Str::from(word), n)));
    let repeated = lines.with(3u32).flat_map_to(|n, line, emit| (0..*n).for_each(|_| emit.emit(line.len())));
    assert_eq!(repeated.count().unwrap(), 60_000);
    assert_eq!(lines.flat_map_to(|_, _: &mut Emitter<u8>| ()).count().unwrap(), 0);
}

#[test]
fn what_is_no_utf8_is_replaced_and_what_is_gone_is_an_error() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    fs::write(&path, b"good\nb\xffd\r\n\xe2\x82").unwrap();
    let lines = sc.text_lines(name(&path)).unwrap();
    assert_eq!(lines.to_strings().collect().unwrap(), ["good", "b\u{fffd}d", "\u{fffd}"]);
    assert_eq!(lines.to_strings().count_async().unwrap().wait().unwrap(), 3);
    fs::write(&path, "go").unwrap();
    assert_eq!(lines.to_strings().collect().unwrap(), ["go"], "the file has become shorter");
    fs::remove_file(&path).unwrap();
    assert!(lines.count().unwrap_err().to_string().contains(name(&path)));
    assert!(matches!(sc.text_lines(name(&path)), Err(Error::InputMissing(_))));
}
