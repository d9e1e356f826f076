//! Facts about this host and about the memory of a process.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
};

/// Differs for every boot of every host: two processes with the same one see the same `/proc`, unless containers
/// part them.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The host's own name.
pub fn host_name() -> io::Result<String> {
    let name = nix::unistd::gethostname()?;
    name.into_string().map_err(|name| io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is no UTF-8")))
}

/// The address under which other hosts most likely reach this one: that of the interface with the default route, or
/// 127.0.0.1 when there is none. No packet is sent.
pub fn local_address() -> IpAddr {
    // Connecting a UDP socket only looks up the route. The addresses are reserved for documentation.
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")]
        .into_iter()
        .find_map(|(from, to)| {
            let socket = UdpSocket::bind(from).ok()?;
            socket.connect(to).ok()?;
            socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
        })
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// How many threads this process may run at once, by affinity and cgroup quota.
pub fn cores() -> io::Result<usize> {
    std::thread::available_parallelism().map(usize::from)
}

/// The memory of the host, or the limit of this process's cgroup (version 2) when that is smaller, in bytes.
pub fn total_memory() -> io::Result<u64> {
    let host = kibibytes("/proc/meminfo", "MemTotal")?;
    // No cgroup, version 1, or "max": then the host's memory counts.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    Ok(limit.map_or(host, |limit| host.min(limit)))
}

/// How many processes of this host the kernel has killed since its boot because memory ran out, the host's or a
/// cgroup's.
pub fn out_of_memory_kills() -> io::Result<u64> {
    let path = "/proc/vmstat";
    let text = fs::read_to_string(path).map_err(|e| io::Error::new(e.kind(), format!("cannot read {path}: {e}")))?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} has no line oom_kill")))
}

/// Resident memory of a process, bytes. Pages that it shares with others count in full.
pub fn rss(pid: u32) -> io::Result<u64> {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Rss")
}

/// Proportional resident memory of a process, bytes: a page shared by n processes counts as 1/n.
pub fn pss(pid: u32) -> io::Result<u64> {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Pss")
}

/// The line `key: <n> kB` of a file in `/proc`, in bytes.
fn kibibytes(path: &str, key: &str) -> io::Result<u64> {
    let text = fs::read_to_string(path).map_err(|e| io::Error::new(e.kind(), format!("cannot read {path}: {e}")))?;
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} has no line {key:?} in kB")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tells_its_facts() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert!(boot_id().unwrap().len() >= 32);
        assert!(!host_name().unwrap().is_empty());
        assert!(!local_address().is_unspecified());
        assert!(cores().unwrap() >= 1);
        assert!(total_memory().unwrap() > 1 << 20);
        assert!(out_of_memory_kills().unwrap() <= out_of_memory_kills().unwrap());
    }

    #[test]
    fn memory_of_a_process_is_read_and_of_none_is_an_error() {
        let me = std::process::id();
        let (rss, pss) = (rss(me).unwrap(), pss(me).unwrap());
        assert!(pss > 0 && rss >= pss / 2, "{rss} {pss}");
        assert!(super::rss(u32::MAX).unwrap_err().to_string().contains("smaps_rollup"));
    }
}
