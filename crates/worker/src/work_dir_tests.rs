use super::*;

fn key(app_id: &str) -> ExecutorKey {
    ExecutorKey::parse(app_id, 3).unwrap()
}

#[test]
fn two_workers_never_share_a_work_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = WorkDir::open(dir.path(), &[], Cleanup::default()).unwrap();
    let error = WorkDir::open(dir.path(), &[], Cleanup::default()).unwrap_err();
    assert!(error.to_string().contains("SPARK_WORKER_DIR"), "{error}");
    drop(first);
    WorkDir::open(dir.path(), &[], Cleanup::default()).unwrap();
}

#[test]
fn what_a_worker_makes_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (base, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = base.path().join("work");
    let dir = WorkDir::open(&root, &[local.path().to_owned()], Cleanup::default()).unwrap();
    let dirs = dir.create_executor(&key("app-1")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for made in [&root, &dirs.work, &dirs.blocks[0], dirs.blocks[0].parent().unwrap()] {
        assert_eq!(mode(made), 0o700, "{}", made.display());
    }
    assert_eq!(mode(&root.join(".applications")), 0o700);
    for made in [&root.join(".lock"), &dirs.registered, &root.join(".applications/app-1")] {
        assert_eq!(mode(made), 0o600, "{}", made.display());
    }
}

#[test]
fn what_another_has_put_under_a_name_of_ours_is_never_used() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (base, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let uid = fs::metadata(base.path()).unwrap().uid();
    let name = base.path().join("firesteel-worker-1-2-3");
    fs::write(elsewhere.path().join("theirs"), "x").unwrap();
    let untouched = || fs::read_dir(elsewhere.path()).unwrap().count() == 1;
    let bin = Bin::open(base.path().join("bin"), uid).unwrap();
    // A link: the moment before this one may have been free.
    symlink(elsewhere.path(), &name).unwrap();
    let error = own_dir(&name, uid).unwrap_err().to_string();
    assert!(error.contains("no directory") && untouched(), "{error}");
    renew(&name, &bin, uid).unwrap();
    assert!(fs::symlink_metadata(&name).unwrap().is_dir() && untouched(), "our own link is thrown away, not followed");
    // Another user's directory.
    for error in [own_dir(&name, uid + 1).unwrap_err(), renew(&name, &bin, uid + 1).unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains("belongs to another user") && text.contains("spark.local.dir"), "{text}");
    }
    assert!(name.is_dir(), "it is left to its owner");
    // One of ours that is open to others, as an earlier release made them.
    fs::set_permissions(&name, fs::Permissions::from_mode(0o777)).unwrap();
    own_dir(&name, uid).unwrap();
    assert_eq!(fs::metadata(&name).unwrap().mode() & 0o777, 0o700);
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(own_dir(&file, uid).unwrap_err().to_string().contains("no directory"));
}

#[test]
fn a_work_directory_that_somebody_removed_is_made_again_and_stays_this_workers() {
    let (base, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, locals) = (base.path().join("work"), [local.path().to_owned()]);
    let dir = WorkDir::open(&root, &locals, Cleanup::default()).unwrap();
    let before = dir.create_executor(&key("app-1")).unwrap();
    fs::remove_dir_all(&root).unwrap();
    fs::remove_dir_all(local.path()).unwrap();
    dir.remove_executor(&key("app-1"), false);
    let after = dir.create_executor(&key("app-2")).unwrap();
    assert!(after.registered.exists() && after.work.is_dir() && after.blocks[0].is_dir() && !before.work.exists());
    assert!(WorkDir::open(&root, &locals, Cleanup::default()).is_err(), "two workers in one directory");
    fs::write(after.blocks[0].join("shuffle_0_0"), "x").unwrap();
    fs::remove_dir_all(&root).unwrap();
    drop(dir); // without a word, as kill -9 does
    WorkDir::open(&root, &locals, Cleanup::default()).unwrap();
    assert!(!after.blocks[0].exists(), "what it has left is found by the next one");
}

#[test]
fn the_next_start_removes_what_a_killed_worker_has_left_but_no_output() {
    let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let locals = [local.path().to_owned()];
    let first = WorkDir::open(work.path(), &locals, Cleanup::default()).unwrap();
    let dirs = first.create_executor(&key("app-1")).unwrap();
    fs::write(dirs.work.join("stderr"), "it was so").unwrap();
    fs::write(dirs.blocks[0].join("shuffle_0_0"), "x").unwrap();
    drop(first); // without a word, as kill -9 does
    WorkDir::open(work.path(), &locals, Cleanup::default()).unwrap();
    assert!(!dirs.blocks[0].exists() && !dirs.registered.exists());
    assert!(dirs.work.join("stderr").exists());
}

#[test]
fn an_executors_blocks_go_with_it_and_its_output_stays() {
    let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = WorkDir::open(work.path(), &[local.path().to_owned()], Cleanup::default()).unwrap();
    let dirs = dir.create_executor(&key("app-1")).unwrap();
    fs::write(dirs.blocks[0].join("shuffle_0_0"), "x").unwrap();
    dir.remove_executor(&key("app-1"), false);
    assert!(!dirs.blocks[0].exists() && !dirs.registered.exists() && dirs.work.exists());
    dir.remove_application(&key("app-1").app_id);
    assert!(!dirs.blocks[0].parent().unwrap().exists());
    dir.close();
    assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0);
}

/// Files so many that to delete them takes longer than the rest of the test.
fn many_files(dir: &Path) {
    for n in 0..2000 {
        fs::write(dir.join(n.to_string()), "x").unwrap();
    }
}

#[test]
fn nobody_waits_for_files_to_be_deleted_and_none_is_forgotten() {
    let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = WorkDir::open(work.path(), &[local.path().to_owned()], Cleanup::default()).unwrap();
    let dirs = dir.create_executor(&key("app-1")).unwrap();
    many_files(&dirs.blocks[0]);
    dir.remove_executor(&key("app-1"), false);
    assert!(!dirs.blocks[0].exists(), "it is out of the way");
    // As kill -9 leaves it: with files in use, and files in the trash.
    let next = dir.create_executor(&key("app-2")).unwrap();
    many_files(&next.blocks[0]);
    drop(dir);
    let dir = WorkDir::open(work.path(), &[local.path().to_owned()], Cleanup::default()).unwrap();
    assert!(!next.blocks[0].exists());
    dir.blocks[0].1.settle();
    dir.close();
    assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0);
}

#[test]
fn without_clean_up_after_executors_their_files_stay_until_the_application_ends() {
    let work = tempfile::tempdir().unwrap();
    let rules = Cleanup { after_executor_exit: false, ..Cleanup::default() };
    let dir = WorkDir::open(work.path(), &[], rules).unwrap();
    let dirs = dir.create_executor(&key("app-1")).unwrap();
    dir.remove_executor(&key("app-1"), false);
    assert!(dirs.blocks[0].exists());
    dir.remove_application(&key("app-1").app_id);
    assert!(!dirs.blocks[0].exists());
}

/// The applications whose output is there.
fn kept(work: &Path) -> Vec<String> {
    let names = fs::read_dir(work).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn output_goes_when_it_is_old_or_too_much_but_not_that_of_what_runs_nor_what_is_not_ours() {
    let work = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let rules = Cleanup { app_data_ttl: 7 * day, retained_executors: 2, ..Cleanup::default() };
    fs::create_dir(work.path().join("mine")).unwrap();
    let dir = WorkDir::open(work.path(), &[], rules).unwrap();
    for n in 0..4 {
        let app_id = format!("app-{n}");
        fs::write(dir.create_executor(&key(&app_id)).unwrap().work.join("stderr"), "it was so").unwrap();
        if n < 3 {
            dir.remove_application(&key(&app_id).app_id);
            let entry = File::options().write(true).open(work.path().join(".applications").join(&app_id)).unwrap();
            entry.set_modified(SystemTime::now() - (3 - n) * day).unwrap();
        }
    }
    dir.sweep();
    assert_eq!(kept(work.path()), ["app-1", "app-2", "app-3", "mine"], "the oldest is one too many");
    dir.outputs.sweep(SystemTime::now() + 5 * day + Duration::from_secs(60));
    assert_eq!(kept(work.path()), ["app-2", "app-3", "mine"]);
    // Another worker in the same directory, after a kill -9.
    drop(dir);
    let dir = WorkDir::open(work.path(), &[], rules).unwrap();
    dir.outputs.sweep(SystemTime::now() + 100 * day);
    assert_eq!(kept(work.path()), ["mine"]);
    let rules = Cleanup { enabled: false, ..rules };
    drop(dir);
    let dir = WorkDir::open(work.path(), &[], rules).unwrap();
    dir.create_executor(&key("app-9")).unwrap();
    dir.remove_application(&key("app-9").app_id);
    dir.outputs.sweep(SystemTime::now() + 100 * day);
    assert_eq!(kept(work.path()), ["app-9", "mine"]);
}
