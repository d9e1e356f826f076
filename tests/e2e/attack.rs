//! Strangers attack every port of a cluster over real sockets, for a few seconds, while jobs run.
//!
//! What decides: the jobs' answers, that nobody came in, and that descriptors, threads and memory of every process stay
//! bounded during the attack and come back after it. The longest time of a job is printed beside that of a quiet cluster.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use firesteel::prelude::*;
use firesteel_rpc::{Role, Secret, connect_driver, connect_master, handshake::blocking};

use crate::cluster::{Cluster, executor_pids, wait_for};

const SECRET: &str = "e2e-7f3a9c1e5b8d2460";
const BLOCKS: &str = "firesteel.blocks";
const ATTACK: Duration = Duration::from_secs(4);
/// Connections that the silent and the slow hold open at each port.
const HELD: usize = 150;

/// What a process has of the things that an attack could use up.
#[derive(Clone, Copy, Debug)]
struct Use {
    descriptors: usize,
    threads: usize,
    resident_mb: usize,
}

fn use_of(pid: u32) -> Use {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Use { descriptors, threads: field("Threads:"), resident_mb: field("VmRSS:") >> 10 }
}

/// The local and remote ports of a process's TCP sockets in this state.
fn sockets(pid: u32, state: &str) -> Vec<(u16, u16)> {
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
fn ports(pid: u32) -> Vec<u16> {
    sockets(pid, "0A").into_iter().map(|(local, _)| local).collect()
}

fn connect(port: u16) -> io::Result<TcpStream> {
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
fn garbage(port: u16, round: u64) {
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
fn hold(port: u16, stop: &AtomicBool) {
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

/// Writes down what goes out.
struct Recording {
    stream: TcpStream,
    sent: Vec<Vec<u8>>,
}

impl Read for Recording {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.push(bytes.to_vec());
        self.stream.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Who may not come in at a port of blocks does not, whatever it shows.
fn tries_at_blocks(port: u16, app_id: &str) {
    let secret = Secret::from_bytes(SECRET);
    let key = secret.app_key(app_id);
    let other = secret.app_key("app-other");
    let guess = Secret::from_bytes("guess");
    for wrong in [None, Some(&guess), Some(&other), Some(&secret)] {
        let open = |app_id: &str| blocking::open(&mut connect(port).unwrap(), BLOCKS, Role::Executor, app_id, wrong);
        assert!(open(app_id).is_err(), "a stranger came in at port {port}");
        assert!(open("../../etc\nINFO all is well").is_err());
    }
    // The right key opens; what was said then opens no other connection.
    let mut recording = Recording { stream: connect(port).unwrap(), sent: Vec::new() };
    blocking::open(&mut recording, BLOCKS, Role::Executor, app_id, Some(&key)).unwrap();
    let mut replay = connect(port).unwrap();
    replay.write_all(&recording.sent[0]).unwrap();
    let mut length = [0; 4];
    replay.read_exact(&mut length).unwrap();
    let mut challenge = vec![0; u32::from_le_bytes(length) as usize];
    replay.read_exact(&mut challenge).unwrap();
    replay.write_all(&recording.sent[1]).unwrap();
    let mut answer = Vec::new();
    replay.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("the secrets of the two sides differ"), "{answer:?}");
}

async fn tries_at_control(master: &str, driver: &str, app_id: &str) {
    let patience = Duration::from_secs(20);
    let (secret, guess) = (Secret::from_bytes(SECRET), Secret::from_bytes("guess"));
    for wrong in [None, Some(&guess), Some(&secret.app_key(app_id))] {
        for role in [Role::Worker, Role::Driver, Role::Client] {
            assert!(connect_master(master, role, "../x\nINFO", wrong, patience).await.is_err());
        }
    }
    for wrong in [None, Some(&guess), Some(&secret), Some(&secret.app_key("app-other"))] {
        assert!(connect_driver(driver, app_id, wrong, patience).await.is_err());
    }
    assert!(connect_driver(driver, "app-other", Some(&secret.app_key("app-other")), patience).await.is_err());
}

/// A job whose answer is known; how long it took.
fn job(sc: &Context) -> Duration {
    let began = Instant::now();
    let sums = sc.range_n(0..8_000u64, 4).map(|x| (x % 100, x)).reduce_by_key_n(4, |a, b| a + b);
    let mut got = sums.collect().unwrap();
    got.sort_unstable();
    let expected: Vec<(u64, u64)> = (0..100).map(|k| (k, (0..80).map(|i| k + 100 * i).sum())).collect();
    assert_eq!(got, expected);
    began.elapsed()
}

#[test]
fn strangers_use_nothing_up_and_disturb_no_job() {
    let defaults = format!(
        "spark.authenticate.secret {SECRET}\nspark.shuffle.service.enabled true\nspark.shuffle.service.port 0\n"
    );
    let cluster = Cluster::configured(2, 1, &defaults);
    let context = cluster.context().set("spark.authenticate.secret", SECRET);
    let sc = context.set("spark.shuffle.readHostLocalDisk", false).build().unwrap();
    let executors = executor_pids(&sc, &cluster.board("pids"), 2);
    let quiet = (0..10).map(|_| job(&sc)).max().unwrap();

    let mut daemons = vec![cluster.master.pid()];
    daemons.extend(cluster.workers.iter().map(|worker| worker.pid()));
    daemons.extend(executors);
    let before: Vec<Use> = daemons.iter().map(|pid| use_of(*pid)).collect();
    // A worker listens at its place in the cluster, where nobody accepts, and at its shuffle service.
    let answers = |port: &u16| {
        let mut stream = connect(*port).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        stream.write_all(&[0; 4]).unwrap();
        stream.read(&mut [0; 64]).is_ok()
    };
    let places: Vec<u16> = daemons[1..3].iter().flat_map(|pid| ports(*pid)).collect();
    let services: Vec<u16> = places.iter().copied().filter(answers).collect();
    assert_eq!(services.len(), 2, "one shuffle service a worker: {places:?}");
    // The driver is this process, in which other tests may run drivers of their own: ours is where its executors called.
    let called: Vec<u16> = sockets(daemons[3], "01").into_iter().map(|(_, remote)| remote).collect();
    let driver: Vec<u16> = ports(std::process::id()).into_iter().filter(|port| called.contains(port)).collect();
    assert!(!driver.is_empty(), "an executor has a stream to its driver: {called:?}");
    let served: Vec<u16> = daemons.iter().flat_map(|pid| ports(*pid)).chain(driver.clone()).collect();
    let served: Vec<u16> =
        served.into_iter().filter(|port| services.contains(port) || !places.contains(port)).collect();
    assert!(served.len() >= 6, "the ports of a cluster: {served:?}");

    let (stop, attempts) = (AtomicBool::new(false), AtomicU64::new(0));
    let (longest, during) = std::thread::scope(|scope| {
        let stop = &stop;
        for &port in &served {
            scope.spawn(move || hold(port, stop));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let round = attempts.fetch_add(1, Ordering::Relaxed);
                    garbage(served[round as usize % served.len()], round / served.len() as u64);
                }
            });
        }
        let began = Instant::now();
        let (mut longest, mut jobs) = (Duration::ZERO, 0);
        while began.elapsed() < ATTACK || jobs < 3 {
            longest = longest.max(job(&sc));
            jobs += 1;
        }
        let during: Vec<Use> = daemons.iter().map(|pid| use_of(*pid)).collect();
        stop.store(true, Ordering::Relaxed);
        println!("{jobs} jobs beside the attack");
        (longest, during)
    });
    println!(
        "longest job: {longest:?} beside {} attempts, {quiet:?} without; before {before:?}, during {during:?}",
        attempts.load(Ordering::Relaxed)
    );
    for (before, during) in before.iter().zip(&during) {
        // No thread for a stranger; what there is more is for a job's own peers.
        assert!(during.threads <= before.threads + 16, "{before:?} -> {during:?}");
        // 256 strangers at each of at most two ports, and the job's own.
        assert!(during.descriptors <= before.descriptors + 600, "{before:?} -> {during:?}");
        assert!(during.resident_mb < before.resident_mb + 200, "{before:?} -> {during:?}");
    }
    for (pid, before) in daemons.iter().zip(&before) {
        let back = || (use_of(*pid).descriptors <= before.descriptors + 40).then_some(());
        wait_for("the descriptors of strangers to be closed", back);
    }

    let app_id = sc.application_id().to_owned();
    let master = cluster.url.strip_prefix("spark://").unwrap().to_owned();
    let executor_ports = daemons[3..].iter().flat_map(|pid| ports(*pid));
    executor_ports.chain(services).for_each(|port| tries_at_blocks(port, &app_id));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for port in driver {
            tries_at_control(&master, &format!("127.0.0.1:{port}"), &app_id).await;
        }
    });
    for daemon in ["master", "worker-0", "worker-1"] {
        let log = fs::read_to_string(cluster.dir.path().join(format!("{daemon}.log"))).unwrap();
        assert!(log.lines().all(|line| !line.starts_with("INFO")), "a stranger wrote a line of the log of {daemon}");
        assert!(log.len() < 1 << 20, "{} bytes of log of {daemon}", log.len());
    }
    job(&sc);
}
