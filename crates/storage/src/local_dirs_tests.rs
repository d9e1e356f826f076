use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::BlockError;

fn full(path: &Path) -> BlockError {
    BlockError::File { action: "write", path: path.to_owned(), source: io::ErrorKind::StorageFull.into() }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> BlockError {
    BlockError::File { action, path: path.to_owned(), source }
}

fn seconds(n: u64) -> Tick {
    Tick::ZERO + Duration::from_secs(n)
}

#[test]
fn a_marked_directory_comes_last_until_its_time_is_over() {
    let mut marks = Marks::new(3);
    assert_eq!(marks.order(seconds(0), 4), [1, 2, 0]);
    assert!(marks.mark(seconds(0), 1));
    assert!(!marks.mark(seconds(10), 1), "it is said once a mark");
    assert_eq!(marks.order(seconds(20), 4), [2, 0, 1]);
    assert!(marks.mark(seconds(20), 2));
    assert_eq!(marks.order(seconds(69), 4), [0, 1, 2]);
    assert_eq!(marks.order(seconds(70), 4), [1, 0, 2], "ten seconds after the first mark and a minute");
    assert_eq!(marks.order(seconds(80), 4), [1, 2, 0]);
    assert!(marks.mark(seconds(200), 1), "said again");
}

#[test]
fn a_full_directory_is_avoided_and_an_error_names_all_with_their_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = LocalDirs::new(["a", "b", "c"].map(|name| dir.path().join(name)).to_vec());
    let dirs = dirs.open::<BlockError>().unwrap();
    let names = |bad: &[&str], start| {
        let mut tried = Vec::new();
        let result = dirs.write(start, |dir| {
            let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
            tried.push(name.clone());
            if bad.contains(&name.as_str()) { Err(full(&dir.join("file"))) } else { Ok(name) }
        });
        (result, tried)
    };
    assert_eq!(names(&[], 1).1, ["b"]);
    assert_eq!(names(&["b"], 1).1, ["b", "c"]);
    assert_eq!(names(&[], 1).1, ["c"], "the next file does not try it");
    assert_eq!(names(&["c", "a"], 1).1, ["c", "a", "b"], "rather one that is marked than none");
    let (result, tried) = names(&["a", "b", "c"], 0);
    assert_eq!(tried.len(), 3);
    let error = result.unwrap_err().to_string();
    for name in ["a/file", "b/file", "c/file"] {
        assert!(error.contains(dir.path().join(name).to_str().unwrap()), "{error}");
    }
    assert!(error.contains("spark.local.dir"), "{error}");
}

#[test]
fn what_is_not_the_directorys_fault_is_not_tried_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = LocalDirs::new(["a", "b"].map(|name| dir.path().join(name)).to_vec()).open::<BlockError>().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    for (path, source) in [
        (dirs.dirs()[0].join("file"), io::Error::from_raw_os_error(Errno::EMFILE as i32)),
        (elsewhere, io::ErrorKind::StorageFull.into()),
    ] {
        let mut tried = 0;
        let error = failed("write", &path, source);
        assert!(!dirs.has_failed(&error));
        let mut error = Some(error);
        let result: Result<(), BlockError> = dirs.write(0, |_| {
            tried += 1;
            Err(error.take().unwrap())
        });
        assert!(result.is_err());
        assert_eq!(tried, 1);
    }
    assert!(dirs.has_failed(&full(&dirs.dirs()[1].join("x"))));
    assert_eq!(dirs.write(1, |dir| Ok::<_, BlockError>(dir.to_owned())).unwrap(), dirs.dirs()[0]);
}

#[test]
fn a_removed_directory_is_made_again_for_this_user_until_its_owner_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("local").join("app");
    let dirs = LocalDirs::new(vec![below.clone()]).open::<BlockError>().unwrap();
    let write = || {
        dirs.write(0, |dir| {
            let path = dir.join("file");
            fs::write(&path, "x").map_err(|e| failed("write", &path, e))
        })
    };
    write().unwrap();
    fs::remove_dir_all(dir.path().join("local")).unwrap();
    write().unwrap();
    for dir in [&below, below.parent().unwrap()] {
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
    fs::remove_dir_all(dir.path().join("local")).unwrap();
    dirs.close();
    assert!(write().is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn room_that_is_not_there_is_refused_at_once() {
    let file = tempfile::tempfile().unwrap();
    reserve(&file, 1 << 20).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 0);
    let refused = reserve(&file, 1 << 62).map_err(|e| e.raw_os_error());
    assert!(refused.is_err(), "{refused:?}");
}
