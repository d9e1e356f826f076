use super::*;

fn executor(id: u32) -> ExecutorLoad {
    ExecutorLoad { id: ExecutorId(id), slots: 1, busy: false, launches: 0, caches: false, serves_shuffle: false }
}

fn load(waiting: u64, running: u64, executors: u32) -> Load {
    let executors = (0..executors).map(|id| ExecutorLoad { busy: u64::from(id) < running, ..executor(id) }).collect();
    Load { waiting, running, executors }
}

fn at(ms: u64) -> Tick {
    Tick::ZERO + Duration::from_millis(ms)
}

/// The totals asked for while `load` stays as it is, with the times in milliseconds.
fn totals(machine: &mut ExecutorAllocation, from: u64, to: u64, load: impl Fn(u32) -> Load) -> Vec<(u64, u32)> {
    let mut asked = Vec::new();
    for ms in (from..to).step_by(100) {
        if let Some(total) = machine.check(at(ms), &load(machine.target)).total {
            asked.push((ms, total));
        }
    }
    asked
}

#[test]
fn a_backlog_asks_for_one_two_four_and_no_more_than_the_tasks_can_use() {
    let mut machine = ExecutorAllocation::new(AllocationConfig::default());
    let asked = totals(&mut machine, 0, 6000, |target| load(10, u64::from(target.min(2)), target.min(2)));
    assert_eq!(asked, [(0, 0), (1000, 1), (2000, 3), (3000, 7), (4000, 12)]);
}

#[test]
fn the_bounds_hold() {
    let config = AllocationConfig { min: 2, initial: 3, max: 4, ..AllocationConfig::default() };
    let mut machine = ExecutorAllocation::new(config);
    assert_eq!(machine.check(at(0), &load(0, 0, 0)).total, Some(3));
    assert_eq!(totals(&mut machine, 100, 9000, |_| load(100, 3, 3)), [(1100, 4)]);
    assert_eq!(totals(&mut machine, 9000, 9500, |_| load(0, 0, 4)), [(9000, 2)]);
}

#[test]
fn an_idle_executor_goes_but_not_below_the_target() {
    let config = AllocationConfig { min: 1, initial: 3, ..AllocationConfig::default() };
    let mut machine = ExecutorAllocation::new(config);
    let mut gone = Vec::new();
    for ms in (0..70_000).step_by(100) {
        gone.extend(machine.check(at(ms), &load(0, 0, 3)).retire.into_iter().map(|(id, _)| (ms, id.0)));
        if !gone.is_empty() {
            break;
        }
    }
    assert_eq!(gone, [(60_000, 0), (60_000, 1)]);
}

#[test]
fn tasks_between_two_looks_count_as_work() {
    let mut machine = ExecutorAllocation::new(AllocationConfig::default());
    for ms in (0..200_000).step_by(100) {
        let busy_lately = ExecutorLoad { launches: ms / 30_000, ..executor(0) };
        let decision = machine.check(at(ms), &Load { executors: vec![busy_lately], ..Load::default() });
        assert_eq!(decision.retire, [], "at {ms}");
    }
}

#[test]
fn what_may_be_needed_again_keeps_an_executor() {
    let config = AllocationConfig { cached_idle_timeout: Some(Duration::from_secs(90)), ..AllocationConfig::default() };
    let mut machine = ExecutorAllocation::new(config);
    let executors = [
        ExecutorLoad { caches: true, ..executor(0) },
        ExecutorLoad { serves_shuffle: true, ..executor(1) },
        executor(2),
    ];
    let mut gone = Vec::new();
    for ms in (0..300_000).step_by(100) {
        let there = executors.iter().filter(|e| !gone.iter().any(|(_, id)| *id == e.id.0)).copied().collect();
        let decision = machine.check(at(ms), &Load { executors: there, ..Load::default() });
        gone.extend(decision.retire.into_iter().map(|(id, _)| (ms, id.0)));
    }
    assert_eq!(gone, [(60_000, 2), (90_000, 0)], "the one with shuffle files stays while they are referenced");
}

#[test]
fn a_ratio_asks_for_fewer() {
    let config = AllocationConfig { ratio: 0.5, max: 100, ..AllocationConfig::default() };
    let mut machine = ExecutorAllocation::new(config);
    totals(&mut machine, 0, 20_000, |_| load(20, 0, 0));
    assert_eq!(machine.target, 10);
}
