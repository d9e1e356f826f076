//! What an aggregation hands out: everything at once when it is drained, part after part when its input has ended.

use firesteel_common::TaskFailure;

use super::{
    Aggregated, Aggregation, Combine, Entries,
    aggregated::Source,
    aggregation::{HOT, PARTS},
    estimate::Growing,
};
use crate::{ShuffleError, index::Index, merge::Merge, spill::digit};

impl<A: Combine> Aggregation<A> {
    /// Hands all entries to `to`, part by part, as (hash, key, combined), and gives its memory back.
    ///
    /// A key may come twice, once from the hot table.
    pub fn drain<E: From<ShuffleError>>(
        &mut self,
        mut to: impl FnMut(u64, A::Key, A::Combined) -> Result<(), E>,
    ) -> Result<(), E> {
        self.drain_with(|_, hash, key, value| to(hash, key, value))
    }

    /// [`Aggregation::drain`] to one who has to know how is combined.
    pub(super) fn drain_with<E: From<ShuffleError>>(
        &mut self,
        mut to: impl FnMut(&A, u64, A::Key, A::Combined) -> Result<(), E>,
    ) -> Result<(), E> {
        self.full = false;
        let mut hot = self.take_hot();
        for p in 0..self.parts.len() {
            if let Some(hot) = hot.get_mut(p) {
                hot.drain().try_for_each(|(hash, key, value)| to(&self.how, hash, key, value))?;
            }
            self.combine(p);
            let part = &mut self.parts[p];
            part.combined_heap = 0;
            part.combined.drain().try_for_each(|(hash, key, value)| to(&self.how, hash, key, value))?;
        }
        if self.parts.is_empty() {
            let mut all = hot.iter_mut().flat_map(Entries::drain);
            all.try_for_each(|(hash, key, value)| to(&self.how, hash, key, value))?;
        }
        self.combined_bytes = 0;
        (self.seen, self.unchecked) = (0, 0);
        self.scratch = Index::default();
        (self.hot_on, self.hot_most, self.asked, self.hits) = (true, HOT, 0, 0);
        let used = self.used();
        self.memory.force(used);
        Ok(())
    }

    /// The hot entries by part, each part's in the order in which they came; all in one where there are no parts.
    fn take_hot(&mut self) -> Vec<Entries<A::Key, A::Combined>> {
        let mut hot = std::mem::take(&mut self.hot);
        (self.index, self.hot_heap) = (Index::default(), Growing::default());
        if self.parts.is_empty() {
            let mut all: Vec<_> = hot.drain().collect();
            all.sort_by_key(|(hash, ..)| digit(*hash, 0));
            all.into_iter().for_each(|(hash, key, value)| hot.push(hash, key, value));
            return vec![hot];
        }
        let mut parts: Vec<Entries<_, _>> = (0..PARTS).map(|_| Entries::default()).collect();
        hot.drain().for_each(|(hash, key, value)| parts[digit(hash, 0)].push(hash, key, value));
        parts
    }

    /// Ends the input.
    pub fn finish(mut self) -> Result<Aggregated<A>, TaskFailure> {
        if self.spilled.is_some() {
            self.spill()?;
        }
        match self.spilled.take() {
            None => {
                let hot = self.take_hot();
                Ok(Aggregated::new(Source::Memory { table: Box::new(self), hot, part: 0 }))
            }
            Some(file) => {
                let Aggregation { how, spills, memory, .. } = self;
                Ok(Aggregated::new(Source::Disk(Box::new(Merge::new(how, spills, memory, file.finish()?)))))
            }
        }
    }

    /// Everything of one part, combined.
    pub(super) fn take_part(&mut self, p: usize, hot: Entries<A::Key, A::Combined>) -> Entries<A::Key, A::Combined> {
        if hot.len() > 0 {
            // Before the rest, as they came first.
            let part = &mut self.parts[p];
            let later = std::mem::replace(&mut part.combined, hot);
            if later.len() > 0 {
                part.combined.index_into(&mut self.scratch, later.len());
                let (mut later, how) = (later, &self.how);
                let merge = |a, b| how.merge_combined(a, b);
                part.combined.put_all(&mut self.scratch, later.drain().collect(), &mut self.places, |c| c, merge);
            }
        }
        self.combine(p);
        let part = &mut self.parts[p];
        let taken = std::mem::take(&mut part.combined);
        self.combined_bytes = self.combined_bytes.saturating_sub(taken.bytes() + part.combined_heap);
        // Every eighth part is enough to tell the others.
        if p % 8 == 7 {
            let used = self.used();
            if used < self.memory.held() {
                self.memory.force(used);
            }
        }
        taken
    }
}
