//! Jobs with known answers on a cluster of real daemons, while its processes are killed and stopped and its connections
//! cut, at random from a seed. Wrong answers, hung jobs, leaked processes and leaked files are counted; all must be zero.
//!
//! ```text
//!  main ─▶ cluster (master, workers, each worker in a network of its own: network)
//!      ├─ jobs        threads that submit jobs and know what must come out
//!      ├─ disturbance kill -9, SIGSTOP and SIGCONT, links down and up, drivers that die, executors and workers that leave,
//!      │              directories removed, disks full (disks)
//!      └─ leaks       what is left at the end
//!  or ─▶ recovery     what a killed executor costs
//! ```
//!
//! `FIRESTEEL_CHAOS_SECONDS` says how long (35), `FIRESTEEL_CHAOS_SEED` by which seed, `FIRESTEEL_CHAOS=recovery` asks
//! for the benchmark instead; `dev/chaos` sets them. The executors run this very program: the library's entry hook is in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod cluster;
mod disks;
mod disturbance;
mod jobs;
mod leaks;
mod network;
mod recovery;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cluster::Cluster;
use disturbance::Disturbance;

/// No job may take longer: the longest stop or cut, the keep-alive of a connection, and time for the work itself.
const LONGEST_JOB: Duration = Duration::from_secs(150);

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() -> ExitCode {
    if let Some(url) = variable(disturbance::DOOMED) {
        disturbance::doomed_driver(&url);
    }
    // The command line is that of any test program.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        println!("chaos: test");
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|a| !a.starts_with('-') && !"chaos".contains(a.as_str())) {
        return ExitCode::SUCCESS;
    }
    if variable("FIRESTEEL_CHAOS").as_deref() == Some("recovery") {
        return recovery::run();
    }
    let seconds = variable("FIRESTEEL_CHAOS_SECONDS").map_or(35, |s| s.parse().expect("FIRESTEEL_CHAOS_SECONDS"));
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = variable("FIRESTEEL_CHAOS_SEED").map_or_else(by_clock, |s| s.parse().expect("FIRESTEEL_CHAOS_SEED"));
    chaos(Duration::from_secs(seconds), seed)
}

fn chaos(time: Duration, seed: u64) -> ExitCode {
    println!("chaos for {time:?} with FIRESTEEL_CHAOS_SEED={seed}");
    let mut cluster = Cluster::start(3, 3, true);
    let sc = cluster.context().set("spark.decommission.enabled", true).build().expect("a context");
    let over = AtomicBool::new(false);
    let ledger = jobs::Ledger::default();
    let (dir, mut hung) = (cluster.dir.path().to_owned(), 0);
    let mut disturbance = Disturbance::new(seed, time > Duration::from_secs(120));
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|n| {
                let (sc, over, ledger, dir) = (&sc, &over, &ledger, &dir);
                scope.spawn(move || jobs::submit(n, sc, dir, over, ledger))
            })
            .collect();
        while Instant::now() < end && ledger.oldest() < LONGEST_JOB {
            disturbance.strike(&mut cluster, &sc);
            let next = Instant::now() + disturbance.pause();
            while Instant::now() < next.min(end) && ledger.oldest() < LONGEST_JOB {
                std::thread::sleep(Duration::from_millis(20));
                disturbance.mend(&mut cluster, false);
            }
        }
        disturbance.mend(&mut cluster, true);
        over.store(true, Ordering::SeqCst);
        while !workers.iter().all(|w| w.is_finished()) {
            if ledger.oldest() >= LONGEST_JOB {
                hung = ledger.running();
                println!("HUNG: {}", ledger.describe());
                sc.stop();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    sc.stop();
    drop(sc);
    let leaked = leaks::find(cluster);
    for what in leaked.processes.iter().chain(&leaked.files) {
        println!("LEAKED: {what}");
    }
    let (wrong, failed, right) = (ledger.wrong(), ledger.failed(), ledger.right());
    println!("{disturbance}");
    println!("{right} jobs right, {failed} failed, seed {seed}");
    println!(
        "wrong answers: {wrong}, hung jobs: {hung}, leaked processes: {}, leaked files: {}",
        leaked.processes.len(),
        leaked.files.len()
    );
    if disturbance.bad_ends > 0 {
        println!("{} workers were told to leave and did not end well", disturbance.bad_ends);
    }
    let clean = wrong + failed + hung + leaked.processes.len() + leaked.files.len() + disturbance.bad_ends == 0;
    let enough = right >= 5 && disturbance.struck() >= time.as_secs().min(60) as usize / 5;
    if !enough {
        println!("too few jobs, or too few killed or told to leave: this tested little");
    }
    if clean && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
