//! What is done to the cluster: kills, stops, cuts and executors and workers told to leave, chosen from a seed;
//! directories that are removed and disks that get full.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use firesteel::Context;
use firesteel_testing::{Daemon, Signal, signal};

use crate::{cluster::Cluster, disks};

/// Names the master to a driver that will be killed: the environment variable.
pub const DOOMED: &str = "CHAOS_DOOMED_DRIVER";

/// Executors that have not come up yet are spared: two that end alike before that end their application, as they must.
const YOUTH: Duration = Duration::from_millis(2500);

/// What will be undone, and when.
enum Undo {
    Continue(u32),
    LinkUp(usize),
    StartWorker(usize),
    /// After one that leaves, and has gone by then or is killed.
    FollowWorker(usize, Daemon),
    StartMaster,
    KillDriver(u32),
    FreeLocal(usize),
    FreeLogs,
}

pub struct Disturbance {
    random: u64,
    /// Some stops and cuts take longer than any connection's patience.
    long: bool,
    undo: Vec<(Instant, Undo)>,
    executors: usize,
    workers: usize,
    masters: usize,
    drivers: usize,
    stops: usize,
    cuts: usize,
    left: usize,
    left_workers: usize,
    works_gone: usize,
    locals_gone: usize,
    full_locals: usize,
    full_logs: usize,
    /// Workers that were told to leave and ended with another exit status than 0.
    pub bad_ends: usize,
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills: {} executors, {} workers, {} masters, {} drivers; {} processes stopped for a while, {} links cut, {} \
             executors and {} workers told to leave; {} work directories and {} local directories removed, {} local \
             directories and {} log disks full",
            self.kills(),
            self.executors,
            self.workers,
            self.masters,
            self.drivers,
            self.stops,
            self.cuts,
            self.left,
            self.left_workers,
            self.works_gone,
            self.locals_gone,
            self.full_locals,
            self.full_logs
        )
    }
}

impl Disturbance {
    pub fn new(seed: u64, long: bool) -> Disturbance {
        let (undo, random) = (Vec::new(), seed);
        Disturbance {
            random,
            long,
            undo,
            executors: 0,
            workers: 0,
            masters: 0,
            drivers: 0,
            stops: 0,
            cuts: 0,
            left: 0,
            left_workers: 0,
            works_gone: 0,
            locals_gone: 0,
            full_locals: 0,
            full_logs: 0,
            bad_ends: 0,
        }
    }

    pub fn kills(&self) -> usize {
        self.executors + self.workers + self.masters + self.drivers
    }

    /// What was killed or told to leave.
    pub fn struck(&self) -> usize {
        self.kills() + self.left + self.left_workers
    }

    /// Splitmix64.
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// Until the next strike.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(300 + self.below(2200))
    }

    fn later(&mut self, undo: Undo, from_ms: u64, to_ms: u64) {
        let after = Duration::from_millis(from_ms + self.below(to_ms - from_ms));
        self.undo.push((Instant::now() + after, undo));
    }

    /// Mostly short; in a long run sometimes longer than a connection's keep-alive.
    fn a_while(&mut self, undo: Undo) {
        if self.long && self.below(10) == 0 { self.later(undo, 35_000, 45_000) } else { self.later(undo, 100, 4_000) }
    }

    /// Does something to the cluster.
    pub fn strike(&mut self, cluster: &mut Cluster, sc: &Context) {
        let n = self.below(cluster.workers.len() as u64) as usize;
        match self.below(100) {
            0..12 => self.strike_disks(cluster, n),
            12..38 => {
                if let Some(pid) = self.some_executor(cluster) {
                    println!("kill -9 executor {pid}");
                    self.executors += 1;
                    signal(pid, Signal::SIGKILL);
                }
            }
            38..50 => self.let_leave(sc),
            50..62 => {
                if let Some(pid) = self.some_executor(cluster) {
                    println!("stop executor {pid}");
                    self.stop(pid);
                }
            }
            62..67 => {
                if let Some(worker) = cluster.workers[n].take_if(|w| w.since().elapsed() > YOUTH) {
                    println!("let worker {n} leave");
                    self.left_workers += 1;
                    signal(worker.pid(), Signal::SIGPWR);
                    self.later(Undo::FollowWorker(n, worker), 1_000, 6_000);
                }
            }
            67..76 => {
                if let Some(mut worker) = cluster.workers[n].take_if(|w| w.since().elapsed() > YOUTH) {
                    println!("kill -9 worker {n}");
                    self.workers += 1;
                    worker.kill();
                    self.later(Undo::StartWorker(n), 100, 2_000);
                }
            }
            76..80 => {
                if let Some(worker) = &cluster.workers[n] {
                    println!("stop worker {n}");
                    self.stop(worker.pid());
                }
            }
            80..88 => {
                let cut = self.undo.iter().any(|(_, u)| matches!(u, Undo::LinkUp(c) if *c == n));
                let grown = grown_behind(cluster, n);
                if let Some(network) = cluster.network.as_ref().filter(|_| !cut && grown) {
                    println!("cut the link of worker {n}");
                    self.cuts += 1;
                    network.set(n, false);
                    self.a_while(Undo::LinkUp(n));
                }
            }
            88..93 => {
                if let Some(mut master) = cluster.master.take_if(|m| m.since().elapsed() > YOUTH) {
                    println!("kill -9 master");
                    self.masters += 1;
                    master.kill();
                    self.later(Undo::StartMaster, 100, 2_000);
                }
            }
            93..95 => {
                if let Some(master) = &cluster.master {
                    println!("stop master");
                    self.stop(master.pid());
                }
            }
            _ => self.start_doomed_driver(cluster),
        }
    }

    /// What nobody mends but those whom it strikes, and disks that have room again after a while.
    fn strike_disks(&mut self, cluster: &Cluster, n: usize) {
        let dir = |name: &str| cluster.dir.path().join(format!("{name}-{n}"));
        match (self.below(4), &cluster.disks) {
            (0, _) if disks::remove(&dir("work")) => {
                println!("remove the work directory of worker {n}");
                self.works_gone += 1;
            }
            (1, _) if disks::remove(&dir("local-worker")) => {
                println!("remove the local directory of worker {n}");
                self.locals_gone += 1;
            }
            (2, Some(disks)) if disks.locals[n].fill() => {
                println!("fill a local directory of worker {n}");
                self.full_locals += 1;
                self.later(Undo::FreeLocal(n), 1_000, 8_000);
            }
            (3, Some(disks)) if disks.logs.fill() => {
                println!("fill the disk of the logs");
                self.full_logs += 1;
                self.later(Undo::FreeLogs, 1_000, 8_000);
            }
            _ => {}
        }
    }

    fn let_leave(&mut self, sc: &Context) {
        // A Context that has ended shows in its jobs.
        let executors = match sc.executor_ids() {
            Ok(executors) if !executors.is_empty() => executors,
            Ok(_) => return,
            Err(e) => return println!("no executor is there to leave: {e}"),
        };
        let id = executors[self.below(executors.len() as u64) as usize];
        println!("let executor {id} leave");
        match sc.decommission_executors(&[id]) {
            Ok(left) => self.left += left.len(),
            Err(e) => println!("it may not: {e}"),
        }
    }

    fn stop(&mut self, pid: u32) {
        self.stops += 1;
        signal(pid, Signal::SIGSTOP);
        self.a_while(Undo::Continue(pid));
    }

    fn some_executor(&mut self, cluster: &mut Cluster) -> Option<u32> {
        let grown: Vec<u32> =
            cluster.executors().into_iter().filter(|(_, since)| since.elapsed() > YOUTH).map(|(pid, _)| pid).collect();
        grown.get(self.below(grown.len() as u64) as usize).copied()
    }

    fn start_doomed_driver(&mut self, cluster: &mut Cluster) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let host = cluster.network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |n| n.host());
        command.env(DOOMED, format!("{} {host} {}", cluster.url(), cluster.dir.path().display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.later(Undo::KillDriver(child.id()), 500, 4_000);
        cluster.drivers.push(child);
    }

    /// Undoes what is due, or all.
    pub fn mend(&mut self, cluster: &mut Cluster, all: bool) {
        let now = Instant::now();
        // What an executor's first sight is counted from.
        cluster.executors();
        let (due, rest) = std::mem::take(&mut self.undo).into_iter().partition(|(at, _)| all || *at <= now);
        self.undo = rest;
        let due: Vec<(Instant, Undo)> = due;
        for (_, undo) in due {
            match undo {
                Undo::Continue(pid) => signal(pid, Signal::SIGCONT),
                Undo::LinkUp(n) => {
                    println!("join worker {n} again");
                    cluster.network.iter().for_each(|network| network.set(n, true));
                }
                Undo::StartWorker(n) => cluster.start_worker(n),
                Undo::FollowWorker(n, mut worker) => {
                    match worker.status() {
                        Some(status) => {
                            println!("worker {n} has left: {status}");
                            self.bad_ends += usize::from(!status.success());
                        }
                        None => {
                            println!("kill -9 worker {n}, which is still leaving");
                            self.workers += 1;
                            worker.kill();
                        }
                    }
                    cluster.start_worker(n);
                }
                Undo::FreeLocal(n) => cluster.disks.iter().for_each(|disks| disks.locals[n].free()),
                Undo::FreeLogs => cluster.disks.iter().for_each(|disks| disks.logs.free()),
                Undo::StartMaster => cluster.start_master(),
                Undo::KillDriver(pid) => {
                    println!("kill -9 driver {pid}");
                    self.drivers += 1;
                    let ended = cluster.drivers.iter().position(|child| child.id() == pid);
                    if let Some(mut child) = ended.map(|at| cluster.drivers.remove(at)) {
                        child.kill().unwrap();
                        child.wait().unwrap();
                    }
                }
            }
        }
    }
}

/// Whether no executor comes up on a worker just now: behind a cut link it would not find its driver and end early.
fn grown_behind(cluster: &mut Cluster, n: usize) -> bool {
    let network = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let executors = cluster.executors();
    let Some(worker) = cluster.workers[n].as_ref().filter(|w| w.since().elapsed() > YOUTH) else { return false };
    let here = network(worker.pid());
    let young = |(pid, since): &(u32, Instant)| since.elapsed() <= YOUTH && network(*pid) == here;
    !executors.is_empty() && !executors.iter().any(young)
}

/// A driver that runs jobs until it is killed.
pub fn doomed_driver(told: &str) -> ! {
    let mut words = told.splitn(3, ' ');
    let (url, host, dir) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let context = crate::cluster::context(url, host, Path::new(dir)).set("spark.cores.max", 2);
    let sc = context.build().expect("a context");
    loop {
        let sum = sc.partitioned(4).range(0..1000u64).map(|x| (x % 10, x)).reduce_by_key(|a, b| a + b).collect();
        assert_eq!(sum.map(|all| all.len()).expect("ten sums"), 10);
    }
}
