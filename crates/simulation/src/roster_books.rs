//! What a driver was told of its executors, kept beside its roster: whom that lets in and what it tells is held against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firesteel_backend::News;
use firesteel_common::{ExecutorId, Tick};

use crate::counts::Counts;

/// A registration waits so long for the word that its executor is granted.
const GRANT: Duration = Duration::from_secs(10);

/// What an executor had sent has this long to arrive after the word of its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct RosterBooks {
    granted: BTreeSet<ExecutorId>,
    /// The executors that each worker was ever to run.
    workers: BTreeMap<String, BTreeSet<ExecutorId>>,
    /// Those that were ever let in.
    admitted: BTreeSet<ExecutorId>,
    /// Those whose end was said, by themselves or with their workers.
    over: BTreeSet<ExecutorId>,
    /// Since when, of those of whose end the schedulers have not heard.
    untold: BTreeMap<ExecutorId, Tick>,
}

impl RosterBooks {
    /// The master says something.
    pub(crate) fn told(&mut self, now: Tick, news: &News, counts: &mut Counts) {
        match news {
            News::Granted(grant) => {
                self.workers.entry(grant.node.clone()).or_default().insert(grant.executor);
                counts.granted_again += usize::from(!self.granted.insert(grant.executor));
            }
            News::Ended { executor, .. } => self.is_over(now, *executor),
            News::NodeLost { node, .. } => {
                for executor in self.workers.remove(node).into_iter().flatten() {
                    counts.unreported += usize::from(!self.over.contains(&executor));
                    self.is_over(now, executor);
                }
            }
            News::NodeLeaves { .. } => {}
        }
    }

    fn is_over(&mut self, now: Tick, executor: ExecutorId) {
        if self.over.insert(executor) {
            self.untold.insert(executor, now);
        }
    }

    /// Somebody asks to be let in. Whether that is faster than the word that the executor is granted.
    pub(crate) fn registers(&self, executor: ExecutorId) -> bool {
        !self.granted.contains(&executor) && !self.over.contains(&executor)
    }

    /// An executor is let in. The error says why it must not be.
    pub(crate) fn let_in(&mut self, executor: ExecutorId) -> Result<(), String> {
        if self.over.contains(&executor) {
            return Err(format!("{executor} is let in, which has ended"));
        }
        if !self.granted.contains(&executor) {
            return Err(format!("{executor} is let in, which nobody has granted"));
        }
        if self.admitted.insert(executor) { Ok(()) } else { Err(format!("{executor} is let in a second time")) }
    }

    /// An executor is refused that has waited so long. The error says why it must not be.
    pub(crate) fn refused(&self, executor: ExecutorId, waited: Duration) -> Result<(), String> {
        if self.over.contains(&executor) || self.admitted.contains(&executor) {
            return Ok(());
        }
        if self.granted.contains(&executor) {
            return Err(format!("{executor} is refused, which was granted"));
        }
        if waited < GRANT { Err(format!("{executor} is refused after {waited:?} already")) } else { Ok(()) }
    }

    /// The schedulers hear that an executor is gone; `open`: more may come from it. The error says why they must not yet.
    pub(crate) fn removed(&mut self, executor: ExecutorId, now: Tick, open: bool) -> Result<(), String> {
        match self.untold.remove(&executor) {
            Some(since) if open && now.since(since) < LAST_WORDS => {
                Err(format!("{executor} counts as gone while what it has sent may come"))
            }
            _ => Ok(()),
        }
    }

    /// Whoever has ended is said to be gone, in time; `calm_since`: until then the driver may not have had its turn.
    pub(crate) fn check(&self, now: Tick, calm_since: Tick) -> Result<(), String> {
        let late = self.untold.iter().find(|(_, since)| now > calm_since && now.since(**since) > LAST_WORDS);
        late.map_or(Ok(()), |(executor, since)| Err(format!("{executor} has ended at {since:?}, and nobody is told")))
    }
}
