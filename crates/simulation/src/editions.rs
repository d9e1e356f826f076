//! What each output was made from, so that a result that mixes two editions of something shows, also where no record is
//! lost or doubled by it.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{ShuffleId, StageAttempt, TaskId};

use crate::{
    model::{self, Record},
    state::stage::StageInfo,
};

/// What a driver's tasks read and made.
#[derive(Default)]
pub(crate) struct Editions {
    /// The map tasks whose outputs an attempt was told to read, in map order.
    read: BTreeMap<StageAttempt, BTreeMap<ShuffleId, Vec<TaskId>>>,
    /// In which attempt an output was made, and the checksum of its content.
    made: BTreeMap<TaskId, (StageAttempt, u64)>,
}

impl Editions {
    pub(crate) fn started(&mut self, attempt: StageAttempt, stage: &StageInfo) {
        let maps = stage.shuffles.iter().map(|(s, all)| (*s, all.iter().map(|l| l.map_task).collect()));
        self.read.insert(attempt, maps.collect());
    }

    pub(crate) fn made(&mut self, task: TaskId, attempt: StageAttempt, checksum: u64) {
        self.made.insert(task, (attempt, checksum));
    }

    /// A job's results come from these attempts: whatever they were computed from, each output is of one edition.
    pub(crate) fn check(&self, results: impl IntoIterator<Item = StageAttempt>) -> Result<(), String> {
        let mut todo: Vec<StageAttempt> = results.into_iter().collect();
        let mut done: BTreeSet<StageAttempt> = BTreeSet::new();
        let mut known: BTreeMap<(ShuffleId, usize), (TaskId, u64)> = BTreeMap::new();
        while let Some(attempt) = todo.pop() {
            if !done.insert(attempt) {
                continue;
            }
            for (shuffle, maps) in self.read.get(&attempt).into_iter().flatten() {
                for (map, task) in maps.iter().enumerate() {
                    let Some((from, checksum)) = self.made.get(task) else { continue };
                    let (other, first) = *known.entry((*shuffle, map)).or_insert((*task, *checksum));
                    if first != *checksum {
                        return Err(format!("output {map} of {shuffle} was read as {other} and as {task} made it"));
                    }
                    todo.push(*from);
                }
            }
        }
        Ok(())
    }
}

/// A result as it travels: with the attempt that made it.
pub(crate) fn encode_result(attempt: StageAttempt, records: &[Record]) -> Vec<u8> {
    firesteel_common::codec::encode(&(attempt.stage.0, attempt.attempt, records.to_vec())).unwrap_or_default()
}

/// The reverse.
pub(crate) fn decode_result(bytes: &[u8]) -> Result<(StageAttempt, Vec<Record>), String> {
    let (stage, attempt, records) = firesteel_common::codec::decode(bytes).map_err(|e| e.to_string())?;
    Ok((StageAttempt { stage: firesteel_common::StageId(stage), attempt }, records))
}

/// The checksum of an output.
pub(crate) fn checksum(blocks: &[Vec<Record>]) -> u64 {
    model::checksum(blocks.iter().enumerate().flat_map(|(reduce, rows)| rows.iter().map(move |r| (reduce as u32, *r))))
}
