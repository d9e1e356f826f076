use firesteel_common::StageId;
use proptest::prelude::*;

use super::*;

fn stage(n: u32) -> StageAttempt {
    StageAttempt { stage: StageId(n), attempt: 0 }
}

fn launch(tasks: &[u64]) -> Event {
    Event::Launch { tasks: tasks.iter().map(|t| (TaskId(*t), stage(1))).collect(), ended: vec![] }
}

fn handle(core: &mut ExecutorCore, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    core.handle(Tick::ZERO, event, &mut out);
    out
}

fn core(slots: u32) -> ExecutorCore {
    ExecutorCore::new(slots, None, Tick::ZERO)
}

fn start(task: u64, waited: bool) -> Effect {
    Effect::Start { task: TaskId(task), waited }
}

#[test]
fn tasks_beyond_the_slots_wait_in_order() {
    let mut c = core(2);
    assert_eq!(handle(&mut c, launch(&[1, 2, 3, 4])), [start(1, false), start(2, false)]);
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(2) }), [start(3, true)]);
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(1) }), [start(4, true)]);
    assert_eq!((c.running(), c.tasks()), (2, 2));
}

#[test]
fn a_repeated_launch_starts_nothing_twice() {
    let mut c = core(4);
    assert_eq!(handle(&mut c, launch(&[1])), [start(1, false)]);
    assert_eq!(handle(&mut c, launch(&[1])), []);
}

#[test]
fn a_killed_task_is_flagged_while_it_runs_and_reported_while_it_waits() {
    let mut c = core(1);
    handle(&mut c, launch(&[1, 2]));
    let kill = |task| Event::Kill { task: TaskId(task), reason: "cancelled".into() };
    assert_eq!(handle(&mut c, kill(1)), [Effect::Flag { task: TaskId(1), reason: "cancelled".into() }]);
    assert_eq!(handle(&mut c, kill(2)), [Effect::NeverRan { task: TaskId(2), reason: "cancelled".into() }]);
    assert_eq!(handle(&mut c, kill(3)), [], "one that has ended meanwhile");
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(1) }), []);
    assert_eq!(c.tasks(), 0);
}

#[test]
fn a_recall_gives_back_what_waits_and_leaves_what_has_begun() {
    let mut c = core(1);
    handle(&mut c, launch(&[1, 2, 3, 4]));
    let recall = |tasks: &[u64]| Event::Recall { tasks: tasks.iter().map(|t| TaskId(*t)).collect() };
    let back = |task| Effect::GiveBack { task: TaskId(task) };
    assert_eq!(handle(&mut c, recall(&[1, 3, 4, 9])), [back(3), back(4)]);
    assert_eq!(handle(&mut c, recall(&[3])), [], "it is gone");
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(1) }), [start(2, true)]);
    assert_eq!(handle(&mut c, recall(&[2])), [], "it has begun");
    assert_eq!(handle(&mut c, launch(&[3])), [], "one that was given back may come again");
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(2) }), [start(3, true)]);
}

#[test]
fn an_ended_stage_is_dropped_after_its_last_task() {
    let mut c = core(1);
    handle(&mut c, launch(&[1, 2]));
    let ended = |n| Event::Launch { tasks: vec![], ended: vec![stage(n)] };
    assert_eq!(handle(&mut c, ended(1)), []);
    handle(&mut c, Event::Finished { task: TaskId(1) });
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(2) }), [Effect::DropStage { stage: stage(1) }]);
    assert_eq!(handle(&mut c, ended(7)), [Effect::DropStage { stage: stage(7) }], "one that never had a task here");
}

#[test]
fn an_ended_stage_is_dropped_after_what_is_given_back_of_it() {
    let mut c = core(1);
    handle(&mut c, Event::Launch { tasks: vec![(TaskId(1), stage(1)), (TaskId(2), stage(2))], ended: vec![] });
    assert_eq!(handle(&mut c, Event::Launch { tasks: vec![], ended: vec![stage(2)] }), []);
    let recalled = handle(&mut c, Event::Recall { tasks: vec![TaskId(2)] });
    assert_eq!(recalled, [Effect::GiveBack { task: TaskId(2) }, Effect::DropStage { stage: stage(2) }]);
}

#[test]
fn a_stage_that_has_not_ended_stays_for_later_tasks() {
    let mut c = core(1);
    handle(&mut c, launch(&[1]));
    assert_eq!(handle(&mut c, Event::Finished { task: TaskId(1) }), []);
    assert_eq!(handle(&mut c, launch(&[2])), [start(2, false)]);
}

#[test]
fn after_a_stop_everything_ends_and_nothing_starts() {
    let mut c = core(1);
    handle(&mut c, launch(&[1, 2]));
    let stop = Event::Stop { reason: "over".into() };
    assert_eq!(
        handle(&mut c, stop.clone()),
        [
            Effect::Flag { task: TaskId(1), reason: "over".into() },
            Effect::NeverRan { task: TaskId(2), reason: "over".into() }
        ]
    );
    assert_eq!(handle(&mut c, launch(&[3])), []);
    assert_eq!(handle(&mut c, stop), []);
}

#[test]
fn it_beats_at_its_interval_and_once_after_a_pause() {
    let second = Duration::from_secs(1);
    let mut c = ExecutorCore::new(1, Some(second), Tick::ZERO);
    let mut out = Vec::new();
    assert_eq!(c.next_deadline(), Some(Tick::ZERO + second));
    c.handle(Tick::ZERO + second / 2, Event::Wake, &mut out);
    assert_eq!(out, [], "too early");
    c.handle(Tick::ZERO + 60 * second, Event::Wake, &mut out);
    assert_eq!(out, [Effect::Heartbeat]);
    assert_eq!(c.next_deadline(), Some(Tick::ZERO + 61 * second));
    c.handle(Tick::ZERO, Event::Stop { reason: String::new() }, &mut out);
    assert_eq!(c.next_deadline(), None);
}

proptest! {
    #[test]
    fn each_task_ends_once_and_the_table_ends_empty(
        slots in 1u32..4,
        steps in prop::collection::vec((0u8..6, 0u64..12), 1..200),
    ) {
        let mut c = core(slots);
        let (mut running, mut known) = (Vec::<TaskId>::new(), std::collections::BTreeSet::new());
        let mut apply = |c: &mut ExecutorCore, running: &mut Vec<TaskId>, event: Event| -> Result<(), TestCaseError> {
            if let Event::Launch { tasks, .. } = &event {
                known.extend(tasks.iter().map(|t| t.0));
            }
            if let Event::Finished { task } = &event {
                running.retain(|t| t != task);
                known.remove(task);
            }
            for effect in handle(c, event) {
                match effect {
                    Effect::Start { task, .. } => {
                        prop_assert!(known.contains(&task) && !running.contains(&task));
                        running.push(task);
                    }
                    Effect::NeverRan { task, .. } => prop_assert!(!running.contains(&task) && known.remove(&task)),
                    Effect::GiveBack { task } => prop_assert!(!running.contains(&task) && known.remove(&task)),
                    Effect::Flag { task, .. } => prop_assert!(running.contains(&task)),
                    Effect::StillRuns { .. } | Effect::EndProcess { .. } => prop_assert!(false, "there is no reaper"),
                    Effect::DropStage { .. } | Effect::Heartbeat => {}
                }
            }
            c.check_invariants().map_err(TestCaseError::fail)
        };
        for (what, n) in steps {
            let event = match what {
                0 | 1 => launch(&[n, n + 1]),
                2 => Event::Kill { task: TaskId(n), reason: String::new() },
                3 if !running.is_empty() => Event::Finished { task: running[n as usize % running.len()] },
                3 => Event::Finished { task: TaskId(n + 100) },
                4 => Event::Recall { tasks: (0..n).map(TaskId).collect() },
                _ => Event::Launch { tasks: vec![], ended: vec![stage(1)] },
            };
            apply(&mut c, &mut running, event)?;
        }
        while let Some(task) = running.first().copied() {
            apply(&mut c, &mut running, Event::Finished { task })?;
        }
        prop_assert_eq!(c.tasks(), 0);
    }
}

#[test]
fn a_killed_task_that_goes_on_is_logged_and_at_last_ends_the_process() {
    let (second, task) = (Duration::from_secs(1), TaskId(1));
    let at = |seconds: u32| Tick::ZERO + second * seconds;
    let reaper = Reaper { interval: 10 * second, kill_timeout: Some(25 * second) };
    let mut c = core(2).with_reaper(Some(reaper));
    let wake = |c: &mut ExecutorCore, now| {
        let mut out = Vec::new();
        c.handle(now, Event::Wake, &mut out);
        out
    };
    handle(&mut c, launch(&[1, 2]));
    assert_eq!(c.next_deadline(), None);
    handle(&mut c, Event::Kill { task, reason: "cancelled".into() });
    handle(&mut c, Event::Kill { task: TaskId(2), reason: "cancelled".into() });
    handle(&mut c, Event::Finished { task: TaskId(2) });
    assert_eq!(c.next_deadline(), Some(at(10)));
    assert_eq!(wake(&mut c, at(9)), []);
    assert_eq!(wake(&mut c, at(10)), [Effect::StillRuns { task, asked: 10 * second }]);
    // A second request changes nothing.
    handle(&mut c, Event::Kill { task, reason: "again".into() });
    assert_eq!(wake(&mut c, at(20)), [Effect::StillRuns { task, asked: 20 * second }]);
    assert_eq!(c.next_deadline(), Some(at(25)));
    assert_eq!(wake(&mut c, at(25)), [Effect::EndProcess { task, asked: 25 * second }]);
    handle(&mut c, Event::Finished { task });
    assert_eq!(c.next_deadline(), None);
}

#[test]
fn without_a_reaper_killed_tasks_may_go_on() {
    let mut c = core(1);
    handle(&mut c, launch(&[1]));
    handle(&mut c, Event::Kill { task: TaskId(1), reason: "cancelled".into() });
    assert_eq!(c.next_deadline(), None);
}
