//! Progress on the console: a bar for each stage that runs, as Spark's. A listener, added where
//! `spark.ui.showConsoleProgress` asks for it and standard error is a terminal.
//!
//! ```text
//! [Stage 3:=================>                    (12 + 2) / 30]
//! ```
//!
//! Tasks that have succeeded, that run, and all. Bars are on standard error only and go with their stages, so that a
//! program's output has none of them.

use std::{
    collections::BTreeMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use firesteel_common::StageId;
use firesteel_events::{AppEvent, Listener, TaskEnd};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A stage that is over before has no bar. Spark: `FIRST_DELAY`.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// How often bars are drawn anew. Spark: `spark.ui.consoleProgress.update.interval`.
const INTERVAL: Duration = Duration::from_millis(200);

/// Hands events on to the thread that draws, which also looks at the time.
pub(crate) struct ConsoleProgress(mpsc::Sender<AppEvent>);

impl ConsoleProgress {
    /// Draws on standard error.
    pub fn on_stderr() -> std::io::Result<ConsoleProgress> {
        let (events, inbox) = mpsc::channel();
        let mut bars = Bars::new(ProgressDrawTarget::stderr());
        // By the time and not with an event: between the end of a task and the start of the next one nothing is to be seen.
        let draw = move || {
            let mut due = Instant::now();
            loop {
                let next = if bars.stages.is_empty() {
                    inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
                } else {
                    inbox.recv_timeout(due.saturating_duration_since(Instant::now()))
                };
                match next {
                    Ok(event) => bars.take(Instant::now(), &event),
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        let now = Instant::now();
                        bars.draw(now);
                        due = now + INTERVAL;
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new().name("firesteel-progress".into()).spawn(draw)?;
        Ok(ConsoleProgress(events))
    }
}

impl Listener for ConsoleProgress {
    fn on_event(&mut self, event: &AppEvent) {
        if Bars::wants(event) {
            // A thread that has ended draws nothing more.
            let _ = self.0.send(event.clone());
        }
    }

    fn name(&self) -> &str {
        "progress on the console"
    }
}

struct RunningStage {
    since: Instant,
    tasks: u32,
    done: u32,
    active: u32,
    bar: Option<ProgressBar>,
}

/// The bars of the stages that run.
struct Bars {
    all: MultiProgress,
    style: ProgressStyle,
    stages: BTreeMap<StageId, RunningStage>,
}

impl Bars {
    fn new(target: ProgressDrawTarget) -> Bars {
        let template = "[Stage {prefix}:{wide_bar}({pos} + {msg}) / {len}]";
        // The template is right: a test draws it.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let all = MultiProgress::with_draw_target(target);
        Bars { all, style: style.progress_chars("=> "), stages: BTreeMap::new() }
    }

    fn wants(event: &AppEvent) -> bool {
        use AppEvent as E;
        matches!(event, E::StageSubmitted { .. } | E::TaskStart { .. } | E::TaskEnd { .. } | E::StageCompleted { .. })
    }

    fn take(&mut self, now: Instant, event: &AppEvent) {
        match event {
            AppEvent::StageSubmitted { info, .. } => {
                let stage = RunningStage { since: now, tasks: info.tasks, done: 0, active: 0, bar: None };
                self.stages.insert(info.attempt.stage, stage);
            }
            AppEvent::TaskStart { stage, .. } => {
                self.stages.get_mut(&stage.stage).into_iter().for_each(|stage| stage.active += 1);
            }
            AppEvent::TaskEnd { stage, end, .. } => {
                let Some(stage) = self.stages.get_mut(&stage.stage) else { return };
                stage.active = stage.active.saturating_sub(1);
                stage.done += u32::from(*end == TaskEnd::Success);
            }
            AppEvent::StageCompleted { info } => {
                let bar = self.stages.remove(&info.attempt.stage).and_then(|stage| stage.bar);
                bar.into_iter().for_each(|bar| {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                });
            }
            _ => {}
        }
    }

    fn draw(&mut self, now: Instant) {
        for (id, stage) in &mut self.stages {
            if now - stage.since < FIRST_DELAY {
                continue;
            }
            let bar = stage.bar.get_or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new(u64::from(stage.tasks)));
                bar.with_style(self.style.clone()).with_prefix(id.0.to_string())
            });
            bar.set_message(stage.active.to_string());
            bar.set_position(u64::from(stage.done));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firesteel_common::{ExecutorId, StageAttempt, TaskId};
    use firesteel_events::{StageInfo, TaskInfo, TaskKind, TaskLocality};
    use indicatif::InMemoryTerm;

    use super::*;

    const STAGE: StageAttempt = StageAttempt { stage: StageId(3), attempt: 0 };

    fn stage() -> StageInfo {
        StageInfo {
            attempt: STAGE,
            name: "count at main.rs:1".into(),
            details: String::new(),
            tasks: 4,
            kind: TaskKind::Result,
            rdds: Vec::new(),
            parents: Vec::new(),
            submitted: Some(0),
            completed: None,
            failure: None,
        }
    }

    fn task(n: u64) -> TaskInfo {
        TaskInfo {
            task: TaskId(n),
            index: n as u32,
            attempt_number: 0,
            partition: n as u32,
            launched: 0,
            executor: ExecutorId(0),
            host: "here".into(),
            locality: TaskLocality::Any,
            speculative: false,
            getting_result: None,
            finished: None,
        }
    }

    #[test]
    fn a_stage_has_a_bar_after_half_a_second_and_none_when_it_is_over() {
        let term = InMemoryTerm::new(5, 60);
        let mut bars = Bars::new(ProgressDrawTarget::term_like(Box::new(term.clone())));
        let mut now = Instant::now();
        bars.take(now, &AppEvent::StageSubmitted { info: stage(), properties: Arc::default() });
        (0..3).for_each(|n| bars.take(now, &AppEvent::TaskStart { stage: STAGE, info: task(n) }));
        now += Duration::from_millis(400);
        bars.draw(now);
        assert_eq!(term.contents(), "");
        let (kind, end) = (TaskKind::Result, TaskEnd::Success);
        bars.take(now, &AppEvent::TaskEnd { stage: STAGE, kind, end, info: task(0), metrics: None });
        now += Duration::from_millis(300);
        bars.draw(now);
        let drawn = term.contents();
        assert!(drawn.starts_with("[Stage 3:===") && drawn.ends_with("(1 + 2) / 4]"), "{drawn}");
        bars.take(now, &AppEvent::StageCompleted { info: stage() });
        assert_eq!(term.contents(), "");
    }
}
