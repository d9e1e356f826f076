//! Formats and file systems that a program has written itself, on threads and in executors of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use firesteel::{
    Context, Error,
    events::{AppEvent, TaskLocality},
    files::{
        self, BlockHosts, FilePath, FileStatus, FileSystem, Input, InputFile, InputFormat, InputSplit, LocalDisk,
        ManifestEntry, OutputFile, OutputFormat, ReadTask, RecordIter, RecordReader, RecordWriter, TaskFile, TaskInput,
        WriteTask,
    },
};
use serde::{Deserialize, Serialize};

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,512]"];

fn context(master: &str) -> Context {
    Context::builder().app_name("formats").master(master).build().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Texts with their lengths before them, and an index of every so many of them at the end: it is cut where the index says.
#[derive(Serialize, Deserialize)]
struct Indexed {
    every: u64,
}

/// Records from one place of the index to the next.
#[derive(Serialize, Deserialize)]
struct Run {
    path: FilePath,
    range: Range<u64>,
    records: u64,
}

impl Indexed {
    fn index_of(&self, file: &FileStatus, input: &Input<'_>) -> files::Result<Vec<u64>> {
        let system = input.systems.of(&file.path)?;
        let read = |range: Range<u64>| {
            let mut words = Vec::new();
            system.open_range(&file.path, range)?.read_to_end(&mut words)?;
            Ok(words.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>())
        };
        let named = |e: io::Error| files::Error::io(&file.path, e);
        let footer =
            file.len.checked_sub(16).ok_or_else(|| files::Error::invalid(format!("{}: no index", file.path)))?;
        let [index, records] = read(footer..file.len).map_err(named)?[..] else {
            return Err(files::Error::invalid(format!("{}: it has become shorter", file.path)));
        };
        let mut index = read(index..footer).map_err(named)?;
        index.push(records);
        Ok(index)
    }
}

impl InputFormat for Indexed {
    type Split = Run;
    type Reader = Box<dyn RecordReader<Record = (u64, String)>>;

    fn splits(&self, input: &Input<'_>) -> files::Result<Vec<InputSplit<Run>>> {
        let mut splits = Vec::new();
        for file in input.files()? {
            let mut index = self.index_of(&file, input)?;
            let records = index.pop().unwrap();
            for (i, start) in index.iter().enumerate() {
                let end = *index.get(i + 1).unwrap_or(&file.len);
                let records = self.every.min(records - i as u64 * self.every);
                let data = Run { path: file.path.clone(), range: *start..end, records };
                splits.push(InputSplit { data, bytes: end - start, hosts: Vec::new() });
            }
        }
        Ok(splits)
    }

    fn open(&self, run: Run, task: &ReadTask) -> files::Result<Self::Reader> {
        let mut file: BufReader<TaskInput<_>> = BufReader::new(task.open_range(&run.path, run.range)?);
        Ok(Box::new(RecordIter::new((0..run.records).map(move |_| {
            let named = |e| files::Error::io(&run.path, e);
            let mut head = [0; 12];
            file.read_exact(&mut head).map_err(named)?;
            let (number, len) = head.split_at(8);
            let mut text = vec![0; u32::from_le_bytes(len.try_into().unwrap()) as usize];
            file.read_exact(&mut text).map_err(named)?;
            let text = String::from_utf8(text).map_err(|e| files::Error::invalid(format!("{}: {e}", run.path)))?;
            Ok((u64::from_le_bytes(number.try_into().unwrap()), text))
        }))))
    }
}

struct IndexedWriter {
    every: u64,
    file: BufWriter<TaskFile>,
    /// How many records the file has, for who need not read it.
    count: TaskFile,
    index: Vec<u64>,
    at: u64,
    records: u64,
}

impl OutputFormat<(u64, String)> for Indexed {
    type Writer = IndexedWriter;

    fn open(&self, task: &WriteTask) -> files::Result<IndexedWriter> {
        let file = BufWriter::new(task.create(".texts")?);
        assert!(task.create(".texts").is_err(), "an attempt has one file of a name");
        Ok(IndexedWriter {
            every: self.every,
            file,
            count: task.create(".count")?,
            index: Vec::new(),
            at: 0,
            records: 0,
        })
    }
}

impl RecordWriter<(u64, String)> for IndexedWriter {
    fn write(&mut self, records: &[(u64, String)]) -> files::Result<()> {
        for (number, text) in records {
            if self.records.is_multiple_of(self.every) {
                self.index.push(self.at);
            }
            self.file.write_all(&number.to_le_bytes())?;
            self.file.write_all(&(text.len() as u32).to_le_bytes())?;
            self.file.write_all(text.as_bytes())?;
            self.at += 12 + text.len() as u64;
            self.records += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> files::Result<Vec<ManifestEntry>> {
        for word in self.index.iter().chain([&self.at, &self.records]) {
            self.file.write_all(&word.to_le_bytes())?;
        }
        write!(self.count, "{}", self.records)?;
        let file = self.file.into_inner().map_err(|e| files::Error::from(e.into_error()))?;
        Ok(vec![file.finish()?, self.count.finish()?])
    }
}

#[test]
fn a_format_of_a_programs_own_is_written_and_read() {
    for master in MASTERS {
        let sc = context(master);
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let texts = sc.partitioned(3).range(0..5000u64).map(|i| (i, "ä".repeat(i as usize % 60)));
        texts.save_with_format(&out, Indexed { every: 700 }).unwrap();
        let files = ["00000", "00001", "00002"].map(|p| [format!("part-{p}.count"), format!("part-{p}.texts")]);
        let expected: Vec<String> = [vec!["_SUCCESS".to_owned()], files.concat()].concat();
        assert_eq!(names(&out), expected, "{master}");
        let counts = sc.text_file(out.join("*.count").to_str().unwrap()).unwrap().try_map(|n| n.parse::<u64>());
        assert_eq!(counts.reduce(|a, b| a + b).unwrap(), 5000);

        let read = sc.read_with_format(out.join("*.texts").to_str().unwrap(), Indexed { every: 700 }).unwrap();
        assert_eq!(read.num_partitions(), 9, "each of three files has 1666 or 1667 records");
        assert_eq!(read.collect().unwrap(), texts.collect().unwrap(), "{master}");

        assert!(
            matches!(texts.save_with_format(&out, Indexed { every: 1 }), Err(Error::OutputExists(found)) if found == out)
        );
        assert_eq!(names(&out), expected, "what was there is as it was");
        let missing = sc.read_with_format(out.join("none").to_str().unwrap(), Indexed { every: 700 });
        assert!(matches!(missing, Err(Error::InputMissing(_))));
        let short = out.join("part-00000.count");
        let error = sc.read_with_format(short.to_str().unwrap(), Indexed { every: 700 }).err().unwrap();
        assert!(error.to_string().contains("no index"), "{error}");
        let texts = out.join("part-00001.texts");
        let read = sc.read_with_format(texts.to_str().unwrap(), Indexed { every: 700 }).unwrap();
        fs::OpenOptions::new().write(true).open(&texts).unwrap().set_len(1000).unwrap();
        let error = read.count().unwrap_err().to_string();
        assert!(error.contains(texts.to_str().unwrap()), "{error}");
    }
}

/// Fails where its counter says.
#[derive(Serialize, Deserialize)]
struct Flaky {
    always: bool,
}

static FINISHED: AtomicU32 = AtomicU32::new(0);

struct FlakyWriter(TaskFile, bool);

impl OutputFormat<u64> for Flaky {
    type Writer = FlakyWriter;

    fn open(&self, task: &WriteTask) -> files::Result<FlakyWriter> {
        Ok(FlakyWriter(task.create(&format!(".{}", task.partition()))?, self.always))
    }
}

impl RecordWriter<u64> for FlakyWriter {
    fn write(&mut self, records: &[u64]) -> files::Result<()> {
        let text: String = records.iter().map(|x| format!("{x}\n")).collect();
        Ok(self.0.write_all(text.as_bytes())?)
    }

    fn finish(self) -> files::Result<Vec<ManifestEntry>> {
        let entry = self.0.finish()?;
        // The file is whole by now, and does not count.
        if self.1 || FINISHED.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(files::Error::invalid("not this one"));
        }
        Ok(vec![entry])
    }
}

#[test]
fn of_each_partition_the_attempt_that_counts_is_saved_and_of_a_failed_job_nothing() {
    let sc = context("local[2,3]");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let numbers = sc.partitioned(2).range(0..3000u64);
    let error = numbers.save_with_format(&out, Flaky { always: true }).unwrap_err().to_string();
    assert!(error.contains("not this one"), "{error}");
    assert!(!out.exists());
    numbers.save_with_format(&out, Flaky { always: false }).unwrap();
    assert_eq!(FINISHED.load(Ordering::Relaxed), 4, "two attempts have failed when they had written all");
    assert_eq!(names(&out), ["_SUCCESS", "part-00000.0", "part-00001.1"]);
    assert_eq!(sc.text_file(out.to_str().unwrap()).unwrap().count().unwrap(), 3000);
}

/// A directory under a scheme of its own, all of whose blocks are on some hosts.
#[derive(Serialize, Deserialize)]
struct Below {
    root: PathBuf,
    hosts: Vec<String>,
}

impl Below {
    fn inside(&self, path: &FilePath) -> FilePath {
        FilePath::local(self.root.join(path.path()))
    }

    fn outside(&self, status: FileStatus) -> FileStatus {
        let below = status.path.path().strip_prefix(&self.root).unwrap().to_str().unwrap();
        FileStatus { path: FilePath::parse(&format!("below://{below}")).unwrap(), ..status }
    }
}

impl FileSystem for Below {
    fn status(&self, path: &FilePath) -> io::Result<FileStatus> {
        Ok(self.outside(LocalDisk.status(&self.inside(path))?))
    }

    fn list(&self, dir: &FilePath, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<FileStatus>> {
        let listed = LocalDisk.list(&self.inside(dir), wanted)?;
        Ok(listed.into_iter().map(|status| self.outside(status)).collect())
    }

    fn open(&self, path: &FilePath) -> io::Result<Box<dyn InputFile>> {
        LocalDisk.open(&self.inside(path))
    }

    fn create(&self, path: &FilePath) -> io::Result<Box<dyn OutputFile>> {
        LocalDisk.create(&self.inside(path))
    }

    fn create_dir(&self, dir: &FilePath) -> io::Result<()> {
        LocalDisk.create_dir(&self.inside(dir))
    }

    fn create_dirs(&self, dir: &FilePath) -> io::Result<()> {
        LocalDisk.create_dirs(&self.inside(dir))
    }

    fn rename(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        LocalDisk.rename(&self.inside(from), &self.inside(to))
    }

    fn delete(&self, path: &FilePath) -> io::Result<()> {
        LocalDisk.delete(&self.inside(path))
    }

    fn block_hosts(&self, file: &FileStatus) -> io::Result<Vec<BlockHosts>> {
        Ok(vec![BlockHosts { range: 0..file.len, hosts: self.hosts.clone() }])
    }
}

#[test]
fn a_file_system_of_a_programs_own_is_named_by_its_scheme() {
    for master in MASTERS {
        let sc = context(master);
        let dir = tempfile::tempdir().unwrap();
        let error = sc.text_file("below://bucket/in").err().unwrap().to_string();
        assert!(error.contains("below://bucket/in") && error.contains("no file system"), "{error}");
        let below = || Below { root: dir.path().to_owned(), hosts: Vec::new() };
        for scheme in ["file", "", "a b", "1a"] {
            assert!(sc.add_file_system(scheme, below()).is_err(), "{scheme:?}");
        }
        sc.add_file_system("below", below()).unwrap();

        let numbers = sc.partitioned(3).range(0..1000u64);
        numbers.save_as_text_file("below://bucket/a/out").unwrap();
        let out = dir.path().join("bucket/a/out");
        assert_eq!(names(&out), ["_SUCCESS", "part-00000", "part-00001", "part-00002"]);
        assert!(matches!(numbers.save_as_text_file("below://bucket/a/out"), Err(Error::OutputExists(_))));
        for (path, lines) in [
            ("below://bucket/a/out", 1000),
            ("below://bucket/*/o[tu]t/part-0000{0,1}", 666),
            ("below://bucket/a/out/part-00002", 334),
            ("below://bucket/a/out/part-00002,below://bucket/a/{out/part-00001,none/x}", 667),
        ] {
            assert_eq!(sc.partitioned(5).text_lines(path).unwrap().count().unwrap(), lines, "{master}, {path}");
        }
        let local = format!("{},below://bucket/a/out/part-00000", out.join("part-00001").display());
        assert_eq!(sc.text_file(&local).unwrap().count().unwrap(), 666, "of two file systems");
        assert!(matches!(sc.text_file("below://bucket/*/none"), Err(Error::InputMissing(_))));

        // Elements with an open file system in them travel to the driver and back.
        let files = sc.binary_files("below://bucket/a/out").unwrap();
        let found = files.collect().unwrap();
        let paths: Vec<&str> = found.iter().map(|(path, _)| &**path).collect();
        assert_eq!(paths[2], "below://bucket/a/out/part-00002");
        assert_eq!(found[2].1.to_vec().unwrap(), fs::read(out.join("part-00002")).unwrap());
        let lens = sc.parallelize(found).try_map(|(_, file)| file.to_vec().map(|bytes| bytes.len() as u64));
        let expected: u64 = fs::read_dir(&out).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(lens.reduce(|a, b| a + b).unwrap(), expected);
    }
}

#[test]
fn tasks_run_where_their_splits_lie() {
    let heard: Arc<Mutex<Vec<(String, TaskLocality)>>> = Arc::default();
    let all = heard.clone();
    let sc = Context::builder()
        .app_name("formats")
        .master("local-cluster[1,1,512]")
        .add_listener(move |event: &AppEvent| {
            if let AppEvent::TaskStart { info, .. } = event {
                all.lock().unwrap().push((info.host.clone(), info.locality));
            }
        })
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in"), "1\n2\n3\n").unwrap();
    // Whoever hears of the bus's events hears of them late: each job is waited for by the next one's.
    let host = |n: usize| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            if let Some(found) = heard.lock().unwrap().get(n) {
                return found.clone();
            }
            assert!(std::time::Instant::now() < deadline, "no task was told of");
            std::thread::yield_now();
        }
    };
    assert_eq!(sc.partitioned(1).range(0..3u64).count().unwrap(), 3);
    let (worker, locality) = host(0);
    assert_eq!(locality, TaskLocality::NoPreference);
    sc.add_file_system("below", Below { root: dir.path().to_owned(), hosts: vec![worker.clone()] }).unwrap();
    assert_eq!(sc.partitioned(1).text_lines("below://in").unwrap().count().unwrap(), 3);
    assert_eq!(host(1), (worker, TaskLocality::Node));
}
