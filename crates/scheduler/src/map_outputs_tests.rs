use bytes::Bytes;

use super::*;

const S: ShuffleId = ShuffleId(1);

fn at(executor: u32, task: u64) -> MapLocation {
    MapLocation {
        map_task: TaskId(task),
        executor: ExecutorId(executor),
        block_address: "h:1".into(),
        sizes: Bytes::new(),
    }
}

fn mapped(partitions: u32) -> GraphNode {
    GraphNode { rdd: RddId(3), operator: "map", partitions, ..GraphNode::default() }
}

fn tracker(indeterminate: bool) -> MapOutputTracker {
    let mut t = MapOutputTracker::default();
    t.ensure(S, &mapped(2), indeterminate, Vec::new());
    assert_eq!(t.register(S, 0, at(1, 10), Some(7), &Generations::new()), Registered::Fits);
    assert_eq!(t.register(S, 1, at(2, 11), Some(7), &Generations::new()), Registered::Fits);
    t
}

#[test]
fn locations_come_in_map_order_and_only_when_complete() {
    let mut t = tracker(false);
    let maps: Vec<u64> = t.locations(S).unwrap().iter().map(|l| l.map_task.0).collect();
    assert_eq!(maps, [10, 11]);
    t.unregister_executor(ExecutorId(2), 0);
    assert!(t.locations(S).is_none());
    assert_eq!(t.missing(S), [1]);
}

#[test]
fn a_second_output_of_a_partition_is_not_recorded() {
    let mut t = tracker(false);
    assert_eq!(t.register(S, 0, at(2, 12), Some(7), &Generations::new()), Registered::Refused);
    assert_eq!(t.locations(S).unwrap()[0].map_task, TaskId(10));
}

#[test]
fn a_late_failure_does_not_drop_a_newer_output() {
    let mut t = tracker(false);
    assert!(t.unregister(S, 0, TaskId(10), ExecutorId(1)));
    assert_eq!(t.register(S, 0, at(1, 20), Some(7), &Generations::new()), Registered::Fits);
    assert!(!t.unregister(S, 0, TaskId(10), ExecutorId(1)));
    assert!(t.is_available(S));
}

#[test]
fn an_executor_is_not_dropped_again_on_news_from_before_the_first_drop() {
    let mut t = tracker(false);
    let before = t.epoch();
    assert_eq!(t.unregister_executor(ExecutorId(1), before), [(S, 0)]);
    assert_eq!(t.register(S, 0, at(1, 20), Some(7), &Generations::new()), Registered::Fits);
    assert!(t.unregister_executor(ExecutorId(1), before).is_empty());
    assert!(t.is_available(S));
    assert_eq!(t.unregister_executor(ExecutorId(1), t.epoch()), [(S, 0)]);
}

#[test]
fn outputs_outlive_their_executor_with_a_service_and_go_with_the_worker() {
    let mut t = tracker(false);
    t.add_service(ExecutorId(1), "h:7337");
    t.add_service(ExecutorId(3), "h:7337");
    assert!(t.remove_executor(ExecutorId(1), false).is_empty());
    assert!(t.is_available(S));
    assert_eq!(t.check(&BTreeSet::from([ExecutorId(2), ExecutorId(3)])), Ok(()));
    assert_eq!(t.remove_executor(ExecutorId(2), false), [(S, 1)], "no service has these");
    assert_eq!(t.remove_executor(ExecutorId(3), true), [(S, 0)]);
    assert!(t.service_of(ExecutorId(1)).is_none() && t.service_of(ExecutorId(3)).is_none());
}

#[test]
fn a_moved_output_is_read_at_its_new_place_and_not_lost_with_the_old_one() {
    let mut t = tracker(false);
    let before = t.locations(S).unwrap();
    let (from, to, there) = (ExecutorId(1), ExecutorId(2), Arc::<str>::from("h:2"));
    assert!(!t.moved(S, TaskId(9), from, to, there.clone()), "another attempt's");
    assert!(t.moved(S, TaskId(10), from, to, there.clone()));
    assert!(!t.moved(S, TaskId(10), from, ExecutorId(3), there), "it is not there any more");
    assert_eq!(before[0].executor, from, "who has the old locations keeps them");
    let after = t.locations(S).unwrap();
    assert_eq!((after[0].executor, &*after[0].block_address), (to, "h:2"));
    assert!(!t.unregister(S, 0, TaskId(10), from));
    assert!(t.remove_executor(from, false).is_empty());
    assert!(t.is_available(S));
    assert_eq!(t.generations([S]), Generations::new(), "it is the same output");
    assert_eq!(t.remove_executor(to, false), [(S, 0), (S, 1)]);
}

#[test]
fn replacing_indeterminate_output_makes_a_new_generation_and_first_output_does_not() {
    let mut t = tracker(true);
    assert_eq!(t.generations([S]), Generations::from([(S, 0)]));
    assert!(!t.would_replace(S));
    t.unregister_executor(ExecutorId(1), 0);
    assert!(t.would_replace(S));
    t.register(S, 0, at(2, 20), Some(7), &Generations::new());
    let now = t.generations([S]);
    assert_eq!(conflict(&Generations::from([(S, 0)]), &now), Some(S));
    assert_eq!(conflict(&now, &now), None);
}

#[test]
fn output_computed_from_another_generation_is_a_new_generation_too() {
    let mut t = MapOutputTracker::default();
    t.ensure(S, &mapped(1), false, Vec::new());
    let (old, new) = (Generations::from([(ShuffleId(0), 0)]), Generations::from([(ShuffleId(0), 1)]));
    t.register(S, 0, at(1, 10), Some(7), &old);
    assert_eq!(t.generations([S]), Generations::from([(S, 0)]));
    t.unregister(S, 0, TaskId(10), ExecutorId(1));
    t.register(S, 0, at(1, 11), Some(7), &old);
    assert_eq!(t.generations([S]), Generations::from([(S, 0)]));
    t.unregister(S, 0, TaskId(11), ExecutorId(1));
    t.register(S, 0, at(1, 12), Some(7), &new);
    assert_eq!(t.generations([S]), Generations::from([(S, 1)]));
}

#[test]
fn a_lost_output_that_comes_out_with_other_rows_is_found_out() {
    let mut t = tracker(false);
    t.unregister(S, 0, TaskId(10), ExecutorId(1));
    assert_eq!(t.register(S, 0, at(1, 20), Some(7), &Generations::new()), Registered::Fits, "the same rows");
    t.unregister(S, 0, TaskId(20), ExecutorId(1));
    assert_eq!(t.register(S, 0, at(1, 21), None, &Generations::new()), Registered::Unclear);
    t.unregister(S, 0, TaskId(21), ExecutorId(1));
    assert_eq!(t.register(S, 0, at(1, 22), Some(7), &Generations::new()), Registered::Unclear);
    t.unregister(S, 0, TaskId(22), ExecutorId(1));
    assert_eq!(t.register(S, 0, at(1, 23), Some(8), &Generations::new()), Registered::Differs);
    t.renew(S);
    assert_eq!(t.register(S, 0, at(1, 30), Some(9), &Generations::new()), Registered::Fits, "nobody has read the old");
}

#[test]
fn outputs_that_are_all_made_again_are_compared_with_the_first_ones() {
    let mut t = tracker(false);
    t.unregister_all(S);
    assert!(!t.is_available(S) && t.missing(S).contains(&0));
    assert_eq!(t.register(S, 0, at(1, 20), Some(7), &Generations::new()), Registered::Fits, "the same rows");
    t.unregister_all(S);
    assert_eq!(t.register(S, 0, at(1, 21), Some(8), &Generations::new()), Registered::Differs);
    let mut t = tracker(true);
    t.unregister_all(S);
    assert_eq!(t.register(S, 0, at(1, 20), Some(8), &Generations::new()), Registered::Fits, "others are expected");
    assert_eq!(t.generations([S]), Generations::from([(S, 1)]));
}

#[test]
fn all_that_was_computed_from_an_output_is_of_its_first_edition_when_a_second_is_found() {
    let (a, b, c, other) = (ShuffleId(5), ShuffleId(6), ShuffleId(7), ShuffleId(8));
    let mut t = MapOutputTracker::default();
    let none = Generations::new();
    for (shuffle, parents) in [(a, vec![]), (b, vec![a]), (c, vec![b, other]), (other, vec![])] {
        t.ensure(shuffle, &mapped(1), false, parents);
        t.register(shuffle, 0, at(1, u64::from(shuffle.0)), Some(1), &none);
    }
    let behind = t.behind(a);
    assert_eq!(behind, Generations::from([(a, 0), (b, 0), (c, 0)]));
    t.found_indeterminate(a, 0, &behind);
    assert_eq!(t.computed_from(c), Some(&Generations::from([(a, 0), (b, 0)])));
    assert_eq!(t.generations([a, b, c, other]), Generations::from([(a, 1), (b, 0), (c, 0)]));
    assert_eq!((t.found_at(a), t.found_at(b)), (Some(0), None));
    assert_eq!(t.stale(&[c, a]), Some(c), "the old edition is not joined with the new");
}
