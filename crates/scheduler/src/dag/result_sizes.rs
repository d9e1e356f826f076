//! How much the results of a job take together: what `spark.driver.maxResultSize` bounds. Called by `completion.rs` and
//! `failure.rs`.

/// The sizes of a job's results, each partition counted once, however many attempts report one.
#[derive(Debug)]
pub(crate) struct ResultSizes {
    /// Of each partition, plus one; 0 where there is none.
    sizes: Vec<u64>,
    total: u64,
    tasks: u32,
}

impl ResultSizes {
    /// Of a job with so many partitions, none of which has a result.
    pub fn new(partitions: usize) -> ResultSizes {
        ResultSizes { sizes: vec![0; partitions], total: 0, tasks: 0 }
    }

    /// The result of a partition has `size` bytes.
    pub fn set(&mut self, index: u32, size: u64) {
        self.clear(index);
        if let Some(slot) = self.sizes.get_mut(index as usize) {
            *slot = size.saturating_add(1);
            self.total = self.total.saturating_add(*slot - 1);
            self.tasks += 1;
        }
    }

    /// The result of a partition will not come, or not this one.
    pub fn clear(&mut self, index: u32) {
        if let Some(slot) = self.sizes.get_mut(index as usize)
            && let Some(size) = std::mem::take(slot).checked_sub(1)
        {
            self.total = self.total.saturating_sub(size);
            self.tasks -= 1;
        }
    }

    /// There are no results any more.
    pub fn clear_all(&mut self) {
        self.sizes.fill(0);
        (self.total, self.tasks) = (0, 0);
    }

    /// Bytes of all results that are there or on their way.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many results these are.
    pub fn tasks(&self) -> u32 {
        self.tasks
    }
}
