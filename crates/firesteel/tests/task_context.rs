//! What user code learns of the task that it runs in, and hears of its end.

use std::sync::{Mutex, PoisonError};

use firesteel::{TaskContext, prelude::*};

fn heard(heard: &'static Mutex<Vec<String>>) -> Vec<String> {
    heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn hear(heard: &'static Mutex<Vec<String>>, what: String) {
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

#[test]
fn a_task_knows_which_it_is_and_the_driver_is_none() {
    assert!(TaskContext::get().is_none());
    let sc = Context::builder().master("local[2]").app_name("task context").build().unwrap();
    let mut told = sc
        .partitioned(3)
        .range(0..3u64)
        .map(|x| {
            let context = TaskContext::get().expect("a task has a context");
            let lone = std::thread::spawn(|| TaskContext::get().is_none()).join().unwrap();
            let ids = (context.stage_id(), context.stage_attempt_number(), context.attempt_number());
            (x, context.partition_id(), ids, context.task_attempt_id(), context.is_interrupted(), lone)
        })
        .collect()
        .unwrap();
    told.sort_unstable();
    let attempts: std::collections::BTreeSet<u64> = told.iter().map(|(_, _, _, attempt, ..)| *attempt).collect();
    assert_eq!(attempts.len(), 3);
    for (x, partition, (_, stage_attempt, attempt), _, interrupted, lone) in told {
        assert_eq!((u64::from(partition), stage_attempt, attempt, interrupted, lone), (x, 0, 0, false, true));
    }
}

#[test]
fn listeners_hear_of_the_end_the_last_one_first_and_of_failures_before() {
    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let sc = Context::builder().master("local[1, 2]").app_name("listeners").build().unwrap();
    let sum = sc
        .partitioned(1)
        .range(0..10u64)
        .map_partitions(|numbers| {
            let context = TaskContext::get().expect("a task has a context");
            context.on_completion(|c| hear(&HEARD, format!("first, attempt {}", c.attempt_number())));
            context.on_completion(|_| hear(&HEARD, "second".to_owned()));
            context.on_failure(|_, e| hear(&HEARD, format!("failed: {}", e.to_string().contains("once"))));
            assert!(context.attempt_number() > 0, "once");
            hear(&HEARD, "computed".to_owned());
            [numbers.sum::<u64>()]
        })
        .reduce(|a, b| a + b)
        .unwrap();
    assert_eq!(sum, 45);
    assert_eq!(heard(&HEARD), ["failed: true", "second", "first, attempt 0", "computed", "second", "first, attempt 1"]);
}

#[test]
fn a_listener_that_panics_fails_its_task() {
    let sc = Context::builder().master("local[1]").app_name("listeners").build().unwrap();
    let failed = sc.partitioned(1).range(0..10u64).map(|x| {
        if x == 0 {
            TaskContext::get().expect("a task has a context").on_completion(|_| panic!("the lock was not given back"));
        }
        x
    });
    let error = failed.count().unwrap_err().to_string();
    assert!(error.contains("the lock was not given back"), "{error}");
}
