//! Text files as they come: how lines end, what stands before them, how files are named and packed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

use firesteel::Context;

fn context() -> Context {
    Context::builder().master("local[2]").build().unwrap()
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What Hadoop's LineReader makes of the bytes.
fn lines_of(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|b| b"\r\n".contains(b)).unwrap_or(rest.len());
        lines.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        let after = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = rest.get(end + after..).unwrap_or_default();
    }
    lines
}

#[test]
fn a_carriage_return_ends_a_line_wherever_splits_begin() {
    let known: [(&[u8], &[&str]); 8] = [
        (b"a\rb\rc", &["a", "b", "c"]),
        (b"a\nb\r\nc\rd", &["a", "b", "c", "d"]),
        (b"a\r\r\nb", &["a", "", "b"]),
        (b"x\r", &["x"]),
        (b"h1,h2\r1,2\r3,4\r", &["h1,h2", "1,2", "3,4"]),
        (b"\r\n\r", &["", ""]),
        (b"\n\r\r", &["", "", ""]),
        (b"\r", &[""]),
    ];
    for (text, lines) in known {
        assert_eq!(lines_of(text), lines);
    }
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    // Every text of five of these bytes.
    let every = (0..4usize.pow(5)).map(|n| (0..5).map(|i| b"ab\r\n"[(n >> (2 * i)) & 3]).collect::<Vec<u8>>());
    let texts: Vec<Vec<u8>> = every.chain(known.map(|(text, _)| text.to_vec())).collect();
    for (i, text) in texts.iter().enumerate() {
        fs::write(dir.path().join(format!("{i:05}")), text).unwrap();
    }
    let expected: Vec<String> = texts.iter().flat_map(|text| lines_of(text)).collect();
    let bytes = texts.iter().map(Vec::len).sum::<usize>() as u32;
    for splits in [1, bytes / 2, bytes] {
        let lines = sc.partitioned(splits).text_lines(name(dir.path())).unwrap();
        assert!(lines.num_partitions() >= splits);
        assert!(lines.to_strings().coalesce(8).collect().unwrap() == expected, "{splits} splits");
        let lengths = lines.map_to(|line| line.len() as u64).coalesce(8);
        assert_eq!(lengths.reduce(|a, b| a + b).unwrap(), expected.iter().map(|line| line.len() as u64).sum::<u64>());
    }
}

#[test]
fn a_carriage_return_at_the_end_of_a_block_waits_for_the_next_byte() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    for before in [65_534, 65_535, 65_536, 131_071] {
        for end in ["\r", "\r\n", "\r\r\n", "\n\r", "\rb"] {
            for after in ["", "y\r\nz\r"] {
                let text = [&vec![b'x'; before][..], end.as_bytes(), after.as_bytes()].concat();
                fs::write(&path, &text).unwrap();
                for splits in [1, 2, 3] {
                    let lines = sc.partitioned(splits).text_lines(name(&path)).unwrap();
                    let found = lines.to_strings().collect().unwrap();
                    assert!(found == lines_of(&text), "{before}, {end:?}, {after:?}, {splits} splits");
                    assert_eq!(lines.count().unwrap(), found.len() as u64);
                }
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_files_first_line() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    for i in 0..3 {
        fs::write(dir.path().join(format!("f{i}")), "\u{feff}7\n8\n").unwrap();
    }
    for splits in [1, 3, 100] {
        let lines = sc.partitioned(splits).text_lines(name(dir.path())).unwrap();
        assert_eq!(lines.to_strings().collect().unwrap(), ["7", "8", "7", "8", "7", "8"]);
        assert_eq!(lines.count().unwrap(), 6);
        assert_eq!(lines.filter(|line| line == "7").count().unwrap(), 3);
    }
    let numbers = sc.text_file(name(dir.path())).unwrap().try_map(|line| line.parse::<i32>());
    assert_eq!(numbers.reduce(|a, b| a + b).unwrap(), 45);
    let path = dir.path().join("f0");
    for (text, lines) in [
        ("\u{feff}", &[][..]),
        ("\u{feff}\n", &[""]),
        ("\u{feff}\r\nx", &["", "x"]),
        ("\u{feff}\u{feff}x", &["\u{feff}x"]),
        ("a\n\u{feff}b\n", &["a", "\u{feff}b"]),
    ] {
        fs::write(&path, text).unwrap();
        for splits in [1, 2, 3, 7] {
            let found = sc.partitioned(splits).text_file(name(&path)).unwrap();
            assert_eq!(found.collect().unwrap(), lines, "{text:?} in {splits}");
        }
    }
}

#[test]
fn names_and_patterns_mean_what_they_mean_in_spark() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let count = |path: String| sc.text_file(&path).and_then(|rdd| rdd.count()).map_err(|e| e.to_string());
    for day in ["2024-01-01", "2024-01-02", "2024-01-03", "2024-02-01"] {
        fs::create_dir(at(day)).unwrap();
        fs::write(at(day) + "/p", "1\n").unwrap();
    }
    for (pattern, files) in [
        ("2024-01-0[1-2]", 2),
        ("2024-01-0[^12]", 1),
        ("2024-01-0[!12]", 1),
        ("2024-01-0{1,*}", 3),
        ("2024-{01-0[12],02-*}/p", 3),
        ("{2024-01-01/p,2024-01-*/p}", 3),
        ("2024-01-01,{at}/2024-01-01", 2),
    ] {
        assert_eq!(count(at(&pattern.replace("{at}", name(dir.path())))), Ok(files), "{pattern}");
    }

    fs::create_dir(at("[run] 1")).unwrap();
    for part in ["p-0", "p-1", "{x}", "trailing "] {
        fs::write(at("[run] 1/") + part, "1\n2\n").unwrap();
    }
    assert_eq!(count(at("\\[run\\] 1/p-*")), Ok(4));
    assert_eq!(count(at("\\[run\\] 1/\\{x\\}")), Ok(2), "escapes alone make a name");
    assert_eq!(count(at("[run] 1/trailing ")), Ok(2));
    assert_eq!(count(at("\\[run\\] 1/trail* ")), Ok(2));
    assert_eq!(count(format!("{} , {}", at("[run] 1/p-0"), at("[run] 1/p-1"))), Ok(4), "blanks around the comma");
    assert!(count(at("[run] 1/p-0 x")).unwrap_err().contains("p-0 x"));
    for (pattern, part) in [("a[b", "class"), ("a{b", "brace"), ("x\\", "backslash")] {
        let error = count(at(pattern)).unwrap_err();
        assert!(error.contains(part) && error.contains(pattern), "{error}");
    }
}

#[test]
fn links_that_lead_nowhere_and_names_that_are_no_utf8() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let count = |path: &Path| sc.text_file(name(path)).and_then(|rdd| rdd.count()).map_err(|e| e.to_string());
    let files = dir.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("p"), "1\n").unwrap();
    symlink(files.join("p"), files.join("also")).unwrap();
    symlink(dir.path().join("nowhere"), files.join("q")).unwrap();
    symlink(files.join("round"), files.join("round")).unwrap();
    assert_eq!(count(&files), Ok(2));
    assert_eq!(count(&files.join("*")), Ok(2));
    assert!(count(&files.join("q")).unwrap_err().contains("/q"), "what is named must be there");

    let odd = dir.path().join("odd");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"\xff.txt")), "1\n2\n").unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"_\xff.txt")), "hidden\n").unwrap();
    assert_eq!(count(&odd), Ok(2));
    assert_eq!(count(&odd.join("?.txt")), Ok(2));
    assert_eq!(count(&odd.join("*")), Ok(2));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

/// With a checksum, as the program `zstd` writes it: without one, damage is not always found.
fn zstandard(text: &[u8]) -> Vec<u8> {
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    out.include_checksum(true).unwrap();
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

#[test]
fn packed_files_are_unpacked_and_what_is_damaged_is_named() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    // Larger than blocks and buffers, of which the second half is a member of its own, as gzip and pbzip2 append them.
    let text: String =
        (0..60_000u64).map(|i| format!("line {i} {}\r\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let halves = text.as_bytes().split_at(text.len() / 2);
    let expected = lines_of(text.as_bytes());
    for (pack, end) in [(gzip as fn(&[u8]) -> Vec<u8>, "gz"), (bzip2, "bz2"), (zstandard, "zst")] {
        let path = dir.path().join(format!("text.{end}"));
        let packed = [pack(halves.0), pack(halves.1)].concat();
        fs::write(&path, &packed).unwrap();
        let lines = sc.partitioned(4).text_lines(name(&path)).unwrap();
        assert_eq!(lines.num_partitions(), 1);
        assert!(lines.to_strings().collect().unwrap() == expected, "{end}");
        assert_eq!(lines.count().unwrap(), 60_000);
        let fails = |bytes: &[u8], part: &str| {
            fs::write(&path, bytes).unwrap();
            let error = sc.text_lines(name(&path)).unwrap().count().unwrap_err().to_string();
            assert!(error.contains(name(&path)) && error.contains(part), "{part}: {error}");
        };
        for left in [packed.len() - 1, packed.len() / 4, 5, 1] {
            fails(&packed[..left], "cut off");
        }
        fails(text.as_bytes(), "its name stands for");
        fails(&[&packed, &b"garbage after it"[..]].concat(), "its name stands for");
        let mut damaged = packed.clone();
        damaged[packed.len() / 4] ^= 0x10;
        fails(&damaged, "its name stands for");
        fs::write(&path, "").unwrap();
        assert_eq!(sc.text_lines(name(&path)).unwrap().count().unwrap(), 0, "an empty file has no lines");
        fs::write(&path, pack(b"")).unwrap();
        assert_eq!(sc.text_lines(name(&path)).unwrap().count().unwrap(), 0);
        fs::write(&path, pack("\u{feff}a\rb".as_bytes())).unwrap();
        assert_eq!(sc.text_file(name(&path)).unwrap().collect().unwrap(), ["a", "b"]);

        // Under another name it is never read as text, from whatever place.
        let other = dir.path().join("other");
        fs::write(&other, &packed).unwrap();
        let error = sc.partitioned(3).text_lines(name(&other)).unwrap().count().unwrap_err().to_string();
        assert!(error.contains(name(&other)) && error.contains(&format!("ends in .{end}")), "{error}");
        fs::remove_file(other).unwrap();
    }
    for end in ["lz4", "snappy", "deflate"] {
        let path = dir.path().join(format!("text.{end}"));
        fs::write(&path, "x").unwrap();
        let error = sc.text_file(name(&path)).err().unwrap().to_string();
        assert!(error.contains(name(&path)) && error.contains("unpack"), "{error}");
    }
    for start in [&b"\xfd7zXZ\0\0\x04"[..], b"PK\x03\x04\x14\0\0\0", b"\x28\xb5\x2f\xfd\x24"] {
        let path = dir.path().join("packed");
        fs::write(&path, start).unwrap();
        let error = sc.text_file(name(&path)).unwrap().count().unwrap_err().to_string();
        assert!(error.contains(name(&path)) && error.contains("unpack"), "{error}");
    }
}
