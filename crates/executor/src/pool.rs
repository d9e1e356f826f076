//! Threads for tasks: kept for reuse, with large stacks, of which only what is touched takes memory. Used by
//! [`crate::Executor`].

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    idle: usize,
    threads: usize,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    name: String,
    max_threads: usize,
    stack_bytes: usize,
}

/// A pool of at most `max_threads` threads, started when they are needed. Dropping it lets idle threads end; those that
/// run a job end after it.
pub(crate) struct TaskThreads(Arc<Shared>);

/// What user code may at least expect of a stack; below this a thread is not started.
const SMALLEST_STACK: usize = 2 << 20;

impl TaskThreads {
    pub fn new(name: impl Into<String>, max_threads: usize, stack_bytes: usize) -> TaskThreads {
        TaskThreads(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            name: name.into(),
            max_threads: max_threads.max(1),
            stack_bytes: stack_bytes.max(SMALLEST_STACK),
        }))
    }

    /// Runs `job` on a thread of the pool, after others when all are busy. An error when there is no thread for it and
    /// none can be started.
    pub fn execute(&self, job: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let shared = &self.0;
        let mut state = shared.lock();
        state.queue.push_back(Box::new(job));
        if state.idle >= state.queue.len() {
            // Who is woken takes the lock at once.
            drop(state);
            shared.changed.notify_one();
        } else if state.threads < shared.max_threads {
            if let Err(e) = shared.start_thread() {
                if state.threads == 0 {
                    state.queue.pop_back();
                    return Err(e);
                }
                tracing::warn!(threads = state.threads, error = %e, "cannot start another task thread");
            } else {
                state.threads += 1;
            }
        }
        Ok(())
    }
}

impl Drop for TaskThreads {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With as large a stack as the system has address space for.
    fn start_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let mut stack = self.stack_bytes;
        loop {
            let shared = self.clone();
            let builder = std::thread::Builder::new().name(self.name.clone()).stack_size(stack);
            match builder.spawn(move || shared.work()) {
                Ok(_) => return Ok(()),
                Err(e) if stack / 2 < SMALLEST_STACK => return Err(e),
                Err(_) => stack /= 2,
            }
        }
    }

    fn work(&self) {
        firesteel_closure::stack::guard_this_thread();
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                // Jobs catch what user code throws; this is for what is left, such as a panic of a user's Drop.
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a task thread caught a panic outside of a task");
                }
                state = self.lock();
            } else if state.closed {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::mpsc, thread::ThreadId};

    use super::*;

    fn thread_of_next_job(pool: &TaskThreads) -> ThreadId {
        let (tx, rx) = mpsc::channel();
        pool.execute(move || tx.send(std::thread::current().id()).unwrap()).unwrap();
        rx.recv().unwrap()
    }

    #[test]
    fn threads_are_used_again() {
        let pool = TaskThreads::new("test", 2, 1 << 20);
        let used: BTreeSet<String> = (0..50).map(|_| format!("{:?}", thread_of_next_job(&pool))).collect();
        assert!(used.len() <= 2, "{used:?}");
    }

    #[test]
    fn jobs_run_side_by_side_up_to_the_bound() {
        let pool = TaskThreads::new("test", 3, 1 << 20);
        let meet = Arc::new(std::sync::Barrier::new(4));
        for _ in 0..3 {
            let meet = meet.clone();
            pool.execute(move || _ = meet.wait()).unwrap();
        }
        meet.wait();
        assert!(pool.0.lock().threads <= 3);
    }

    #[test]
    fn a_panicking_job_costs_no_thread() {
        let pool = TaskThreads::new("test", 1, 1 << 20);
        let first = thread_of_next_job(&pool);
        pool.execute(|| std::panic::resume_unwind(Box::new("job"))).unwrap();
        assert_eq!(thread_of_next_job(&pool), first);
    }

    /// Kibibytes of the process in memory.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn a_large_stack_takes_memory_only_where_it_is_touched() {
        fn deep(n: u32) -> u64 {
            let here = std::hint::black_box([u64::from(n); 128]);
            if n == 0 { here[5] } else { deep(n - 1) + here[7] }
        }
        let pool = TaskThreads::new("test", 4, 256 << 20);
        let before = resident();
        for _ in 0..4 {
            thread_of_next_job(&pool);
        }
        assert!(resident() < before + (64 << 10), "idle stacks took {} KiB", resident() - before);
        let (tx, rx) = mpsc::channel();
        // 60,000 frames of a kibibyte and more: far beyond a usual stack of 2 or 8 MiB.
        pool.execute(move || tx.send(deep(60_000)).unwrap()).unwrap();
        assert_eq!(rx.recv().unwrap(), 60_000 * 60_001 / 2);
    }
}
