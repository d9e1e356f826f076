//! What a master takes from its peers: figures and texts beyond these bounds are refused with the reason, and what follows
//! from those within them is spread over time. Called by the families of workers, applications and executors.

use std::time::Duration;

use firesteel_common::Tick;
use firesteel_rpc::{
    checked::Checked,
    proto::deploy::{ApplicationDescription, RegisterApplication, RegisterWorker},
    stream::QUEUE_MESSAGES,
};

/// Cores of a worker, and of an executor.
pub(crate) const MOST_CORES: u32 = 1 << 16;

/// Memory of a worker, and of an executor: a pebibyte, in MiB.
pub(crate) const MOST_MEMORY_MB: u64 = 1 << 30;

/// Executors of a worker: each is a process.
pub(crate) const MOST_EXECUTORS_OF_WORKER: u32 = 512;

/// Executors of an application.
pub(crate) const MOST_EXECUTORS_OF_APPLICATION: u32 = 1 << 16;

// A driver that comes back is told of each, and that it is decommissioned, at once.
const _: () = assert!(2 * (MOST_EXECUTORS_OF_APPLICATION as usize) < QUEUE_MESSAGES);

/// Bytes of an application's name, and of its user's.
const LONGEST_NAME: usize = 1024;

/// Bytes of a text that a worker passes on from an executor.
const LONGEST_TEXT: usize = 8 << 10;

/// So many executors are launched within [`ROUND`], over all applications.
const LAUNCHES: u32 = 256;
const ROUND: Duration = Duration::from_millis(100);

/// So many executors of one application in one round are told of one by one.
pub(crate) const TOLD_ONE_BY_ONE: u32 = 20;

/// So many lines about the executors of one application are written within [`SPAN`].
const LINES: u32 = 100;
const SPAN: Duration = Duration::from_secs(10);

/// Why a worker's names or figures cannot be.
pub(crate) fn refusal_of_worker(m: &RegisterWorker) -> Option<String> {
    if let Err(bad) = m.check() {
        return Some(bad.to_string());
    }
    (m.cores > MOST_CORES || m.memory_mb > MOST_MEMORY_MB).then(|| {
        let (cores, memory) = (m.cores, m.memory_mb);
        format!(
            "a worker with {cores} cores and {memory} MiB is not believed: at most {MOST_CORES} cores and {MOST_MEMORY_MB} MiB \
             are taken; correct SPARK_WORKER_CORES or SPARK_WORKER_MEMORY"
        )
    })
}

/// Why an application's names, figures or texts cannot be.
pub(crate) fn refusal_of_registration(m: &RegisterApplication) -> Option<String> {
    let keyed = m.application.as_ref().and_then(refusal_of_description);
    keyed.or_else(|| m.check().err().map(|bad| bad.to_string()))
}

/// What a user has set by a key is refused by its name.
fn refusal_of_description(d: &ApplicationDescription) -> Option<String> {
    for (key, text) in [("spark.app.name", &d.name), ("the user's name", &d.user)] {
        if text.len() > LONGEST_NAME {
            return Some(format!("{key} has {} bytes: at most {LONGEST_NAME} are taken", text.len()));
        }
    }
    let figure =
        |key: &str, is: u64, most: u64| (is > most).then(|| format!("{key} is {is}: at most {most} are taken"));
    figure("spark.executor.cores", d.cores_per_executor.unwrap_or(0).into(), MOST_CORES.into())
        .or_else(|| figure("spark.executor.memory in MiB", d.memory_per_executor_mb, MOST_MEMORY_MB))
        .or_else(|| figure("spark.blockManager.port", d.block_manager_port.into(), u16::MAX.into()))
        .or_else(|| figure("spark.port.maxRetries", d.port_max_retries.into(), u16::MAX.into()))
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

/// Which lines about an application's executors are written; the others are counted.
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
}
