//! Files as elements, and files of records of one length.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use firesteel::{Context, Error, files::PortableDataStream};

fn context() -> Context {
    Context::builder().master("local[2]").build().unwrap()
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

#[test]
fn whole_text_files_are_pairs_of_path_and_text() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let files: [(&str, Vec<u8>, &str); 6] = [
        ("a", b"one\r\ntwo".to_vec(), "one\r\ntwo"),
        ("b.gz", gzip("packed ä".as_bytes()), "packed ä"),
        ("c", Vec::new(), ""),
        ("d.gz", Vec::new(), ""),
        ("e", "\u{feff}marked".into(), "\u{feff}marked"),
        ("f", b"x\xffy".to_vec(), "x\u{fffd}y"),
    ];
    for (name, bytes, _) in &files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    fs::write(dir.path().join("_hidden"), "no").unwrap();
    let expected: Vec<(String, String)> =
        files.iter().map(|(file, _, text)| (name(&dir.path().join(file)).to_owned(), (*text).to_owned())).collect();
    for partitions in [1, 2, 3, 100] {
        let texts = sc.partitioned(partitions).whole_text_files(name(dir.path())).unwrap();
        assert_eq!(texts.collect().unwrap(), expected, "{partitions} partitions");
        assert!((1..=6).contains(&texts.num_partitions()) && texts.num_partitions() <= partitions);
    }
    let one = sc.whole_text_files(&format!("{}/[ab]*", dir.path().display())).unwrap();
    assert_eq!(one.count().unwrap(), 2);

    let empty = tempfile::tempdir().unwrap();
    assert_eq!(sc.whole_text_files(name(empty.path())).unwrap().count().unwrap(), 0);
    for file in ["x", "y", "z"] {
        fs::write(empty.path().join(file), "").unwrap();
    }
    assert_eq!(sc.whole_text_files(name(empty.path())).unwrap().values().collect().unwrap(), ["", "", ""]);
    assert!(matches!(sc.whole_text_files(&(name(empty.path()).to_owned() + "/none")), Err(Error::InputMissing(_))));
}

#[test]
fn whole_texts_that_cannot_be_read_are_named() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("packed");
    fs::write(&path, gzip(b"x")).unwrap();
    let error = sc.whole_text_files(name(&path)).unwrap().count().unwrap_err().to_string();
    assert!(error.contains(name(&path)) && error.contains("ends in .gz"), "{error}");
    let path = dir.path().join("short.gz");
    fs::write(&path, &gzip(&[7; 1000])[..15]).unwrap();
    let error = sc.whole_text_files(name(&path)).unwrap().count().unwrap_err().to_string();
    assert!(error.contains(name(&path)) && error.contains("cut off"), "{error}");
    let path = dir.path().join("x.lz4");
    fs::write(&path, "x").unwrap();
    let error = sc.whole_text_files(name(&path)).err().unwrap().to_string();
    assert!(error.contains(name(&path)) && error.contains("unpack"), "{error}");
    let odd = dir.path().join("odd");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(OsStr::from_bytes(b"\xff.txt")), "1").unwrap();
    let error = sc.whole_text_files(name(&odd)).err().unwrap().to_string();
    assert!(error.contains("odd") && error.contains("not UTF-8"), "{error}");
    assert!(sc.binary_files(name(&odd)).is_err());
}

#[test]
fn binary_files_are_opened_where_they_are_used_and_fill_partitions_by_their_cost() {
    let dir = tempfile::tempdir().unwrap();
    let sizes: Vec<usize> = (0..20).map(|i| i * 1000).collect();
    for (i, size) in sizes.iter().enumerate() {
        fs::write(dir.path().join(format!("{i:02}.gz")), vec![i as u8; *size]).unwrap();
    }
    let partitions = |most: &str, cost: &str, wanted: u32| {
        let sc = Context::builder()
            .master("local[2]")
            .set("spark.files.maxPartitionBytes", most)
            .set("spark.files.openCostInBytes", cost)
            .build()
            .unwrap();
        let files = sc.partitioned(wanted).binary_files(name(dir.path())).unwrap();
        let read = files.try_map(|(path, file)| {
            assert_eq!(path, file.path().to_string());
            file.to_vec().map(|bytes| (bytes.len(), file.len() as usize, bytes.first().copied()))
        });
        let expected = sizes.iter().enumerate().map(|(i, size)| (*size, *size, (*size > 0).then_some(i as u8)));
        assert_eq!(read.collect().unwrap(), expected.collect::<Vec<_>>(), "they are not unpacked");
        files.num_partitions()
    };
    assert_eq!(partitions("128m", "4m", 1), 1, "opening costs more than reading");
    assert_eq!(partitions("128m", "0", 1), 2, "as many as there are cores");
    assert!((4..=6).contains(&partitions("128m", "0", 6)));
    assert!(
        (5..=9).contains(&partitions("20000", "0", 1)),
        "190,000 bytes in pieces of at least 20,000 and less than 39,000"
    );

    let sc = context();
    let path = dir.path().join("07.gz");
    let middle = sc.binary_files(name(&path)).unwrap().map(|(_, file): (String, PortableDataStream)| {
        let mut stream = file.open().unwrap();
        stream.seek(SeekFrom::Start(6990)).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    assert_eq!(middle.collect().unwrap(), [vec![7u8; 10]]);
    let files = sc.binary_files(name(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let error = files.try_map(|(_, file)| file.to_vec()).count().unwrap_err().to_string();
    assert!(error.contains("07.gz"), "{error}");
}

#[test]
fn records_of_one_length_are_cut_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3001u32).flat_map(|i| [i.to_be_bytes().to_vec(), vec![7; 3]].concat()).collect();
    fs::write(dir.path().join("a"), &bytes[..7 * 1000]).unwrap();
    fs::write(dir.path().join("b"), &bytes[7 * 1000..]).unwrap();
    fs::write(dir.path().join("c"), "").unwrap();
    let sc = context();
    for partitions in [1, 2, 3, 10, 5000] {
        let records = sc.partitioned(partitions).binary_records(name(dir.path()), 7).unwrap();
        assert!(records.num_partitions() >= partitions.min(3001));
        let numbers = records.map(|record| {
            assert_eq!(record.len(), 7);
            u32::from_be_bytes([record[0], record[1], record[2], record[3]])
        });
        assert_eq!(numbers.coalesce(4).collect().unwrap(), (0..3001).collect::<Vec<_>>(), "{partitions} partitions");
    }
    let small = Context::builder().master("local[2]").set("spark.hadoop.fs.local.block.size", "700").build().unwrap();
    assert_eq!(small.binary_records(name(&dir.path().join("a")), 7).unwrap().num_partitions(), 10);
    assert_eq!(small.binary_records(name(&dir.path().join("a")), 7000).unwrap().num_partitions(), 1);
    assert_eq!(sc.binary_records(name(dir.path()), 7).unwrap().num_partitions(), 3, "one for each file");

    for (length, part) in [(0, "length"), (9, "no whole number")] {
        let error = sc.binary_records(name(&dir.path().join("a")), length).err().unwrap().to_string();
        assert!(error.contains("/a") && error.contains(part), "{error}");
    }
    let path = dir.path().join("a.gz");
    fs::write(&path, [0; 14]).unwrap();
    let error = sc.binary_records(name(&path), 7).err().unwrap().to_string();
    assert!(error.contains("a.gz") && error.contains("unpack"), "{error}");
    fs::rename(&path, dir.path().join("d")).unwrap();
    let records = sc.binary_records(name(&dir.path().join("d")), 7).unwrap();
    fs::write(dir.path().join("d"), [0; 9]).unwrap();
    let error = records.count().unwrap_err().to_string();
    assert!(error.contains("/d") && error.contains("too early"), "{error}");
}
