//! Executors that register: who may come in, and who must wait for the word that it was granted.

use std::time::Duration;

use firesteel_common::{ExecutorId, Tick};

use crate::{
    RosterEffect, StreamId,
    roster::{Connection, Roster},
};

/// An executor may be faster than the word that it was granted; the word has this long to come.
pub(crate) const GRANT: Duration = Duration::from_secs(10);

/// Who has registered and was not granted yet.
#[derive(Debug)]
pub(crate) struct Applicant {
    pub(crate) executor: ExecutorId,
    pub(crate) until: Tick,
}

impl Roster {
    pub(crate) fn registers(&mut self, now: Tick, executor: ExecutorId, stream: StreamId, out: &mut Vec<RosterEffect>) {
        if self.gone.contains(&executor) {
            let reason = format!("{executor} was removed from this application");
            return out.push(RosterEffect::Refuse { stream, reason });
        }
        self.applicants.insert(stream, Applicant { executor, until: now + GRANT });
        if self.granted.contains_key(&executor) {
            self.let_in(executor, out);
        }
    }

    /// The executor is granted: those that have registered as it are answered. The first is taken.
    pub(crate) fn let_in(&mut self, executor: ExecutorId, out: &mut Vec<RosterEffect>) {
        let Some(granted) = self.granted.get_mut(&executor) else { return };
        for (stream, _) in self.applicants.extract_if(.., |_, applicant| applicant.executor == executor) {
            if let Some(reason) = &granted.given_up {
                let reason = format!("{executor} is to end: {reason}");
                out.push(RosterEffect::Refuse { stream, reason });
            } else if granted.connection == Connection::Awaited {
                granted.connection = Connection::Open(stream);
                self.streams.insert(stream, executor);
                out.push(RosterEffect::Admit { stream });
            } else {
                let reason = format!("{executor} has registered before; an executor that was lost stays lost");
                out.push(RosterEffect::Refuse { stream, reason });
            }
        }
    }

    /// The executor has ended without having been let in.
    pub(crate) fn refuse_gone(&mut self, executor: ExecutorId, out: &mut Vec<RosterEffect>) {
        for (stream, _) in self.applicants.extract_if(.., |_, applicant| applicant.executor == executor) {
            let reason = format!("{executor} was removed from this application");
            out.push(RosterEffect::Refuse { stream, reason });
        }
    }

    /// Those whose grant has not come in time.
    pub(crate) fn refuse_unknown(&mut self, now: Tick, out: &mut Vec<RosterEffect>) {
        for (stream, Applicant { executor, .. }) in
            self.applicants.extract_if(.., |_, applicant| applicant.until <= now)
        {
            let reason = format!("{executor} was not granted to this application");
            out.push(RosterEffect::Refuse { stream, reason });
        }
    }
}
