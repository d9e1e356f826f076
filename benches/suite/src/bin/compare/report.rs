//! The table.

use std::{
    fmt::Write,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    answer,
    works::{Unit, Work},
};

/// What was measured of a work on one side.
#[derive(Default)]
pub struct Measured {
    /// The side's name.
    pub side: &'static str,
    /// Of each repetition.
    pub seconds: Vec<f64>,
    /// Of each repetition.
    pub answers: Vec<String>,
    /// The largest sum of the processes' peaks, MiB.
    pub peak_mib: u64,
}

impl Measured {
    /// Nothing yet.
    pub fn of(side: &'static str) -> Measured {
        Measured { side, ..Measured::default() }
    }

    /// The median; of Spark the last repetition, which its compiler has had the most time to prepare for.
    fn figure(&self) -> Option<f64> {
        if self.side == "spark" {
            return self.seconds.last().copied();
        }
        let mut sorted = self.seconds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Collects the rows of the table.
pub struct Report {
    quick: bool,
    rows: String,
    disagreements: Vec<String>,
}

impl Report {
    /// An empty one.
    pub fn new(quick: bool) -> Report {
        Report { quick, rows: String::new(), disagreements: Vec::new() }
    }

    /// Adds a row.
    pub fn add(&mut self, work: &Work, measured: Vec<Measured>) {
        let mut answers = measured.iter().flat_map(|m| m.answers.iter().map(|answer| (m.side, answer)));
        if let Some((first_side, first)) = answers.next() {
            for (side, answer) in answers.filter(|(_, answer)| !answer::agree(first, answer)) {
                self.disagreements.push(format!("{}: {first_side} says {first}, {side} {answer}", work.name));
            }
        }
        let of = |side: &str| measured.iter().find(|m| m.side == side);
        let figure = |side: &str| of(side).and_then(Measured::figure);
        let shown = |side: &str| figure(side).map_or("-".to_owned(), |f| work.unit.show(f));
        let (ours, spark, plain) = (figure("firesteel"), figure("spark"), figure("plain"));
        let ratio = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let faster = ratio(spark, ours);
        let reached = match faster {
            Some(faster) if faster >= work.aim => "yes",
            Some(_) => "no",
            None => "-",
        };
        let times = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |r| format!("{r:.1}"));
        let peaks: Vec<String> = ["firesteel", "spark", "plain"]
            .into_iter()
            .map(|side| of(side).filter(|m| m.peak_mib > 0).map_or("-".to_owned(), |m| m.peak_mib.to_string()))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.rows,
            "| {} | {} | {} | {} | {} | {:.0} | {reached} | {} | {} |",
            work.title,
            shown("firesteel"),
            shown("spark"),
            shown("plain"),
            times(faster),
            work.aim,
            times(ratio(ours, plain)),
            peaks.join(" / ")
        );
    }

    /// Whether all sides gave the same answers, in all repetitions.
    pub fn answers_agree(&self) -> bool {
        self.disagreements.is_empty()
    }

    /// The table as Markdown, with what the machine is.
    pub fn table(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let proc = |file: &str, field: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let model = proc("/proc/cpuinfo", "model name");
        let kib: u64 = proc("/proc/meminfo", "MemTotal").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let quick = if self.quick { ", at about a twentieth of the size (--quick)" } else { "" };
        let mut text = format!("\n{}, {cores} cores of {model}, {} GB{quick}\n\n", date(), kib >> 20);
        text += "| work | Firesteel | Spark | hand-written | Spark / Firesteel | aim | reached | Firesteel / hand-written \
                 | peak resident MiB: Firesteel / Spark / hand-written |\n|---|---|---|---|---|---|---|---|---|\n";
        text += &self.rows;
        for line in &self.disagreements {
            text += &format!("\nWRONG {line}");
        }
        text + "\n"
    }
}

impl Unit {
    fn show(&self, figure: f64) -> String {
        let digits = |x: f64| match x {
            x if x >= 100.0 => format!("{x:.0}"),
            x if x >= 10.0 => format!("{x:.1}"),
            x if x >= 0.1 => format!("{x:.2}"),
            x => format!("{x:.3}"),
        };
        match self {
            Unit::Seconds => format!("{} s", digits(figure)),
            Unit::MillisOf(n) => format!("{} ms", digits(figure * 1e3 / *n as f64)),
            Unit::NanosOf(n) => format!("{} ns", digits(figure * 1e9 / *n as f64)),
            Unit::Rate(n) => format!("{:.0} /s", *n as f64 / figure),
            Unit::Mib => format!("{figure:.0} MiB"),
        }
    }
}

/// Today, UTC, as 2026-01-31.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    // Days since 0000-03-01, in eras of 400 years, so that the leap day is a year's last.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
}
