//! A network of its own for each worker, joined by a bridge, so that a worker's link can be taken down.
//!
//! Needs root and `ip` (iproute2) with the kernel's namespaces and bridges. Without them everything is on the loopback
//! address, no link is cut, and the run says so.

use std::process::{Command, Stdio};

/// The networks; they go with this value.
pub struct Network {
    name: String,
    subnet: String,
    workers: usize,
}

fn ip(arguments: &str) -> Result<(), String> {
    let command = format!("ip {arguments}");
    let output = Command::new("ip").args(arguments.split(' ')).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{command}: {e}; install iproute2"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command}: {}", said.trim())) }
}

impl Network {
    /// Makes the networks; the error says what is missing.
    pub fn new(workers: usize) -> Result<Network, String> {
        if !nix::unistd::Uid::effective().is_root() {
            return Err("links are cut in network namespaces, which need root".to_owned());
        }
        remove_abandoned();
        let pid = std::process::id();
        let network = Network {
            name: format!("fsc{pid}"),
            subnet: format!("10.{}.{}", 128 + pid / 256 % 100, pid % 256),
            workers,
        };
        let Network { name, subnet, .. } = &network;
        ip(&format!("link add name {name} type bridge"))?;
        ip(&format!("addr add {subnet}.1/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        for n in 0..workers {
            let (inside, outside) = (format!("{name}w{n}"), format!("{name}v{n}"));
            ip(&format!("netns add {inside}"))?;
            ip(&format!("link add {outside} type veth peer name eth0 netns {inside}"))?;
            ip(&format!("link set {outside} master {name}"))?;
            ip(&format!("link set {outside} up"))?;
            ip(&format!("-n {inside} addr add {subnet}.{}/24 dev eth0", n + 10))?;
            ip(&format!("-n {inside} link set eth0 up"))?;
            ip(&format!("-n {inside} link set lo up"))?;
        }
        Ok(network)
    }

    /// The address of master and driver.
    pub fn host(&self) -> String {
        format!("{}.1", self.subnet)
    }

    /// The address of a worker.
    pub fn address(&self, worker: usize) -> String {
        format!("{}.{}", self.subnet, worker + 10)
    }

    /// A command that runs in the network of a worker, as the same process.
    pub fn command(&self, worker: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}w{worker}", self.name), program]);
        command
    }

    /// Cuts a worker off, or joins it again.
    pub fn set(&self, worker: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&format!("link set {}v{worker} {state}", self.name)).expect("the link of a worker");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for n in 0..self.workers {
            // The pair of interfaces goes with the namespace.
            let _ = ip(&format!("netns del {}w{n}", self.name));
            let _ = ip(&format!("link del {}v{n}", self.name));
        }
        let _ = ip(&format!("link del {}", self.name));
    }
}

/// What a killed run has left.
fn remove_abandoned() {
    let Ok(listed) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for name in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
        let Some((pid, worker)) = name.strip_prefix("fsc").and_then(|rest| rest.split_once('w')) else { continue };
        if worker.parse::<u32>().is_ok() && pid.parse().is_ok_and(|pid| !firesteel_testing::alive(pid)) {
            let _ = ip(&format!("netns del {name}"));
            let _ = ip(&format!("link del fsc{pid}"));
        }
    }
}
