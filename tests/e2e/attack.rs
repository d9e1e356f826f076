//! Strangers attack every port of a cluster over real sockets, for a few seconds, while jobs run.
//!
//! What decides: the jobs' answers, that nobody came in, and that descriptors, threads and memory of every process stay
//! bounded during the attack and come back after it. The longest times of jobs, short and long ones, are printed beside those
//! of a quiet cluster.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use firesteel::prelude::*;
use firesteel_rpc::{
    Role, Secret, Security, Transport,
    checked::decode,
    handshake::blocking,
    proto::auth::{Handshake, handshake::Step},
};
use firesteel_testing::wait_for;

use crate::{
    cluster::{Cluster, executor_pids},
    strangers::{
        BLOCKS, Use, connect, garbage, hold, idle_at_blocks, idle_at_control, job, job_of, ports, rows_of_a_long_job,
        sockets, use_of,
    },
};

const SECRET: &str = "e2e-7f3a9c1e5b8d2460";
const ATTACK: Duration = Duration::from_secs(4);
/// More come at each port of control streams than may stay without registering, and so often that the oldest go.
const NEWCOMERS: u64 = 600;

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
    let cluster = Security::from(Secret::from_bytes(SECRET));
    let application = cluster.of_application(app_id);
    let guess = Security::from(Secret::from_bytes("guess"));
    for wrong in [&Security::none(), &guess, &cluster.of_application("app-other"), &cluster] {
        let open = |app_id: &str| blocking::open(&mut connect(port).unwrap(), BLOCKS, Role::Executor, app_id, wrong);
        assert!(open(app_id).is_err(), "a stranger came in at port {port}");
        assert!(open("../../etc\nINFO all is well").is_err());
    }
    // The right key opens; what was said then opens no other connection.
    let mut recording = Recording { stream: connect(port).unwrap(), sent: Vec::new() };
    blocking::open(&mut recording, BLOCKS, Role::Executor, app_id, &application).unwrap();
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
    // Whoever has proved nothing is given nothing to try guesses against.
    let told = [&challenge[..], &answer[4..]].map(|bytes| decode::<Handshake>(bytes).unwrap().step.unwrap());
    assert!(matches!(&told[0], Step::Challenge(_)), "{told:?}");
    assert!(matches!(&told[1], Step::Verdict(verdict) if verdict.mac.is_empty()), "{told:?}");
}

async fn tries_at_control(master: &str, driver: &str, app_id: &str) {
    let showing = |secret: &str| Transport::new(Secret::from_bytes(secret)).connecting_within(Duration::from_secs(20));
    let (cluster, guess) = (showing(SECRET), showing("guess"));
    let other = cluster.of_application("app-other");
    for wrong in [&Transport::default(), &guess, &cluster.of_application(app_id)] {
        for role in [Role::Worker, Role::Driver, Role::Client] {
            assert!(wrong.connect_master(master, role, "../x\nINFO").await.is_err());
        }
    }
    for wrong in [&Transport::default(), &guess, &cluster, &other] {
        assert!(wrong.connect_driver(driver, app_id).await.is_err());
    }
    assert!(other.connect_driver(driver, "app-other").await.is_err());
}

/// A cluster of two workers with shuffle services, a driver and two executors, and where they listen.
struct Attacked {
    // Stopped before its cluster.
    sc: Context,
    cluster: Cluster,
    /// Master, workers, executors.
    daemons: Vec<u32>,
    services: Vec<u16>,
    executors: Vec<u16>,
    /// The driver's ports: that of its executors' streams, and that of its blocks.
    driver: Vec<u16>,
    driver_blocks: Vec<u16>,
}

impl Attacked {
    fn start(secret: Option<&str>) -> Attacked {
        let mut defaults = "spark.shuffle.service.enabled true\nspark.shuffle.service.port 0\n".to_owned();
        let secret = secret.map(|secret| format!("spark.authenticate.secret {secret}\n"));
        defaults.extend(secret);
        let cluster = Cluster::configured(2, 1, &defaults);
        let mut context = cluster.context().set("spark.shuffle.readHostLocalDisk", false);
        if defaults.contains("secret") {
            context = context.set("spark.authenticate.secret", SECRET);
        }
        let sc = context.build().unwrap();
        let executors = executor_pids(&sc, &cluster.board("pids"), 2);
        // Executors fetch it from the driver's block server.
        let value = sc.broadcast(vec![7u8; 1 << 20]).unwrap();
        let sizes =
            sc.partitioned(8).range(0..8u64).with(value).map(|value, _| value.value().len() as u64).collect().unwrap();
        assert_eq!(sizes, [1 << 20; 8]);
        let mut daemons = vec![cluster.master.pid()];
        daemons.extend(cluster.workers.iter().map(|worker| worker.pid()));
        daemons.extend(executors);
        // A worker listens at its place in the cluster, where nobody accepts, at its web port and at its shuffle service.
        let services: Vec<u16> = daemons[1..3].iter().flat_map(|pid| ports(*pid)).filter(answers_blocks).collect();
        assert_eq!(services.len(), 2, "one shuffle service a worker");
        // The driver is this process, in which other tests may run drivers of their own: ours is where its executors called.
        let called: Vec<u16> =
            daemons[3..].iter().flat_map(|pid| sockets(*pid, "01")).map(|(_, remote)| remote).collect();
        let driver = ports(std::process::id()).into_iter().filter(|port| called.contains(port));
        let (driver_blocks, driver): (Vec<u16>, Vec<u16>) = driver.partition(answers_blocks);
        assert!(
            !driver.is_empty() && !driver_blocks.is_empty(),
            "executors call their driver at two ports: {called:?}"
        );
        let executors = daemons[3..].iter().flat_map(|pid| ports(*pid)).collect();
        Attacked { cluster, sc, daemons, services, executors, driver, driver_blocks }
    }

    fn blocks(&self) -> impl Iterator<Item = u16> {
        self.services.iter().chain(&self.executors).chain(&self.driver_blocks).copied()
    }

    fn master(&self) -> String {
        self.cluster.url.strip_prefix("spark://").unwrap().to_owned()
    }

    /// Every port at which somebody accepts.
    fn served(&self) -> Vec<u16> {
        let port = |address: &str| address.rsplit_once(':').unwrap().1.parse().unwrap();
        let web = ["master", "worker-0", "worker-1"].map(|daemon| port(&self.cluster.web(daemon)));
        self.blocks().chain(self.driver.iter().copied()).chain([port(&self.master())]).chain(web).collect()
    }
}

/// Whether a block server is there: it says what is wrong with a first message of no bytes.
fn answers_blocks(port: &u16) -> bool {
    let mut stream = connect(*port).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(&[0; 4]).unwrap();
    let mut answer = Vec::new();
    // A stream of HTTP/2 says something else, or closes; one where nobody accepts says nothing.
    _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).contains("does not speak Firesteel's protocol")
}

/// The longest times of jobs.
#[derive(Default)]
struct Longest {
    jobs: u64,
    short: Duration,
    long: Duration,
}

impl Longest {
    /// Runs a long job of so many rows, and then short ones for a while.
    fn run(&mut self, sc: &Context, rows: u64) {
        self.long = self.long.max(job_of(sc, rows));
        for _ in 0..20 {
            self.short = self.short.max(job(sc));
        }
        self.jobs += 21;
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs, the longest of the short ones {:?}, of the long ones {:?}",
            self.jobs, self.short, self.long
        )
    }
}

/// Attacks all of its ports while jobs run.
#[expect(clippy::print_stdout, reason = "the figures of the attack")]
fn attack(attacked: &Attacked, secret: bool) {
    let Attacked { cluster, sc, daemons, .. } = attacked;
    let rows = rows_of_a_long_job(sc);
    let (mut quiet, began) = (Longest::default(), Instant::now());
    while began.elapsed() < ATTACK {
        quiet.run(sc, rows);
    }
    let before: Vec<Use> = daemons.iter().map(|pid| use_of(*pid)).collect();
    let served = attacked.served();
    assert!(served.len() >= 10, "the ports of a cluster: {served:?}");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).on_thread_start(step_back).enable_all().build().unwrap();
    let (stop, attempts) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let mut newcomers: Vec<Arc<AtomicU64>> = Vec::new();
    let began = Instant::now();
    let (longest, during) = std::thread::scope(|scope| {
        let stop = &stop;
        for &port in &served {
            scope.spawn(move || {
                step_back();
                hold(port, stop);
            });
        }
        if !secret {
            for (i, port) in attacked.blocks().enumerate() {
                // Services serve every application.
                let app_id = if i < 2 { "app-of-nobody" } else { sc.application_id() };
                scope.spawn(move || {
                    step_back();
                    idle_at_blocks(port, app_id, stop);
                });
            }
            let streams = attacked.driver.iter().map(|port| format!("127.0.0.1:{port}"));
            let streams = streams.map(|addr| (addr, Some(sc.application_id().to_owned())));
            for (addr, app_id) in streams.chain([(attacked.master(), None)]) {
                let (came, stop) = (Arc::new(AtomicU64::new(0)), stop.clone());
                newcomers.push(came.clone());
                runtime.spawn(async move { idle_at_control(addr, app_id, &came, &stop).await });
            }
        }
        for _ in 0..2 {
            scope.spawn(|| {
                step_back();
                while !stop.load(Ordering::Relaxed) {
                    let round = attempts.fetch_add(1, Ordering::Relaxed);
                    garbage(served[round as usize % served.len()], round / served.len() as u64);
                }
            });
        }
        let mut longest = Longest::default();
        let many = || newcomers.iter().all(|came| came.load(Ordering::Relaxed) >= NEWCOMERS);
        while began.elapsed() < ATTACK || longest.jobs < 3 || !many() {
            longest.run(sc, rows);
        }
        let during: Vec<Use> = daemons.iter().map(|pid| use_of(*pid)).collect();
        stop.store(true, Ordering::Relaxed);
        (longest, during)
    });
    runtime.shutdown_timeout(Duration::from_secs(20));
    println!(
        "beside {} attempts: {longest}; without: {quiet}; before {before:?}, during {during:?}",
        attempts.load(Ordering::Relaxed)
    );
    let worked: Vec<u64> = before.iter().zip(&during).map(|(before, during)| during.worked - before.worked).collect();
    println!("time on processors, of master, workers and executors, in hundredths of a second: {worked:?}");
    for (before, during) in before.iter().zip(&during) {
        // No thread for a stranger; what there is more is for a job's own peers.
        assert!(during.threads <= before.threads + 16, "{before:?} -> {during:?}");
        // 256 strangers and 256 who ask for nothing at each process's one port, 64 at its web port, and the job's own.
        assert!(during.descriptors <= before.descriptors + 600, "{before:?} -> {during:?}");
        assert!(during.resident_mb < before.resident_mb + 200, "{before:?} -> {during:?}");
    }
    for (pid, before) in daemons.iter().zip(&before) {
        let back = || (use_of(*pid).descriptors <= before.descriptors + 40).then_some(());
        wait_for("the descriptors of strangers to be closed", back);
    }
    for daemon in ["master", "worker-0", "worker-1"] {
        let log = fs::read_to_string(cluster.dir.path().join(format!("{daemon}.log"))).unwrap();
        assert!(log.lines().all(|line| !line.starts_with("INFO")), "a stranger wrote a line of the log of {daemon}");
        assert!(!log.contains("came back"), "a worker or driver had to go for strangers: {log}");
        assert!(log.len() < 1 << 20, "{} bytes of log of {daemon}", log.len());
    }
    job(sc);
}

/// Gives this attacking thread a lower priority: attackers sit on machines of their own, and what they compute must not
/// count as what they cost the cluster.
fn step_back() {
    rustix::process::nice(5).unwrap();
}

#[test]
fn strangers_use_nothing_up_and_disturb_no_job() {
    let attacked = Attacked::start(Some(SECRET));
    attack(&attacked, true);
    let (master, app_id) = (attacked.master(), attacked.sc.application_id());
    attacked.blocks().for_each(|port| tries_at_blocks(port, app_id));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for port in &attacked.driver {
            tries_at_control(&master, &format!("127.0.0.1:{port}"), app_id).await;
        }
    });
    job(&attacked.sc);
}

#[test]
fn strangers_without_need_of_a_secret_use_nothing_up_and_disturb_no_job() {
    attack(&Attacked::start(None), false);
}
