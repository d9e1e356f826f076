use std::{sync::mpsc, thread};

use super::*;

fn pool(total_bytes: u64) -> Arc<MemoryManager> {
    MemoryManager::new(MemoryConfig { total_bytes, storage_fraction: 0.5 })
}

fn task(pool: &Arc<MemoryManager>, id: u64) -> Arc<TaskMemory> {
    pool.for_task(TaskId(id), Abort::never())
}

/// Blocks of ten bytes each.
struct Blocks {
    pool: Arc<MemoryManager>,
    left: Mutex<u64>,
    asked: Mutex<Vec<u64>>,
}

impl Blocks {
    fn new(pool: &Arc<MemoryManager>, blocks: u64) -> Arc<Blocks> {
        assert!(pool.acquire_storage(10 * blocks, None));
        let blocks = Arc::new(Blocks { pool: pool.clone(), left: Mutex::new(blocks), asked: Mutex::default() });
        let evictor: Arc<dyn Evictor> = blocks.clone();
        pool.set_evictor(Arc::downgrade(&evictor));
        blocks
    }
}

impl Evictor for Blocks {
    fn evict(&self, eviction: Eviction) {
        self.asked.lock().unwrap().push(eviction.bytes);
        let mut left = self.left.lock().unwrap();
        let wanted = eviction.bytes.div_ceil(10);
        if eviction.all_or_nothing && wanted > *left {
            return;
        }
        let dropped = wanted.min(*left);
        *left -= dropped;
        self.pool.release_storage(10 * dropped);
    }
}

/// Waits until a thread stands in the pool's queue: it has asked for memory, so it is counted.
fn until_counted(pool: &MemoryManager, tasks: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while pool.lock().execution.len() < tasks {
        assert!(std::time::Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn a_task_alone_gets_the_whole_pool_and_gives_it_back() {
    let pool = pool(100);
    let memory = task(&pool, 1);
    let mut r = memory.reserve("table");
    assert!(r.resize(100));
    assert!(!r.resize(101));
    assert_eq!((r.held(), memory.held(), pool.execution_used()), (100, 100, 100));
    assert!(r.resize(40));
    assert_eq!(pool.execution_used(), 40);
    drop(r);
    assert_eq!(pool.execution_used(), 0);
}

#[test]
fn each_of_n_tasks_gets_at_most_its_share() {
    let pool = pool(1000);
    // A reservation keeps its task.
    let (mut a, mut b) = (task(&pool, 1).reserve("a"), task(&pool, 2).reserve("b"));
    assert!(a.resize(300) && b.resize(300));
    assert!(!a.resize(501), "more than half");
    assert!(a.resize(500) && b.resize(500));
    drop(b);
    assert!(a.resize(1000), "alone again");
}

#[test]
fn one_that_has_less_than_half_its_share_waits_until_another_lets_go() {
    let pool = pool(1000);
    let first = task(&pool, 1);
    let mut first = first.reserve("first");
    assert!(first.resize(900));
    let (sender, done) = mpsc::channel();
    let waiting = {
        let pool = pool.clone();
        thread::spawn(move || {
            let memory = task(&pool, 2);
            let mut r = memory.reserve("second");
            sender.send((r.resize(240), r.held())).unwrap();
            // 240 + 10 free is its quarter: no more waiting, it is told to spill.
            sender.send((r.resize(400), r.held())).unwrap();
        })
    };
    until_counted(&pool, 2);
    assert!(done.try_recv().is_err(), "100 are free, 250 is what it waits for");
    assert!(!first.resize(901), "its share is half now");
    assert!(first.resize(750));
    assert_eq!(done.recv().unwrap(), (true, 240));
    assert_eq!(done.recv().unwrap(), (false, 240));
    waiting.join().unwrap();
}

#[test]
fn abort_ends_the_wait() {
    let pool = pool(1000);
    let first = task(&pool, 1);
    let mut first = first.reserve("first");
    assert!(first.resize(1000));
    let killed = Arc::new(AtomicBool::new(false));
    let waiting = {
        let (pool, killed) = (pool.clone(), killed.clone());
        thread::spawn(move || {
            let abort = Abort::new(move || killed.load(Ordering::Relaxed).then(|| "killed".to_owned()));
            pool.for_task(TaskId(2), abort).reserve("second").resize(100)
        })
    };
    until_counted(&pool, 2);
    killed.store(true, Ordering::Relaxed);
    assert!(!waiting.join().unwrap());
    assert_eq!(pool.execution_used(), 1000);
}

#[test]
fn execution_drops_blocks_down_to_the_storage_region_only() {
    let pool = pool(1000);
    let blocks = Blocks::new(&pool, 80);
    let memory = task(&pool, 1);
    let mut r = memory.reserve("table");
    assert!(r.resize(200));
    assert!(blocks.asked.lock().unwrap().is_empty(), "that much was free");
    assert!(r.resize(350));
    assert_eq!((pool.storage_used(), &*blocks.asked.lock().unwrap()), (650, &vec![150]));
    assert!(!r.resize(501) && r.resize(500));
    assert_eq!(pool.storage_used(), 500);
    assert!(!r.resize(510), "the region is not touched");
    assert_eq!((pool.storage_used(), *blocks.left.lock().unwrap()), (500, 50));
}

#[test]
fn storage_takes_what_execution_leaves_free_but_nothing_from_it() {
    let pool = pool(1000);
    let memory = task(&pool, 1);
    let mut r = memory.reserve("table");
    assert!(r.resize(300));
    let blocks = Blocks::new(&pool, 70);
    assert!(!pool.acquire_storage(701, None));
    assert!(blocks.asked.lock().unwrap().is_empty(), "nothing is dropped in vain");
    assert!(pool.acquire_storage(20, None), "in place of two blocks");
    assert_eq!((*blocks.left.lock().unwrap(), pool.storage_used(), pool.execution_used()), (68, 700, 300));
}

#[test]
fn the_larger_consumer_of_a_task_is_asked_to_spill() {
    let pool = pool(100);
    let memory = task(&pool, 1);
    let (mut large, mut small, mut third) = (memory.reserve("large"), memory.reserve("small"), memory.reserve("third"));
    assert!(large.resize(70) && small.resize(20));
    assert!(!third.resize(30));
    assert!(large.asked_to_spill() && !small.asked_to_spill());
    assert!(large.resize(10) && !large.asked_to_spill());
    assert!(third.resize(30));
}

#[test]
fn what_is_forced_counts_and_may_exceed_the_pool() {
    let pool = pool(100);
    let blocks = Blocks::new(&pool, 5);
    let memory = task(&pool, 1);
    let mut r = memory.reserve("record");
    r.force(120);
    assert_eq!((r.held(), pool.execution_used(), *blocks.left.lock().unwrap()), (120, 120, 0));
    drop((r, memory));
    assert_eq!(pool.execution_used(), 0);
}

#[test]
fn many_threads_never_take_more_than_there_is_and_all_end() {
    let pool = pool(1 << 20);
    let threads: Vec<_> = (0..8u64)
        .map(|n| {
            let pool = pool.clone();
            thread::spawn(move || {
                for round in 0..50 {
                    let memory = task(&pool, n);
                    let mut r = memory.reserve("table");
                    let mut wanted = 0;
                    for step in 0..40 {
                        wanted += 1000 * (1 + (n + round + step) % 7);
                        if !r.resize(wanted) {
                            wanted = 0;
                            assert!(r.resize(0));
                        }
                        assert!(pool.execution_used() <= pool.total());
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(pool.execution_used(), 0);
}

#[test]
fn small_processes_keep_most_of_their_memory() {
    let of = |mib: u64| MemoryConfig::of_process(mib << 20, 0.6, 0.5).total_bytes;
    assert_eq!(of(128), ((96u64 << 20) as f64 * 0.6) as u64);
    assert_eq!(of(4096), ((3796u64 << 20) as f64 * 0.6) as u64);
}
