//! What a master takes from its peers: figures and texts beyond these bounds are refused with the reason, and what follows
//! from those within them is spread over time. Called by the families of workers, applications and executors.

use std::time::Duration;

use firesteel_common::{Tick, names::Host};
use firesteel_rpc::proto::deploy::{ApplicationDescription, RegisterApplication, RegisterWorker};

/// Cores of a worker, and of an executor.
pub(crate) const MOST_CORES: u32 = 1 << 16;

/// Memory of a worker, and of an executor: a pebibyte, in MiB.
pub(crate) const MOST_MEMORY_MB: u64 = 1 << 30;

/// Executors of a worker: each is a process.
pub(crate) const MOST_EXECUTORS_OF_WORKER: u32 = 512;

/// Executors of an application.
pub(crate) const MOST_EXECUTORS_OF_APPLICATION: u32 = 1 << 16;

/// An executor's number, as a driver or worker may name it: so many are left above it that none runs out.
pub(crate) const LAST_EXECUTOR_ID: u32 = i32::MAX as u32;

/// Bytes of an application's name, and of its user's.
const LONGEST_NAME: usize = 1024;

/// Bytes of an address.
const LONGEST_ADDRESS: usize = 300;

/// Bytes of the word that tells processes apart, and of a token.
const LONGEST_PROOF: usize = 64;

/// Bytes of a text that a worker passes on from an executor.
const LONGEST_TEXT: usize = 8 << 10;

/// So many executors are launched within [`ROUND`], over all applications.
const LAUNCHES: u32 = 256;
const ROUND: Duration = Duration::from_millis(100);

/// So many executors of one application in one round are told of one by one.
pub(crate) const TOLD_ONE_BY_ONE: u32 = 20;

/// So many ends of executors are told of within [`SPAN`].
const LINES: u32 = 100;
const SPAN: Duration = Duration::from_secs(10);

/// Why a worker's figures cannot be.
pub(crate) fn refusal_of_worker(m: &RegisterWorker) -> Option<String> {
    if let Err(bad) = Host::check(&m.host) {
        return Some(bad.to_string());
    }
    if m.port > u32::from(u16::MAX) {
        return Some(format!("{} is no port", m.port));
    }
    if m.cores > MOST_CORES || m.memory_mb > MOST_MEMORY_MB {
        let (cores, memory) = (m.cores, m.memory_mb);
        return Some(format!(
            "a worker with {cores} cores and {memory} MiB is not believed: at most {MOST_CORES} cores and {MOST_MEMORY_MB} MiB \
             are taken; correct SPARK_WORKER_CORES or SPARK_WORKER_MEMORY"
        ));
    }
    let beyond = m.executors.iter().find(|d| d.executor_id > LAST_EXECUTOR_ID);
    beyond.map(|d| format!("{} is no executor's number", d.executor_id)).or_else(|| {
        (m.incarnation.len() > LONGEST_PROOF).then(|| "what tells the worker's process apart is too long".to_owned())
    })
}

/// Why an application's figures or texts cannot be.
pub(crate) fn refusal_of_registration(m: &RegisterApplication) -> Option<String> {
    if m.next_executor_id > LAST_EXECUTOR_ID {
        return Some(format!("{} is no executor's number", m.next_executor_id));
    }
    if m.incarnation.len() > LONGEST_PROOF || m.token.len() > LONGEST_PROOF {
        return Some("what tells the driver's process apart is too long".to_owned());
    }
    m.application.as_ref().and_then(refusal_of_description)
}

fn refusal_of_description(d: &ApplicationDescription) -> Option<String> {
    for (key, text) in [("spark.app.name", &d.name), ("the user's name", &d.user)] {
        if text.len() > LONGEST_NAME {
            return Some(format!("{key} has {} bytes: at most {LONGEST_NAME} are taken", text.len()));
        }
    }
    let block_address = d.binary.as_ref().map_or("", |binary| &binary.block_address);
    for address in [d.driver_address.as_str(), block_address] {
        if let Some(reason) = refusal_of_address(address) {
            return Some(reason);
        }
    }
    if d.binary.as_ref().is_some_and(|binary| !matches!(binary.build_hash.len(), 0 | 32) || binary.boot_id.len() > 64) {
        return Some("what tells the application's executable apart is no hash".to_owned());
    }
    let figure =
        |key: &str, is: u64, most: u64| (is > most).then(|| format!("{key} is {is}: at most {most} are taken"));
    figure("spark.executor.cores", d.cores_per_executor.unwrap_or(0).into(), MOST_CORES.into())
        .or_else(|| figure("spark.executor.memory in MiB", d.memory_per_executor_mb, MOST_MEMORY_MB))
        .or_else(|| figure("spark.blockManager.port", d.block_manager_port.into(), u16::MAX.into()))
}

/// `host:port`, or nothing at all.
fn refusal_of_address(text: &str) -> Option<String> {
    let good = match text.rsplit_once(':') {
        _ if text.is_empty() => true,
        _ if text.len() > LONGEST_ADDRESS => false,
        Some((host, port)) => Host::check(host).is_ok() && port.parse::<u16>().is_ok(),
        None => false,
    };
    let shown: String = text.chars().take(64).collect();
    (!good).then(|| format!("{shown:?} is no address of the form host:port"))
}

/// The end of a text, no longer than may be passed on.
pub(crate) fn shortened(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let mut from = text.len() - LONGEST_TEXT;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text.drain(..from);
    }
    text
}

/// How many executors may be launched now.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Pace {
    began: Tick,
    launched: u32,
    /// More are wanted than this round has.
    short: bool,
}

impl Pace {
    /// How many more this round has; when that is not enough, `short` says so.
    pub(crate) fn room(&mut self, now: Tick) -> u32 {
        if now.since(self.began) >= ROUND || self.launched == 0 {
            *self = Pace { began: now, ..Pace::default() };
        }
        LAUNCHES - self.launched
    }

    pub(crate) fn launched(&mut self, executors: u32) {
        self.launched += executors;
    }

    /// The round was too short.
    pub(crate) fn fall_short(&mut self) {
        self.short = true;
    }

    /// When the next round begins, while somebody waits for it.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.short.then(|| self.began + ROUND)
    }

    /// Time has passed: whoever still waits will say so.
    pub(crate) fn wake(&mut self, now: Tick) {
        self.short = self.next_deadline().is_some_and(|deadline| deadline > now);
    }
}

/// Which lines about ends of executors are written; the others are counted.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Lines {
    began: Tick,
    written: u32,
    left_out: u64,
}

impl Lines {
    /// Whether a line may be written, and how many were not before it.
    pub(crate) fn admit(&mut self, now: Tick) -> Option<u64> {
        if now.since(self.began) >= SPAN {
            (self.began, self.written) = (now, 0);
        }
        if self.written == LINES {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_many_executors_are_counted_rather_than_told_one_by_one() {
        let mut lines = Lines::default();
        let told = (0..3_000_000).filter(|_| lines.admit(Tick::ZERO).is_some()).count();
        assert_eq!(told, LINES as usize);
        assert_eq!(lines.admit(Tick::ZERO + SPAN), Some(3_000_000 - u64::from(LINES)));
    }

    #[test]
    fn a_text_is_cut_between_its_characters() {
        let long = shortened("ä".repeat(LONGEST_TEXT));
        assert!(long.len() <= LONGEST_TEXT && long.chars().all(|c| c == 'ä'));
        assert_eq!(shortened("short".to_owned()), "short");
    }

    #[test]
    fn addresses_are_host_and_port_or_nothing() {
        for good in ["", "h:1", "10.0.0.1:65535", "[::1]:80", "driver0:4040"] {
            assert_eq!(refusal_of_address(good), None, "{good}");
        }
        for bad in ["h", ":1", "h:", "h:65536", "h:-1", "h\n:1", "h/..:1", "http://h:1", &"h".repeat(400)] {
            assert!(refusal_of_address(bad).is_some_and(|reason| !reason.contains('\n')), "{bad:?}");
        }
    }
}
