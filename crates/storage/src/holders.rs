//! Who holds the memory of a process, in words: what an error or a warning about memory says.

use std::fmt;

use firesteel_common::TaskId;

use crate::MemoryManager;

/// What blocks and the structures of each task hold of the pool, and what the process has in all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holders {
    /// Bytes of the pool.
    pub pool: u64,
    /// Bytes of blocks: cached partitions, results, pieces of broadcast values.
    pub blocks: u64,
    /// What each task's structures hold, largest first.
    pub tasks: Vec<(TaskId, Vec<(&'static str, u64)>)>,
    /// Bytes that the process takes, with all that no pool knows of, such as the values that closures make.
    pub process: Option<u64>,
}

impl Holders {
    pub(crate) fn of(manager: &MemoryManager) -> Holders {
        let mut tasks: Vec<(TaskId, Vec<(&'static str, u64)>)> =
            manager.tasks().into_iter().map(|task| (task.id(), task.consumers())).filter(|t| !t.1.is_empty()).collect();
        tasks.sort_by_key(|(task, of)| (std::cmp::Reverse(of.iter().map(|c| c.1).sum::<u64>()), *task));
        Holders { pool: manager.total(), blocks: manager.storage_used(), tasks, process: resident() }
    }
}

/// Bytes of this process that are in memory.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    resident.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes as a person reads them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 1 << 20 => write!(f, "{bytes} bytes"),
            bytes => write!(f, "{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        }
    }
}

/// So many tasks are named.
const NAMED: usize = 8;

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of a pool of {} blocks hold {}", Size(self.pool), Size(self.blocks))?;
        for (task, consumers) in self.tasks.iter().take(NAMED) {
            write!(f, "; {task}: ")?;
            for (i, (name, bytes)) in consumers.iter().enumerate() {
                write!(f, "{}{name} {}", if i == 0 { "" } else { ", " }, Size(*bytes))?;
            }
        }
        if let Some(more @ 1..) = self.tasks.len().checked_sub(NAMED) {
            write!(f, "; {more} more tasks")?;
        }
        match self.process {
            Some(process) => write!(f, "; the process takes {}", Size(process)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Abort, MemoryConfig};

    #[test]
    fn every_holder_is_named_with_what_it_holds() {
        let manager = MemoryManager::new(MemoryConfig { total_bytes: 100 << 20, storage_fraction: 0.5 });
        assert!(manager.acquire_storage(10 << 20, None));
        let (one, two) = (manager.for_task(TaskId(1), Abort::never()), manager.for_task(TaskId(2), Abort::never()));
        let (mut sort, mut join, mut empty) = (two.reserve("sort"), two.reserve("join"), one.reserve("aggregation"));
        assert!(sort.resize(20 << 20) && join.resize(1000) && empty.resize(0));
        let text = Holders { process: Some(300 << 20), ..Holders::of(&manager) }.to_string();
        let expected = "of a pool of 100.0 MiB blocks hold 10.0 MiB; task 2: sort 20.0 MiB, join 1000 bytes; the process \
                        takes 300.0 MiB";
        assert_eq!(text, expected);
        drop((sort, join, two));
        assert!(Holders::of(&manager).tasks.is_empty());
        assert!(resident().unwrap() > 1 << 20);
    }
}
