//! What a submitter gets wrong: a clear message, an exit status that is not 0, and nothing left behind.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    cluster::Cluster,
    examples::{example, submit, text},
};

/// Runs `firesteel-submit`, which must fail with a message that has all of `parts`.
fn fails(cluster: &Cluster, args: &[&str], parts: &[&str]) {
    let ran = submit(cluster, args);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success(), "{args:?} succeeded");
    for part in parts {
        assert!(said.contains(part), "{args:?} says nothing of {part:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn file(dir: &Path, name: &str, content: &[u8], mode: u32) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_cannot_work_is_said_clearly() {
    let cluster = Cluster::start(1, 1);
    let (program, text) = (example("wordcount"), text());
    let (program, text, dir) = (program.to_str().unwrap(), text.to_str().unwrap(), cluster.dir.path());
    let master = ["--master", cluster.url.as_str()];
    let with = |more: &[&'static str]| -> Vec<String> {
        master.iter().chain(more).map(|s| (*s).to_owned()).chain([program.to_owned()]).collect()
    };
    let case = |options: &[&'static str], arguments: &[&str], parts: &[&str]| {
        let args = with(options);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        fails(&cluster, &args, parts);
    };

    case(&[], &["/no/such/input"], &["/no/such/input", "does not exist"]);
    let there = dir.join("there");
    fs::create_dir(&there).unwrap();
    case(&[], &[text, there.to_str().unwrap()], &["there", "already exists"]);
    assert!(fs::read_dir(&there).unwrap().next().is_none());
    case(&["--conf", "spark.task.maxFailures=lots"], &[text], &["spark.task.maxFailures", "lots"]);
    case(&["--executor-memory", "much"], &[text], &["much"]);
    case(&["--executor-cores", "0"], &[text], &["0"]);
    case(&["--total-executor-cores", "0"], &[text], &["0"]);

    for (url, part) in
        [("spark://", "spark://"), ("spark://h:x", "spark://h:x"), ("yarn", "yarn"), ("local[0]", "local[0]")]
    {
        fails(&cluster, &["--master", url, program, text], &[part]);
    }

    fails(&cluster, &["/no/such/program"], &["/no/such/program"]);
    let short = file(dir, "short", b"\x7fELF", 0o755);
    fails(&cluster, &[&short], &["short", "not an ELF executable"]);
    let plain = file(dir, "plain", &fs::read(program).unwrap(), 0o644);
    fails(&cluster, &[&plain], &["plain", "permission"]);
    let mut elf = fs::read(program).unwrap();
    elf[18] = 0xb7; // e_machine: AArch64
    let foreign = file(dir, "foreign", &elf, 0o755);
    fails(&cluster, &[&foreign], &["foreign", "aarch64"]);
    let mut elf = fs::read(program).unwrap();
    let interpreter = b"/lib64/ld-linux-x86-64.so.2";
    let at = elf.windows(interpreter.len()).position(|w| w == interpreter).unwrap();
    elf[at + 1] = b'x';
    let lost = file(dir, "lost", &elf, 0o755);
    fails(&cluster, &[&lost], &["lost", "/xib64/ld-linux-x86-64.so.2"]);
}

#[test]
fn a_master_that_is_not_there_is_given_up_by_name() {
    let cluster = Cluster::start(0, 1);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (program, text) = (example("wordcount"), text());
    let url = format!("spark://127.0.0.1:{port}");
    fails(
        &cluster,
        &["--master", &url, program.to_str().unwrap(), text.to_str().unwrap()],
        &[&format!("127.0.0.1:{port}")],
    );
}
