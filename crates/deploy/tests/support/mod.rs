//! What the tests of the scripts share: an installation with directories of its own, and the word count that shows that
//! its cluster works.

#![allow(dead_code, reason = "each test program uses what it needs")]
#![allow(clippy::print_stderr, reason = "a test shows it when it fails")]

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use firesteel_testing::alive;

const PROGRAMS: [&str; 4] = ["firesteel-master", "firesteel-worker", "firesteel-executor", "firesteel-submit"];

/// For `spark-env.sh`: tests run side by side.
pub const FREE_WEB_PORTS: &str = "SPARK_MASTER_WEBUI_PORT=0\nSPARK_WORKER_WEBUI_PORT=0\n";

/// The directory of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where cargo puts the programs.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_firesteel-master")).parent().unwrap()
}

/// A place for configuration, logs and pid files; what was started from it is stopped when it goes.
pub struct Install {
    pub dir: tempfile::TempDir,
    pub port: u16,
    /// Whether the directory is a whole SPARK_HOME, whose scripts are told nothing by the environment.
    home: bool,
}

impl Install {
    /// Runs the workspace's scripts; variables lead them to the directory.
    pub fn new(env: &str) -> Install {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        fs::write(dir.path().join("conf/spark-env.sh"), env).unwrap();
        Install { dir, port: free_port(), home: false }
    }

    /// A SPARK_HOME as an operator has it on each host: the scripts, the programs in libexec, and conf. Only what stands in
    /// conf tells the scripts where things are.
    pub fn home() -> Install {
        let dir = tempfile::tempdir().unwrap();
        for name in ["sbin", "bin", "conf", "libexec"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["sbin", "bin"] {
            for entry in fs::read_dir(root().join(name)).unwrap() {
                let from = entry.unwrap().path();
                fs::copy(&from, dir.path().join(name).join(from.file_name().unwrap())).unwrap();
            }
        }
        for name in PROGRAMS {
            symlink(programs().join(name), dir.path().join("libexec").join(name)).unwrap();
        }
        Install { dir, port: free_port(), home: true }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the configuration directory.
    pub fn conf(&self, name: &str, text: &str) {
        fs::write(self.path("conf").join(name), text).unwrap();
    }

    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(if self.home { self.path(script) } else { root().join(script) });
        for (name, _) in std::env::vars_os() {
            let ours = |name: &str| ["SPARK_", "FIRESTEEL_", "SSH_"].iter().any(|prefix| name.starts_with(prefix));
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        if self.home {
            return command;
        }
        command
            .env("FIRESTEEL_BIN_DIR", programs())
            .env("SPARK_CONF_DIR", self.path("conf"))
            .env("SPARK_LOG_DIR", self.path("logs"))
            .env("SPARK_PID_DIR", self.path("pids"))
            .env("SPARK_WORKER_DIR", self.path("work"))
            .env("SPARK_MASTER_PORT", self.port.to_string())
            .env("SPARK_MASTER_WEBUI_PORT", "0")
            .env("SPARK_WORKER_WEBUI_PORT", "0");
        command
    }

    pub fn run(&self, script: &str, arguments: &[&str]) -> (bool, String) {
        text(&self.command(script).args(arguments).output().unwrap())
    }

    /// Process ids of the daemons that run, by the pid files.
    pub fn pids(&self) -> Vec<u32> {
        self.pids_in("pids")
    }

    /// The same, by the pid files of another directory.
    pub fn pids_in(&self, dir: &str) -> Vec<u32> {
        let Ok(files) = fs::read_dir(self.path(dir)) else { return Vec::new() };
        let files =
            files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "pid"));
        files.map(|path| fs::read_to_string(path).unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
    }

    /// Process ids of everything that runs in one of the install's directories or was given one in its arguments.
    pub fn processes(&self) -> Vec<u32> {
        let dir = self.dir.path().to_str().unwrap();
        let concerns = |pid: &u32| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let names = fs::read(proc.join("cmdline")).unwrap_or_default();
            let place = fs::read_link(proc.join("cwd")).unwrap_or_default();
            alive(*pid) && (String::from_utf8_lossy(&names).contains(dir) || place.starts_with(dir))
        };
        let entries = fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
        entries.filter(concerns).collect()
    }
}

impl Drop for Install {
    fn drop(&mut self) {
        let (stopped, output) = self.run("sbin/stop-all.sh", &[]);
        if !stopped {
            eprintln!("{output}");
        }
    }
}

/// A port that is free now; that nobody takes it before the one it is for does cannot be had, only made likely.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether it succeeded, and all that it said.
pub fn text(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Submits the word count to the master at `url` and compares what it wrote with what the shell counts.
pub fn count_words(install: &Install, url: &str) {
    let program = programs().join("examples/wordcount");
    let (text, out) = (root().join("LICENSE"), install.path("out"));
    let ran = install
        .command("bin/firesteel-submit")
        .args(["--master", url, "--executor-memory", "512m"])
        .args([&program, &text, &out])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(out.join("_SUCCESS").exists());

    let shell = "tr -s '[:space:]' '\\n' < \"$1\" | sed '/^$/d' | sort | uniq -c";
    let shell = Command::new("sh").args(["-c", shell, "sh"]).arg(&text).output().unwrap();
    let counted = |line: &str| {
        let (n, word) = line.trim_start().split_once(' ').unwrap();
        (word.to_owned(), n.parse().unwrap())
    };
    let expected: BTreeMap<String, u64> = String::from_utf8(shell.stdout).unwrap().lines().map(counted).collect();
    assert!(expected.len() > 100);
    assert_eq!(counts_in(&out), expected);
}

/// The words of a text with their counts, as `save_as_text_file` wrote them.
fn counts_in(out: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let (word, n) = line[1..line.len() - 1].rsplit_once(',').unwrap();
            assert_eq!(counts.insert(word.to_owned(), n.parse::<u64>().unwrap()), None, "{word} twice");
        }
    }
    counts
}
