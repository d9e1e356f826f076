//! What a process takes of the machine's memory, as the kernel sees it.

use std::{
    fs,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use firesteel_bench::Outcome;

/// Reads a process's RssAnon and RssShmem every 50 ms.
pub struct Watch {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Watch {
    /// Begins to watch process `pid`.
    pub fn start(pid: u32) -> Outcome<Watch> {
        taken_kib(pid)?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("memory watch".to_owned()).spawn(move || {
            let mut most = 0;
            loop {
                most = most.max(taken_kib(pid)?);
                if stopped.recv_timeout(Duration::from_millis(50)) != Err(RecvTimeoutError::Timeout) {
                    return Ok(most);
                }
            }
        })?;
        Ok(Watch { stop, thread })
    }

    /// The most that was seen, MiB.
    ///
    /// # Errors
    /// When the process has ended, which no executor does before its application.
    pub fn end(self) -> Outcome<u64> {
        drop(self.stop);
        let most = self.thread.join().map_err(|_| "the thread that watches the memory panicked")??;
        Ok(most.div_ceil(1024))
    }
}

fn taken_kib(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|e| format!("the executor is gone: {path}: {e}"))?;
    ["RssAnon:", "RssShmem:"]
        .into_iter()
        .map(|field| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.ok_or_else(|| format!("the executor is gone: {path} has no {field}"))
        })
        .sum()
}
