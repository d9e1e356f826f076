//! A line in the log for each job that is over. A listener, added where the log takes lines of level info.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::{JobId, StageId};
use firesteel_events::{AppEvent, JobEnd, Listener, TaskEnd, TaskMetrics};

/// What filters of the log call these lines.
pub(crate) const TARGET: &str = "firesteel::summary";

/// What the tasks of a job have cost so far.
#[derive(Default)]
struct Running {
    name: String,
    since: u64,
    /// Attempts of stages that were started.
    stages: u32,
    tasks: u32,
    failed: u32,
    cost: Cost,
}

/// Sums over tasks.
#[derive(Default, PartialEq, Eq, Debug)]
struct Cost {
    cpu: Duration,
    input_bytes: u64,
    output_bytes: u64,
    shuffle_bytes: u64,
    spilled_bytes: u64,
}

impl Cost {
    fn add(&mut self, metrics: &TaskMetrics) {
        self.cpu += metrics.cpu;
        self.input_bytes += metrics.input.bytes;
        self.output_bytes += metrics.output.bytes;
        self.shuffle_bytes += metrics.shuffle_write.bytes;
        self.spilled_bytes += metrics.spill.disk_bytes;
    }
}

/// Says in one line what a job was and cost. A task of a stage that several jobs need counts for the first of them.
#[derive(Default)]
pub(crate) struct JobSummaries {
    jobs: BTreeMap<JobId, Running>,
    /// The job for which a stage's tasks count.
    stages: BTreeMap<StageId, JobId>,
}

impl JobSummaries {
    /// The job that is over with this event, how long it took in milliseconds, and how it ended.
    fn take(&mut self, event: &AppEvent) -> Option<(JobId, Running, u64, JobEnd)> {
        match event {
            AppEvent::JobStart { job, time, name, stages, .. } => {
                for stage in stages {
                    self.stages.entry(stage.attempt.stage).or_insert(*job);
                }
                self.jobs.insert(*job, Running { name: name.clone(), since: *time, ..Running::default() });
            }
            AppEvent::StageSubmitted { info, .. } => {
                self.of(info.attempt.stage).into_iter().for_each(|job| job.stages += 1);
            }
            AppEvent::TaskEnd { stage, end, metrics, .. } => {
                let job = self.of(stage.stage)?;
                job.tasks += 1;
                job.failed += u32::from(*end != TaskEnd::Success);
                metrics.iter().for_each(|metrics| job.cost.add(metrics));
            }
            AppEvent::JobEnd { job, time, result } => {
                self.stages.retain(|_, of| of != job);
                let ended = self.jobs.remove(job)?;
                let took = time.saturating_sub(ended.since);
                return Some((*job, ended, took, result.clone()));
            }
            _ => {}
        }
        None
    }

    fn of(&mut self, stage: StageId) -> Option<&mut Running> {
        self.jobs.get_mut(self.stages.get(&stage)?)
    }
}

impl Listener for JobSummaries {
    fn on_event(&mut self, event: &AppEvent) {
        let Some((job, ended, took_ms, end)) = self.take(event) else { return };
        let Running { name, stages, tasks, failed, cost, .. } = ended;
        let Cost { cpu, input_bytes, output_bytes, shuffle_bytes, spilled_bytes } = cost;
        let end = if end == JobEnd::Succeeded { "succeeded" } else { "failed" };
        tracing::info!(
            target: TARGET,
            job = job.0,
            took_ms,
            stages,
            tasks,
            failed,
            cpu_ms = cpu.as_millis() as u64,
            input_bytes,
            output_bytes,
            shuffle_bytes,
            spilled_bytes,
            "{name} {end}"
        );
    }

    fn name(&self) -> &str {
        "the summary of jobs"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{Context, Error};

    /// Hears the same as the summary does, and keeps what that would say.
    struct Kept(JobSummaries, Arc<Mutex<Vec<(JobId, Running, u64, JobEnd)>>>);

    impl Listener for Kept {
        fn on_event(&mut self, event: &AppEvent) {
            self.1.lock().unwrap().extend(self.0.take(event));
        }
    }

    #[test]
    fn it_says_of_each_job_what_it_ran_and_cost() -> Result<(), Error> {
        let lines = Arc::default();
        let kept = Kept(JobSummaries::default(), Arc::clone(&lines));
        let sc = Context::builder().app_name("summary").master("local[1,2]").add_listener(kept).build()?;
        let pairs = sc.partitioned(3).range(0..100u64).map(|x| (x % 5, x)).partitioned(2).reduce_by_key(|a, b| a + b);
        assert_eq!(pairs.count()?, 5);
        let failing = pairs.try_map(|(k, _)| if k == 3 { Err("three") } else { Ok(k) });
        assert!(failing.count().is_err());
        sc.stop();
        let lines = lines.lock().unwrap();
        let [(_, first, _, succeeded), (_, second, _, failed)] = &lines[..] else { panic!("{} lines", lines.len()) };
        assert!(first.name.starts_with("count at summary.rs:") && *succeeded == JobEnd::Succeeded);
        assert_eq!((first.stages, first.tasks, first.failed), (2, 5, 0));
        assert!(first.cost.shuffle_bytes > 0 && first.cost.input_bytes == 0);
        // The shuffle's output is there already; one task failed twice, and the other may have been stopped.
        assert!(matches!(failed, JobEnd::Failed { .. }));
        assert!(second.stages == 1 && second.failed >= 2, "{} of {} failed", second.failed, second.tasks);
        Ok(())
    }
}
