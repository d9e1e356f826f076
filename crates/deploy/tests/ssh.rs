//! The scripts with workers on other hosts: the way through ssh, to a server that the test starts for itself.
//!
//! The hosts are addresses of the loopback network, so that one machine is several. What ssh tells a session about its
//! connection is all that parts them; by it, conf/spark-env.sh gives each its own directories, as it would for hosts that
//! share a file system.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper of a test fails as the test does"
)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use firesteel_testing::alive;
use support::{FREE_WEB_PORTS, Install, count_words, free_port, text};

/// Names of hosts and the addresses at which the server listens.
const NODES: [(&str, &str); 2] = [("node-a", "127.0.0.2"), ("node-b", "127.0.0.3")];

/// An ssh server of this user alone, with its keys; ends with the test.
struct Sshd {
    dir: tempfile::TempDir,
    child: Child,
}

impl Sshd {
    fn start() -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        if nix::unistd::geteuid().is_root() {
            // Where a server that runs as root locks its unprivileged part in.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        for name in ["host_key", "client_key"] {
            let made = Command::new(program("ssh-keygen"))
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &path(name)])
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", text(&made).1);
        }
        fs::copy(path("client_key.pub"), path("authorized_keys")).unwrap();
        let port = free_port();
        let mut server = format!(
            "Port {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             PermitUserEnvironment no\nPermitUserRC no\nPrintMotd no\nMaxStartups 100\n",
            path("host_key"),
            path("authorized_keys")
        );
        // The last host's address is one at which nobody listens.
        let mut client = "Host node-down\n  HostName 127.0.0.4\n".to_owned();
        for (name, address) in NODES {
            server += &format!("ListenAddress {address}\n");
            client += &format!("Host {name}\n  HostName {address}\n");
        }
        client += &format!(
            "Host *\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  BatchMode yes\n  \
             StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  GlobalKnownHostsFile /dev/null\n  LogLevel ERROR\n",
            path("client_key")
        );
        fs::write(path("sshd_config"), server).unwrap();
        fs::write(path("ssh_config"), client).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new(program("sshd"))
            .args(["-D", "-e", "-f", &path("sshd_config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut sshd = Sshd { dir, child };
        sshd.wait_ready(port);
        sshd
    }

    fn wait_ready(&mut self, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for (_, address) in NODES {
            while !greets(address, port) {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none() && Instant::now() < deadline, "no ssh server at {address}: {}", self.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the ssh server said:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an ssh server answers there.
fn greets(address: &str, port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((address, port)) else { return false };
    let mut line = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("SSH-2.0")
}

/// The whole path of a program of OpenSSH: its server insists on it, and is often not in an ordinary user's PATH.
fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/sbin"]).map(|dir| Path::new(dir).join(name));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("{name} is missing: install OpenSSH"))
}

/// A SPARK_HOME that all hosts share, whose master other hosts can reach.
fn install(sshd: &Sshd, workers: &str) -> (Install, String) {
    let install = Install::home();
    // Another way to write 127.0.0.1, which the scripts take for a name that other hosts know.
    let host = "0x7f000001";
    let mut env = format!(
        "{FREE_WEB_PORTS}SPARK_MASTER_HOST={host}\nSPARK_LOCAL_IP=127.0.0.1\nSPARK_MASTER_PORT={}\nSPARK_WORKER_CORES=1\n\
         SPARK_WORKER_MEMORY=600m\nSPARK_SSH_OPTS='-F {}'\nnode=\n",
        install.port,
        sshd.dir.path().join("ssh_config").display()
    );
    for (name, address) in NODES {
        env += &format!("case \"${{SSH_CONNECTION:-}}\" in *' {address} '*) node={name} ;; esac\n");
    }
    env += "if [ -n \"$node\" ]; then\n  SPARK_PID_DIR=$node/pids SPARK_LOG_DIR=$node/logs SPARK_WORKER_DIR=$node/work\nfi\n";
    install.conf("spark-env.sh", &env);
    install.conf("workers", workers);
    install.conf("secret", "what only these hosts know\n");
    let secret = install.path("conf/secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    install.conf("spark-defaults.conf", &format!("spark.authenticate.secret.file {}\n", secret.display()));
    let url = format!("spark://{}", firesteel_rpc::bind::host_port(host, install.port));
    (install, url)
}

fn registered(output: &str, host: &str, url: &str) -> bool {
    let line = format!("{host}: firesteel-worker-1 is ready: registered with {url}");
    output.lines().any(|l| l == line)
}

#[test]
fn workers_on_other_hosts_are_started_used_and_stopped_through_ssh() {
    let sshd = Sshd::start();
    // The last line has no end, as editors may leave it.
    let (install, url) = install(&sshd, "# two hosts\nnode-a\nnode-b");
    let (started, output) = install.run("sbin/start-all.sh", &[]);
    assert!(started, "{output}");
    let mut pids = install.pids();
    assert_eq!(pids.len(), 1, "the master");
    for (node, _) in NODES {
        assert!(registered(&output, node, &url), "{output}");
        let worker = install.pids_in(&format!("{node}/pids"));
        assert_eq!(worker.len(), 1, "{node}");
        let environment = fs::read(format!("/proc/{}/environ", worker[0])).unwrap();
        assert!(String::from_utf8_lossy(&environment).contains("SSH_CONNECTION="), "{node} was started through ssh");
        pids.extend(worker);
    }
    assert!(pids.iter().copied().all(alive));

    count_words(&install, &url);
    for (node, _) in NODES {
        let dir = install.path(&format!("{node}/work"));
        assert!(fs::read_dir(&dir).unwrap().count() > 0, "no application ran in {}", dir.display());
    }

    let (started, output) = install.run("sbin/start-workers.sh", &[]);
    assert!(!started && output.contains("workers.sh: failed on node-a node-b"), "{output}");
    assert!(output.contains("node-b: spark-daemon.sh: firesteel-worker-1 is already running"), "{output}");

    let (stopped, output) = install.run("sbin/stop-all.sh", &[]);
    assert!(stopped && output.contains("node-a: stopping firesteel-worker-1"), "{output}");
    assert!(!pids.iter().copied().any(alive), "{output}");
    assert_eq!(install.processes(), [0; 0]);
}

#[test]
fn a_host_that_cannot_be_reached_is_named_and_the_others_are_served() {
    let sshd = Sshd::start();
    let (install, url) = install(&sshd, "node-down\nnode-b\n");
    let (started, output) = install.run("sbin/start-all.sh", &[]);
    assert!(!started && output.contains("node-down: ssh: connect to host 127.0.0.4"), "{output}");
    assert!(output.ends_with("workers.sh: failed on node-down\n"), "{output}");
    assert!(registered(&output, "node-b", &url), "{output}");

    let (stopped, output) = install.run("sbin/stop-all.sh", &[]);
    assert!(!stopped && output.contains("workers.sh: failed on node-down\n"), "{output}");
    assert_eq!(install.processes(), [0; 0]);
    // What cannot be stopped because it was never there is no matter for the end of the test.
    install.conf("workers", "node-b\n");
}

#[test]
fn a_command_reaches_every_host_word_by_word() {
    let sshd = Sshd::start();
    let (install, _) = install(&sshd, "node-a\nlocalhost\nnode-b\n");
    let words = ["printf", "<%s>\\n", "a b", "it's", "$HOME;*", "two\nlines"];
    for foreground in [false, true] {
        let mut command = install.command("sbin/workers.sh");
        if foreground {
            command.env("SPARK_SSH_FOREGROUND", "yes");
        }
        let (ok, output) = text(&command.args(words).output().unwrap());
        assert!(ok, "{output}");
        for host in ["node-a", "localhost", "node-b"] {
            let lines: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix(host)).collect();
            assert_eq!(lines, [": <a b>", ": <it's>", ": <$HOME;*>", ": <two", ": lines>"], "{output}");
        }
    }
    let (ok, output) = install.run("sbin/workers.sh", &["sh", "-c", "echo \"${SPARK_HOME:-none}\""]);
    assert!(ok && output.contains("node-a: none\n"), "nothing of this side goes over: {output}");
}

#[test]
fn a_master_that_listens_everywhere_is_known_to_workers_by_its_hosts_name() {
    let sshd = Sshd::start();
    let (install, _) = install(&sshd, "node-a\nlocalhost\n");
    let env = fs::read_to_string(install.path("conf/spark-env.sh")).unwrap();
    install.conf("spark-env.sh", &format!("{env}SPARK_MASTER_HOST=0.0.0.0\n"));
    fs::write(install.path("sbin/start-worker.sh"), "#!/bin/sh\necho \"$PWD $*\"\n").unwrap();
    let (ok, output) = install.run("sbin/start-workers.sh", &["-c", "1"]);
    let name = firesteel_os::host::host_name().unwrap();
    let home = install.dir.path().display();
    for host in ["node-a", "localhost"] {
        let line = format!("{host}: {home} spark://{name}:{} -c 1\n", install.port);
        assert!(ok && output.contains(&line), "{output}");
    }
}

#[test]
fn a_masters_name_that_is_a_loopback_address_is_warned_of() {
    let sshd = Sshd::start();
    let (install, _) = install(&sshd, "node-a\n");
    let env = fs::read_to_string(install.path("conf/spark-env.sh")).unwrap();
    fs::write(install.path("sbin/start-worker.sh"), "#!/bin/sh\n").unwrap();
    // Another way to write 127.0.0.1, which the name alone does not tell.
    install.conf("spark-env.sh", &format!("{env}SPARK_MASTER_HOST=0x7f000001\n"));
    let (ok, output) = install.run("sbin/start-workers.sh", &[]);
    assert!(ok && output.contains("0x7f000001 is 127.0.0.1 on this host, where node-a cannot reach it"), "{output}");
}
