//! The combined entries of an aggregation whose input has ended, out of its own tables or what it spilled.

use std::{iter::Zip, mem::needs_drop, vec::IntoIter};

use firesteel_common::{TaskFailure, size::Filling};

use super::{Aggregation, Combine, Entries, heap_bytes};
use crate::merge::Merge;

/// Where the parts come from.
pub(super) enum Source<A: Combine> {
    Memory { table: Box<Aggregation<A>>, hot: Vec<Entries<A::Key, A::Combined>>, part: usize },
    Disk(Box<Merge<A>>),
}

/// The entries of one part.
type Entering<A> = Zip<IntoIter<(u64, <A as Combine>::Key)>, IntoIter<<A as Combine>::Combined>>;

/// What an [`Aggregation`] came to.
pub struct Aggregated<A: Combine> {
    source: Source<A>,
    current: Entering<A>,
    /// What is handed out together is bounded by bytes, too: a group may be large.
    filling: Filling,
}

impl<A: Combine> Aggregated<A> {
    pub(super) fn new(source: Source<A>) -> Self {
        Aggregated { source, current: Vec::new().into_iter().zip(Vec::new()), filling: Filling::default() }
    }

    /// The next entries, about `most`, or fewer where these are a megabyte; none of them only at the end, as `None`.
    pub fn next_batch(&mut self, most: usize) -> Result<Option<Vec<(A::Key, A::Combined)>>, TaskFailure> {
        self.filling.begin();
        let most = self.filling.room(most);
        let mut batch = Vec::with_capacity(self.current.len().min(most));
        loop {
            if self.take_current(most, &mut batch) {
                break;
            }
            let Some(entries) = self.next_part()? else { break };
            batch.reserve(entries.len().min(most - batch.len()));
            self.current = entries.keys.into_iter().zip(entries.values);
        }
        Ok(if batch.is_empty() { None } else { Some(batch) })
    }

    /// Moves entries of the current part to `batch`; true when that has enough.
    fn take_current(&mut self, most: usize, batch: &mut Vec<(A::Key, A::Combined)>) -> bool {
        if !needs_drop::<(A::Key, A::Combined)>() {
            let room = most - batch.len();
            batch.extend(self.current.by_ref().take(room).map(|((_, key), value)| (key, value)));
            return batch.len() >= most;
        }
        for ((_, key), value) in self.current.by_ref() {
            let heap = || heap_bytes(&key) + heap_bytes(&value);
            let full = self.filling.is_full_by::<(A::Key, A::Combined)>(heap);
            batch.push((key, value));
            if full || batch.len() >= most {
                return true;
            }
        }
        false
    }

    fn next_part(&mut self) -> Result<Option<Entries<A::Key, A::Combined>>, TaskFailure> {
        match &mut self.source {
            Source::Disk(merge) => merge.next_part(),
            Source::Memory { table, hot, part } => {
                let p = *part;
                *part += 1;
                let hot = hot.get_mut(p).map(std::mem::take);
                if table.parts.is_empty() {
                    return Ok(hot);
                }
                if p >= table.parts.len() {
                    table.memory.force(0);
                    return Ok(None);
                }
                Ok(Some(table.take_part(p, hot.unwrap_or_default())))
            }
        }
    }
}
