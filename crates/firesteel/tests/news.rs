//! What listeners hear of an application, on threads and on executors that are processes; and the status tracker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use firesteel::{
    JobState,
    events::{AppEvent, JobEnd, StageAttempt, TaskEnd, TaskFailure, TaskId, TaskKind, TaskMetrics},
    prelude::*,
};

/// All events, in order.
type Heard = Arc<Mutex<Vec<AppEvent>>>;

fn listening(master: &str) -> (Context, Heard) {
    let heard = Heard::default();
    let all = heard.clone();
    let listener = move |event: &AppEvent| all.lock().unwrap().push(event.clone());
    let sc = Context::builder().app_name("news").master(master).add_listener(listener).build().unwrap();
    (sc, heard)
}

/// Everything that began ends once, within what it belongs to.
fn assert_nested(events: &[AppEvent]) {
    let (mut jobs, mut stages, mut tasks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::<TaskId, StageAttempt>::new());
    for event in events {
        match event {
            AppEvent::JobStart { job, stages, .. } => assert!(jobs.insert(*job, stages.len()).is_none()),
            AppEvent::JobEnd { job, .. } => {
                assert!(stages.is_empty(), "{stages:?} run on after {job}");
                assert!(jobs.remove(job).is_some());
            }
            AppEvent::StageSubmitted { info, .. } => {
                assert!(!jobs.is_empty() && info.submitted.is_some());
                assert!(stages.insert(info.attempt, info.tasks).is_none());
            }
            AppEvent::StageCompleted { info } => {
                assert!(stages.remove(&info.attempt).is_some());
                assert!(info.completed >= info.submitted);
            }
            AppEvent::TaskStart { stage, info } => {
                assert!(stages.contains_key(stage) && info.finished.is_none());
                assert!(tasks.insert(info.task, *stage).is_none());
            }
            AppEvent::TaskEnd { stage, info, .. } => {
                assert!(info.finished.unwrap() >= info.launched);
                assert_eq!(tasks.remove(&info.task), Some(*stage));
            }
            _ => {}
        }
    }
    assert!(jobs.is_empty() && stages.is_empty() && tasks.is_empty(), "{jobs:?} {stages:?} {tasks:?}");
}

/// A job of two stages, one task of which fails once; returns the lines of the calls.
fn two_stages(sc: &Context) -> (u32, u32) {
    let dir = tempfile::tempdir().unwrap();
    let mark: PathBuf = dir.path().join("failed");
    sc.set_job_description("a test");
    let map_line = line!() + 2;
    let pairs =
        sc.partitioned(2).range(0..100u64).with(mark).try_map(|mark, x| match std::fs::File::create_new(mark) {
            Ok(_) => Err("the first one fails".to_owned()),
            Err(_) => Ok((x % 10, x)),
        });
    pairs.set_name("ones by tens");
    let (sums, line) = (pairs.partitioned(3).reduce_by_key(|a, b| a + b).collect().unwrap(), line!());
    assert_eq!(sums.len(), 10);
    (map_line, line)
}

fn assert_hears_all_of_a_job(master: &str) {
    let (sc, heard) = listening(master);
    let (map_line, line) = two_stages(&sc);
    let id = sc.application_id().to_owned();
    sc.stop();
    let events = heard.lock().unwrap().clone();
    assert_nested(&events);
    let AppEvent::EnvironmentUpdate { properties } = &events[0] else { panic!("{:?}", events[0]) };
    assert_eq!(properties["spark.master"], master);
    let AppEvent::ApplicationStart { name, id: told, .. } = &events[1] else { panic!("{:?}", events[1]) };
    assert_eq!((name.as_str(), told), ("news", &id));
    assert!(matches!(events.last(), Some(AppEvent::ApplicationEnd { .. })));
    assert!(events.iter().any(|e| matches!(e, AppEvent::ExecutorAdded { slots: 1 | 2, .. })));

    let starts: Vec<&AppEvent> = events.iter().filter(|e| matches!(e, AppEvent::JobStart { .. })).collect();
    let [AppEvent::JobStart { name, stages, properties, .. }] = starts[..] else { panic!("{starts:?}") };
    assert_eq!(name, &format!("collect at news.rs:{line}"));
    assert_eq!(properties["spark.job.description"], "a test");
    let names: Vec<&str> = stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, [format!("try_map at news.rs:{map_line}"), format!("collect at news.rs:{line}")]);
    assert_eq!(stages[1].parents, [stages[0].attempt.stage]);
    assert!(stages[0].details.starts_with("try_map at ") && stages[0].details.contains("/tests/news.rs"));
    let operators: Vec<&str> = stages[0].rdds.iter().map(|rdd| rdd.name.as_str()).collect();
    assert_eq!(operators, ["ones by tens", "range"]);
    let here = format!(" at news.rs:{map_line}");
    assert!(stages[0].rdds.iter().all(|rdd| rdd.call_site.ends_with(&here)), "{:?}", stages[0].rdds);

    let ends = |of: TaskKind| {
        events.iter().filter_map(move |e| match e {
            AppEvent::TaskEnd { kind, end, info, .. } if *kind == of => Some((end.clone(), info.clone())),
            _ => None,
        })
    };
    let failed: Vec<_> = ends(TaskKind::ShuffleMap).filter(|(end, _)| *end != TaskEnd::Success).collect();
    let [(TaskEnd::Failed(TaskFailure::Exception { message, .. }), info)] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!((message.as_str(), info.attempt_number), ("the first one fails", 0));
    assert!(ends(TaskKind::ShuffleMap).any(|(_, i)| (i.index, i.attempt_number) == (info.index, 1)));
    assert_eq!((ends(TaskKind::ShuffleMap).count(), ends(TaskKind::Result).count()), (3, 3));
}

#[test]
fn a_listener_hears_all_of_a_job_on_threads() {
    assert_hears_all_of_a_job("local[2,4]");
}

#[test]
fn a_listener_hears_all_of_a_job_on_a_cluster() {
    assert_hears_all_of_a_job("local-cluster[2,1,512]");
}

#[test]
fn a_failed_job_ends_with_its_error_and_its_stage_with_a_reason() {
    let (sc, heard) = listening("local[2]");
    let failed = sc.partitioned(2).range(0..10u64).try_map(|x| if x == 7 { Err("seven") } else { Ok(x) }).count();
    assert!(failed.is_err());
    sc.stop();
    let events = heard.lock().unwrap().clone();
    let ended = |e: &&AppEvent| matches!(e, AppEvent::JobEnd { result: JobEnd::Failed { error }, .. } if error.contains("seven"));
    assert_eq!(events.iter().filter(ended).count(), 1);
    let given_up = |e: &&AppEvent| matches!(e, AppEvent::StageCompleted { info } if info.failure.as_ref().is_some_and(|f| f.contains("seven")));
    assert_eq!(events.iter().filter(given_up).count(), 1);
}

#[test]
fn a_listener_that_panics_and_one_that_never_returns_disturb_nobody() {
    let sc = Context::builder()
        .app_name("news")
        .master("local[2]")
        .set("spark.scheduler.listenerbus.eventqueue.capacity", 5)
        .build()
        .unwrap();
    let bad = sc.add_listener(|_: &AppEvent| panic!("of this test")).unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let stuck = sc.add_listener(move |_: &AppEvent| _ = wait.recv()).unwrap();
    assert_eq!(sc.partitioned(50).range(0..100u64).count().unwrap(), 100);
    // Of more than a hundred events one is being heard and five wait.
    assert!(stuck.lost() > 90, "{} lost", stuck.lost());
    drop(go_on);
    sc.stop();
    assert!(bad.is_removed() && !stuck.is_removed());
}

#[test]
fn the_status_tracker_tells_how_jobs_and_stages_stand() {
    let sc = Context::builder().app_name("news").master("local[1]").build().unwrap();
    let tracker = sc.status_tracker();
    assert!(tracker.active_job_ids().unwrap().is_empty());
    let dir = tempfile::tempdir().unwrap();
    let (begun, go_on) = (dir.path().join("begun"), dir.path().join("go_on"));
    sc.set_job_group("group", "");
    let job = sc
        .partitioned(3)
        .range(0..3u64)
        .with((begun.clone(), go_on.clone()))
        .map(|(begun, go_on), x| {
            std::fs::write(begun, "").unwrap();
            while !go_on.exists() {
                std::thread::yield_now();
            }
            x
        })
        .collect_async()
        .unwrap();
    while !begun.exists() {
        std::thread::yield_now();
    }
    assert_eq!(tracker.job_ids_for_group(Some("group")).unwrap(), [0]);
    assert_eq!(tracker.active_job_ids().unwrap(), [0]);
    assert_eq!(tracker.active_stage_ids().unwrap(), [0]);
    let stage = tracker.stage_info(0).unwrap().unwrap();
    assert_eq!((stage.tasks, stage.completed, stage.failed), (3, 0, 0));
    assert!(stage.active >= 1 && stage.name.starts_with("collect_async at news.rs:"));
    assert_eq!(tracker.job_info(0).unwrap().unwrap().state, JobState::Running);
    std::fs::write(go_on, "").unwrap();
    assert_eq!(job.wait().unwrap(), [0, 1, 2]);
    assert_eq!(tracker.job_info(0).unwrap().unwrap().state, JobState::Succeeded);
    let ended = tracker.stage_info(0).unwrap().unwrap();
    assert_eq!((ended.completed, ended.name), (3, stage.name));
    assert_eq!(tracker.job_info(1).unwrap(), None);
}

#[test]
fn the_metrics_of_tasks_say_what_was_read_written_and_how_long_it_took() {
    for master in ["local[2]", "local-cluster[2,1,512]"] {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("in"), dir.path().join("out"));
        let text: String = (0..5000).map(|i| format!("line {}\n", i % 700)).collect();
        std::fs::write(&input, &text).unwrap();
        let (sc, heard) = listening(master);
        let lines = sc.partitioned(3).text_file(input.to_str().unwrap()).unwrap();
        let counts = lines.map(|line| (line, 1u64)).partitioned(2).reduce_by_key(|a, b| a + b);
        counts.save_as_text_file(&output).unwrap();
        sc.stop();
        let events = heard.lock().unwrap().clone();
        let of = |wanted: TaskKind| -> Vec<TaskMetrics> {
            let metrics = events.iter().filter_map(|e| match e {
                AppEvent::TaskEnd { kind, metrics, .. } if *kind == wanted => Some(metrics.as_deref().unwrap().clone()),
                _ => None,
            });
            metrics.collect()
        };
        let (maps, results) = (of(TaskKind::ShuffleMap), of(TaskKind::Result));
        let sum = |all: &[TaskMetrics], f: fn(&TaskMetrics) -> u64| all.iter().map(f).sum::<u64>();
        assert_eq!((maps.len(), results.len()), (3, 2));
        // A split looks at the end of the line that belongs to the one before.
        let bytes = sum(&maps, |m| m.input.bytes);
        assert!((text.len() as u64..text.len() as u64 + 200_000).contains(&bytes), "{bytes} of {}", text.len());
        assert_eq!(sum(&maps, |m| m.input.records), 5000);
        let written = sum(&maps, |m| m.shuffle_write.records);
        assert!((700..=2100).contains(&written), "{written} combined records");
        assert_eq!(sum(&results, |m| m.shuffle_read.records), written);
        let read = sum(&results, |m| m.shuffle_read.local_bytes + m.shuffle_read.remote_bytes);
        assert_eq!(read, sum(&maps, |m| m.shuffle_write.bytes));
        let blocks = sum(&results, |m| m.shuffle_read.local_blocks + m.shuffle_read.remote_blocks);
        assert_eq!(blocks, 6);
        assert_eq!(sum(&results, |m| m.output.records), 700);
        let files = std::fs::read_dir(&output).unwrap().map(|f| f.unwrap().metadata().unwrap().len());
        assert_eq!(sum(&results, |m| m.output.bytes), files.sum::<u64>());
        for m in maps.iter().chain(&results) {
            assert!(m.run > Duration::ZERO && m.cpu > Duration::ZERO && m.cpu <= m.run + Duration::from_millis(20));
            assert!(m.result_bytes > 0 && m.peak_memory > 0);
        }
        assert!(maps.iter().all(|m| m.shuffle_write.time > Duration::ZERO));
    }
}

#[test]
fn what_is_spilled_is_counted() {
    let heard = Heard::default();
    let all = heard.clone();
    let sc = Context::builder()
        .app_name("news")
        .master("local[1]")
        .set("spark.driver.memory", "512m")
        .set("spark.memory.fraction", "0.02")
        .add_listener(move |event: &AppEvent| all.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    let pairs = sc.partitioned(2).range(0..1_500_000u64).map(|x| (x.wrapping_mul(0x9e37_79b9_7f4a_7c15), x));
    assert_eq!(pairs.group_by_key().count().unwrap(), 1_500_000);
    sc.stop();
    let spilled = |e: &AppEvent| match e {
        AppEvent::TaskEnd { metrics: Some(m), .. } => (m.spill.memory_bytes, m.spill.disk_bytes),
        _ => (0, 0),
    };
    let spills: Vec<_> = heard.lock().unwrap().iter().map(spilled).filter(|s| s.0 > 0).collect();
    assert!(spills.iter().any(|(memory, disk)| *memory > 1 << 20 && *disk > 0), "{spills:?}");
}
