//! What the kernel says about the processes of a side.

use std::{collections::BTreeMap, fs, io, thread, time::Duration};

use firesteel_bench::Outcome;

/// `roots` that live, and all processes below them.
pub fn with_descendants(roots: &[u32]) -> Outcome<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has ended meanwhile is none.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).and_then(|p| p.parse().ok());
        children.entry(parent.ok_or("unexpected form of /proc/PID/stat")?).or_default().push(pid);
        if roots.contains(&pid) {
            all.push(pid);
        }
    }
    let mut seen = 0;
    while let Some(pid) = all.get(seen) {
        let below = children.remove(pid).unwrap_or_default();
        all.extend(below);
        seen += 1;
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Peak resident memory of processes since the watch began.
pub struct MemoryWatch {
    processes: Vec<u32>,
}

impl MemoryWatch {
    /// Sets the peaks of `processes` back to what they hold now.
    pub fn begin(processes: Vec<u32>) -> Outcome<MemoryWatch> {
        for pid in &processes {
            gone_is_nothing(fs::write(format!("/proc/{pid}/clear_refs"), "5"))?;
        }
        Ok(MemoryWatch { processes })
    }

    /// The sum of the processes' peaks, MiB.
    pub fn peak(&self) -> Outcome<u64> {
        sum_mib(&self.processes, "status", "VmHWM:")
    }
}

/// The sum of what processes take of the machine's memory, pages that several share in parts, MiB; as soon as it has
/// not changed by more than a hundredth for two seconds.
pub fn settled_pss_mib(processes: &[u32]) -> Outcome<u64> {
    let pss = || sum_mib(processes, "smaps_rollup", "Pss:");
    let mut last = pss()?;
    for _ in 0..15 {
        thread::sleep(Duration::from_secs(2));
        let now = pss()?;
        if now.abs_diff(last) * 100 <= now {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

fn sum_mib(processes: &[u32], file: &str, field: &str) -> Outcome<u64> {
    let mut kib = 0;
    for pid in processes {
        let text = gone_is_nothing(fs::read_to_string(format!("/proc/{pid}/{file}")))?.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next()).map(str::parse::<u64>).transpose()?;
        kib += number.unwrap_or(0);
    }
    Ok(kib / 1024)
}

/// None for a process that has ended.
fn gone_is_nothing<T>(result: io::Result<T>) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(3) => Ok(None),
        Err(e) => Err(format!("reading what the kernel says of a process: {e}").into()),
    }
}
