//! A store without directories and renames: what is written there becomes visible by uploads that the driver completes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use firesteel::{
    Context, Error,
    files::{
        self, AttemptFile, CommitProtocol, FileKind, FilePath, FileStatus, FileSystem, InputFile, LocalDisk,
        ManifestEntry, OutputFile, OutputJob, TaskAttempt,
    },
};
use serde::{Deserialize, Serialize};

/// Objects by their keys, each a file whose name is its key; a slash in it is written as a `%`.
#[derive(Clone, Serialize, Deserialize)]
struct Store {
    objects: PathBuf,
    uploads: Uploads,
}

/// Uploads, each a file under a name of its own.
#[derive(Clone, Serialize, Deserialize)]
struct Uploads {
    dir: PathBuf,
    objects: PathBuf,
}

impl Store {
    fn new(dir: &Path) -> Store {
        let (objects, uploads) = (dir.join("objects"), dir.join("uploads"));
        for dir in [&objects, &uploads] {
            fs::create_dir(dir).unwrap();
        }
        Store { uploads: Uploads { dir: uploads, objects: objects.clone() }, objects }
    }

    fn keys(&self) -> Vec<String> {
        let names = fs::read_dir(&self.objects).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut keys: Vec<_> = names.map(|name| name.replace('%', "/")).collect();
        keys.sort();
        keys
    }

    fn below(&self, dir: &FilePath) -> Vec<String> {
        let dir = format!("{}/", key(dir));
        self.keys().into_iter().filter(|key| key.starts_with(&dir)).collect()
    }
}

fn key(path: &FilePath) -> &str {
    path.path().to_str().unwrap()
}

fn object(objects: &Path, key: &str) -> FilePath {
    FilePath::local(objects.join(key.replace('/', "%")))
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "a store has no such thing"))
}

impl FileSystem for Store {
    fn status(&self, path: &FilePath) -> io::Result<FileStatus> {
        if !self.below(path).is_empty() {
            return Ok(FileStatus { path: path.clone(), kind: FileKind::Directory, len: 0 });
        }
        Ok(FileStatus { path: path.clone(), ..LocalDisk.status(&object(&self.objects, key(path)))? })
    }

    fn list(&self, dir: &FilePath, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<FileStatus>> {
        let mut found = BTreeMap::new();
        for object in self.below(dir) {
            let name = object[key(dir).len() + 1..].split('/').next().unwrap().to_owned();
            if wanted(name.as_ref()) {
                found.insert(name.clone(), self.status(&dir.join(name))?);
            }
        }
        Ok(found.into_values().collect())
    }

    fn open(&self, path: &FilePath) -> io::Result<Box<dyn InputFile>> {
        LocalDisk.open(&object(&self.objects, key(path)))
    }

    fn create(&self, path: &FilePath) -> io::Result<Box<dyn OutputFile>> {
        LocalDisk.create(&object(&self.objects, key(path)))
    }

    fn create_dir(&self, _: &FilePath) -> io::Result<()> {
        unsupported()
    }

    fn create_dirs(&self, _: &FilePath) -> io::Result<()> {
        unsupported()
    }

    fn rename(&self, _: &FilePath, _: &FilePath) -> io::Result<()> {
        unsupported()
    }

    fn delete(&self, path: &FilePath) -> io::Result<()> {
        self.below(path).iter().try_for_each(|key| LocalDisk.delete(&object(&self.objects, key)))
    }

    fn commit_protocol(&self) -> &dyn CommitProtocol {
        &self.uploads
    }
}

impl Uploads {
    /// Those that a job has begun and nobody has completed.
    fn of(&self, job: &OutputJob) -> Vec<PathBuf> {
        let uploads = fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().path());
        uploads.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&job.id)).collect()
    }

    fn cancel(&self, job: &OutputJob) -> files::Result<()> {
        Ok(self.of(job).iter().try_for_each(fs::remove_file)?)
    }
}

impl CommitProtocol for Uploads {
    fn setup_job(&self, system: &dyn FileSystem, job: &OutputJob) -> files::Result<()> {
        if system.status(&job.dir).is_ok() { Err(files::Error::Exists(job.dir.clone())) } else { Ok(()) }
    }

    fn create(
        &self,
        _: &dyn FileSystem,
        job: &OutputJob,
        attempt: TaskAttempt,
        name: &str,
    ) -> files::Result<Box<dyn AttemptFile>> {
        let upload = format!("{}.{}.{name}", job.id, attempt.id);
        let path = self.dir.join(&upload);
        Ok(Box::new(Upload { file: File::create_new(&path)?, path, upload }))
    }

    fn commit_job(&self, system: &dyn FileSystem, job: &OutputJob, manifest: &[ManifestEntry]) -> files::Result<()> {
        for ManifestEntry { name, bytes, token } in manifest {
            let upload = self.dir.join(str::from_utf8(token).unwrap());
            assert_eq!(fs::metadata(&upload)?.len(), *bytes);
            fs::rename(upload, object(&self.objects, key(&job.dir.join(name))).path())?;
        }
        self.cancel(job)?;
        Ok(system.create(&job.dir.join("_SUCCESS"))?.close()?)
    }

    fn abort_job(&self, system: &dyn FileSystem, job: &OutputJob) -> files::Result<()> {
        self.cancel(job)?;
        Ok(system.delete(&job.dir)?)
    }
}

struct Upload {
    file: File,
    path: PathBuf,
    upload: String,
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl AttemptFile for Upload {
    fn finish(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(self.upload.into_bytes())
    }

    fn abort(self: Box<Self>, _: &dyn FileSystem) {
        // The job may have ended, and removed it, meanwhile.
        let _ = fs::remove_file(self.path);
    }
}

#[test]
fn a_store_without_renames_completes_the_uploads_of_the_attempts_that_count() {
    for master in ["local[2,3]", "local-cluster[2,1,512]"] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let uploads = || fs::read_dir(dir.path().join("uploads")).unwrap().count();
        let sc = Context::builder().app_name("store").master(master).build().unwrap();
        sc.add_file_system("store", store.clone()).unwrap();

        // The first attempt at each partition fails when it has written much; so many fail that the job does, too.
        let attempts = dir.path().join("attempts");
        fs::create_dir(&attempts).unwrap();
        let numbers = sc.partitioned(3).range(0..90_000u64).with(attempts);
        let flaky = numbers.try_map(|attempts, x| {
            let first = x % 30_000 == 29_999 && File::create_new(attempts.join(x.to_string())).is_ok();
            if first { Err("not yet") } else { Ok(x) }
        });
        let broken = numbers.try_map(|_, x| if x % 30_000 == 29_999 { Err("never") } else { Ok(x) });
        assert!(broken.save_as_text_file("store://bucket/broken").is_err());
        assert_eq!(store.keys(), [""; 0], "nothing was visible at any time");
        flaky.save_as_text_file("store://bucket/out").unwrap();
        let parts = ["_SUCCESS", "part-00000", "part-00001", "part-00002"].map(|part| format!("bucket/out/{part}"));
        assert_eq!(store.keys(), parts, "{master}");
        let again = flaky.save_as_text_file("store://bucket/out");
        assert!(matches!(again, Err(Error::OutputExists(found)) if found == Path::new("store://bucket/out")));

        let lines = sc.partitioned(5).text_file("store://bucket/out").unwrap();
        assert_eq!(lines.try_map(|line| line.parse::<u64>()).collect().unwrap(), (0..90_000u64).collect::<Vec<_>>());
        assert_eq!(sc.text_lines("store://bucket/o*/part-0000[12]").unwrap().count().unwrap(), 60_000);
        // An attempt of the broken job may still have run when that had failed; it cannot succeed.
        let deadline = Instant::now() + Duration::from_secs(60);
        while uploads() > 0 {
            assert!(Instant::now() < deadline, "{master}: uploads are left");
            std::thread::yield_now();
        }
    }
}
