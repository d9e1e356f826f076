use super::*;
use crate::MemoryConfig;

struct Fake(u8);

impl CachedValues for Fake {
    fn encode(&self, sink: FrameSink<'_>) -> Result<(), BlockError> {
        sink(&Frame { elements: 1, bytes: vec![self.0; 10].into() })
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

fn store(total_bytes: u64) -> Arc<MemoryStore> {
    MemoryStore::new(MemoryManager::new(MemoryConfig { total_bytes, storage_fraction: 0.5 }), None)
}

fn rdd(rdd: u32, partition: u32) -> BlockId {
    BlockId::Rdd { rdd: RddId(rdd), partition }
}

fn put(store: &MemoryStore, id: BlockId, size: u64, spills: bool) -> bool {
    let BlockId::Rdd { rdd, .. } = id else { return false };
    let fits = store.manager.acquire_storage(size, Some(rdd));
    if fits {
        store.put(id, Cached::Values(Arc::new(Fake(7))), size, spills);
    }
    fits
}

#[test]
fn the_least_recently_used_partition_goes_first() {
    let store = store(100);
    for p in 0..3 {
        assert!(put(&store, rdd(1, p), 30, false));
    }
    assert!(store.get(&rdd(1, 0)).is_some());
    assert!(put(&store, rdd(2, 0), 40, false));
    assert_eq!(store.take_dropped(), [rdd(1, 1)]);
    assert_eq!(store.manager.storage_used(), 100);
    assert!(store.get(&rdd(1, 1)).is_none() && store.get(&rdd(1, 0)).is_some());
}

#[test]
fn a_partition_does_not_push_out_its_own_rdd_nor_one_that_is_read() {
    let store = store(100);
    put(&store, rdd(2, 0), 20, false);
    put(&store, rdd(1, 0), 60, false);
    assert!(!put(&store, rdd(1, 1), 60, false) && store.take_dropped().is_empty());
    let read = store.get(&rdd(2, 0)).unwrap();
    assert!(!put(&store, rdd(1, 1), 40, false));
    drop(read);
    assert!(put(&store, rdd(1, 1), 40, false));
    assert_eq!(store.take_dropped(), [rdd(2, 0)]);
}

#[test]
fn what_may_go_to_disk_goes_there() {
    let dir = tempfile::tempdir().unwrap();
    let disk = DiskStore::new(&[dir.path().to_owned()]);
    let manager = MemoryManager::new(MemoryConfig { total_bytes: 100, storage_fraction: 0.5 });
    let store = MemoryStore::new(manager, Some(disk.clone()));
    assert!(put(&store, rdd(1, 0), 60, true) && put(&store, rdd(2, 0), 60, false));
    assert!(store.take_dropped().is_empty(), "it is not gone");
    let frame = disk.get(&rdd(1, 0)).unwrap().read().unwrap().next_frame().unwrap().unwrap();
    assert_eq!((frame.elements, &frame.bytes[..]), (1, &[7; 10][..]));
    assert!(put(&store, rdd(3, 0), 60, true));
    assert_eq!((store.take_dropped(), disk.get(&rdd(2, 0)).is_none()), (vec![rdd(2, 0)], true));
}

#[test]
fn a_partition_whose_spill_fails_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("blocks"), "in the way").unwrap();
    let manager = MemoryManager::new(MemoryConfig { total_bytes: 100, storage_fraction: 0.5 });
    let store = MemoryStore::new(manager, Some(DiskStore::new(&[dir.path().to_owned()])));
    assert!(put(&store, rdd(1, 0), 60, true) && put(&store, rdd(2, 0), 60, true));
    assert_eq!(store.take_dropped(), [rdd(1, 0)]);
}

#[test]
fn bytes_push_out_partitions_but_not_bytes() {
    let store = store(100);
    put(&store, rdd(1, 0), 90, false);
    let a = BlockId::TaskResult(firesteel_common::TaskId(1));
    let b = BlockId::TaskResult(firesteel_common::TaskId(2));
    store.put_bytes(a, Bytes::from(vec![0; 60])).unwrap();
    assert_eq!(store.take_dropped(), [rdd(1, 0)]);
    let e = store.put_bytes(b, Bytes::from(vec![0; 60])).unwrap_err();
    assert!(e.to_string().contains("taskresult_2") && e.to_string().contains("spark.executor.memory"), "{e}");
    assert!(store.remove(&a) && !store.remove(&a));
    store.put_bytes(b, Bytes::from(vec![0; 60])).unwrap();
    assert_eq!(store.manager.storage_used(), 60);
}

#[test]
fn a_second_copy_replaces_the_first() {
    let store = store(200);
    put(&store, rdd(1, 0), 60, false);
    assert!(put(&store, rdd(1, 0), 70, false));
    assert_eq!(store.manager.storage_used(), 70);
}

#[test]
fn removing_an_rdd_frees_its_partitions_only() {
    let store = store(100);
    for id in [rdd(1, 3), rdd(1, 0), rdd(2, 0)] {
        put(&store, id, 10, false);
    }
    assert_eq!(store.remove_rdd(RddId(1)), [0, 3]);
    assert_eq!(store.manager.storage_used(), 10);
}
