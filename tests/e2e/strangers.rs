//! What strangers do at the ports of a cluster, and what can be seen of the processes that they do it to.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use firesteel::prelude::*;
use firesteel_rpc::{Role, Security, Transport, handshake::blocking};

/// The service of block ports.
pub const BLOCKS: &str = "firesteel.blocks";
/// Connections that the silent and the slow hold open at each port.
const HELD: usize = 150;
/// Connections that the idle try to hold open at each port: more than there may be.
const IDLE: usize = 300;

/// What a process has of the things that an attack could use up.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub descriptors: usize,
    pub threads: usize,
    pub resident_mb: usize,
    /// Time on a processor since its start, in hundredths of a second.
    pub worked: u64,
}

pub fn use_of(pid: u32) -> Use {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may have blanks.
    let times: Vec<u64> =
        stat.rsplit_once(')').unwrap().1.split_whitespace().skip(12).take(2).flat_map(str::parse).collect();
    Use { descriptors, threads: field("Threads:"), resident_mb: field("VmRSS:") >> 10, worked: times.iter().sum() }
}

/// The local and remote ports of a process's TCP sockets in this state.
pub fn sockets(pid: u32, state: &str) -> Vec<(u16, u16)> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let ours: Vec<String> =
        links.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned())).collect();
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':').unwrap().1, 16).unwrap();
    let sockets = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let found = fields[3] == state && ours.contains(&format!("socket:[{}]", fields[9]));
        found.then(|| (port(fields[1]), port(fields[2])))
    });
    sockets.collect()
}

/// The TCP ports on which a process listens.
pub fn ports(pid: u32) -> Vec<u16> {
    sockets(pid, "0A").into_iter().map(|(local, _)| local).collect()
}

pub fn connect(port: u16) -> io::Result<TcpStream> {
    // Not for ever at a port where nobody accepts, as at a worker's place.
    let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    Ok(stream)
}

/// A request with a frame of gRPC that says it has four megabytes, of which all but the end follows.
fn unfinished_frame(path: &str) -> Vec<u8> {
    let mut headers = vec![0x83, 0x86, 0x04, path.len() as u8];
    headers.extend_from_slice(path.as_bytes());
    headers.extend_from_slice(b"\x01\x01x\x0f\x10\x10application/grpc\x00\x02te\x08trailers");
    let frame = |kind: u8, flags: u8, stream: u8, body: &[u8]| {
        let length = (body.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], body].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 4, 1, &headers));
    bytes.extend(frame(0, 0, 1, &[&[0, 0, 0x3f, 0xff, 0xff][..], &[7; 16_000]].concat()));
    for _ in 0..250 {
        bytes.extend(frame(0, 0, 1, &[7; 16_000]));
    }
    bytes
}

/// Comes and goes: garbage of several kinds. What the connection does with it is the server's affair.
pub fn garbage(port: u16, round: u64) {
    let Ok(mut stream) = connect(port) else { return };
    let bytes: Vec<u8> = match round % 4 {
        0 => (0..4096).map(|i: u64| (i.wrapping_mul(round).wrapping_mul(0x9e37_79b9) >> 7) as u8).collect(),
        1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        2 => vec![0xff; 64],
        _ => unfinished_frame(
            ["/firesteel.deploy.Deploy/Connect", "/firesteel.executor.Driver/Connect"][round as usize / 4 % 2],
        ),
    };
    // Fails where the server has had enough.
    let _ = stream.write_all(&bytes);
}

/// Holds connections open at a port: half of them silent, half with a byte now and then. New ones replace those that the
/// server closes.
pub fn hold(port: u16, stop: &AtomicBool) {
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while held.len() < HELD {
            match connect(port) {
                Ok(stream) => held.push(stream),
                Err(_) => break,
            }
        }
        let mut number = 0;
        held.retain_mut(|stream| {
            number += 1;
            number % 2 == 0 || stream.write_all(&[1]).is_ok()
        });
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A job whose answer is known; how long it took.
pub fn job(sc: &Context) -> Duration {
    job_of(sc, 8_000)
}

/// The same over so many rows, a multiple of 100.
pub fn job_of(sc: &Context, rows: u64) -> Duration {
    let began = Instant::now();
    let sums = sc.partitioned(4).range(0..rows).map(|x| (x % 100, x)).partitioned(4).reduce_by_key(|a, b| a + b);
    let mut got = sums.collect().unwrap();
    got.sort_unstable();
    let n = rows / 100;
    let expected: Vec<(u64, u64)> = (0..100).map(|k| (k, n * k + 100 * (n * (n - 1) / 2))).collect();
    assert_eq!(got, expected);
    began.elapsed()
}

/// How many rows make a job that takes a fifth of a second here, in this build.
pub fn rows_of_a_long_job(sc: &Context) -> u64 {
    let mut rows = 1_000_000;
    while job_of(sc, rows) < Duration::from_millis(200) && rows < 1 << 32 {
        rows *= 2;
    }
    rows
}

/// Comes with what passes for a good handshake where there is no secret, and then asks for nothing. The oldest go only when
/// they are many more than there may be.
pub fn idle_at_blocks(port: u16, app_id: &str, stop: &AtomicBool) {
    let mut idle = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..10 {
            let Ok(mut stream) = connect(port) else { continue };
            // A server that is under attack may close it before.
            if blocking::open(&mut stream, BLOCKS, Role::Executor, app_id, &Security::none()).is_ok() {
                idle.push_back(stream);
            }
        }
        idle.drain(..idle.len().saturating_sub(IDLE));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same at a port of control streams, under a name with a path and a line of its own.
pub async fn idle_at_control(addr: String, app_id: Option<String>, came: &AtomicU64, stop: &AtomicBool) {
    let mut idle = VecDeque::new();
    let transport = Transport::default().connecting_within(Duration::from_secs(20));
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..10 {
            // A server that is under attack may close it before.
            match &app_id {
                Some(app_id) => {
                    let stream = transport.connect_driver(&addr, app_id).await;
                    came.fetch_add(stream.is_ok().into(), Ordering::Relaxed);
                    idle.extend(stream.map(|duplex| (Some(duplex), None)));
                }
                None => {
                    let stream = transport.connect_master(&addr, Role::Client, "").await;
                    came.fetch_add(stream.is_ok().into(), Ordering::Relaxed);
                    idle.extend(stream.map(|duplex| (None, Some(duplex))));
                }
            }
        }
        idle.drain(..idle.len().saturating_sub(IDLE));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
