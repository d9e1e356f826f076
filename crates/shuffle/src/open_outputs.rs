//! Map outputs that are being read: a bounded number of open files, and small blocks that were read ahead.
//!
//! Reducers come one after the other, and each wants its block of every map output. With many outputs that would mean
//! opening two files for some dozens of bytes, again and again. So files stay open, up to a bound; where they had to be
//! closed, or where blocks are small, the blocks of the reducers that come next are read together with one that is asked
//! for. What is thrown out is chosen by chance: whoever goes round in circles through more outputs than fit would, by
//! age, always find that the next one has just gone.
//!
//! Called by [`crate::ShuffleManager`] and [`crate::ApplicationShuffles`].

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use firesteel_common::{
    ShuffleId, TaskId,
    conf::{Conf, ConfError, keys},
    hash::FixedHash,
};
use firesteel_storage::{BlockData, BlockError};
use nix::sys::resource::{Resource, getrlimit};

use crate::{
    block_body::BlockBody,
    files::{Ahead, MapFiles},
};

/// An open output has two descriptors; all of them together take at most this part of what the process may have.
const SHARE_OF_DESCRIPTORS: u64 = 4;
/// More than this is not read ahead of one output.
const MOST_AHEAD: u64 = 64 << 10;
/// Reading ahead must serve so many blocks where it saves opening the files, and so many where they are open: a block
/// that is read by itself is copied once less.
const WORTH_OPENING: u32 = 2;
const WORTH_READING: u32 = 8;

/// What an [`OpenOutputs`] may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadBounds {
    /// Outputs whose files stay open, two descriptors each.
    pub open_outputs: usize,
    /// Bytes that are read ahead, of all outputs together.
    pub ahead_bytes: u64,
}

impl Default for ReadBounds {
    fn default() -> Self {
        ReadBounds { open_outputs: 1024, ahead_bytes: 32 << 20 }
    }
}

impl ReadBounds {
    /// What the configuration says.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<ReadBounds, ConfError> {
        Ok(ReadBounds {
            open_outputs: conf.get(&keys::SHUFFLE_OPEN_OUTPUTS)? as usize,
            ahead_bytes: conf.get(&keys::SHUFFLE_READ_AHEAD)?.0,
        })
    }
}

/// One map output: whose it is (an application, where several are served), of which shuffle and which task.
type Key = (u32, ShuffleId, TaskId);

/// Where a block was found.
pub(crate) enum Found {
    /// Read ahead, and compared with its checksum then.
    Ahead(Arc<Ahead>),
    /// In these files.
    Files(Arc<MapFiles>),
}

impl Found {
    /// The block as it is sent.
    pub fn block(&self, reduce: u32) -> Result<BlockData, BlockError> {
        match self {
            Found::Files(files) => files.block(reduce),
            Found::Ahead(ahead) => Ok(ahead.block(reduce).map_or(BlockData::Bytes(Bytes::new()), |(range, crc32c)| {
                BlockData::Summed { bytes: ahead.bytes.slice(range), crc32c }
            })),
        }
    }

    /// Puts the block, which is checked, into `body`; one of more than `limit` bytes stays in its file.
    pub fn read(&self, reduce: u32, limit: u64, body: &mut BlockBody) -> Result<(), BlockError> {
        match self {
            Found::Files(files) => files.read(reduce, limit, body),
            Found::Ahead(ahead) => {
                let range = ahead.block(reduce).map_or(0..0, |(range, _)| range);
                body.memory().start(range.len()).copy_from_slice(&ahead.bytes[range]);
                Ok(())
            }
        }
    }
}

/// The outputs that are being read, of one executor or of all applications of a shuffle service.
pub(crate) struct OpenOutputs {
    bounds: ReadBounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outputs: HashMap<Key, Output, FixedHash>,
    /// How many of them a shuffle has.
    of_shuffle: HashMap<(u32, ShuffleId), u64, FixedHash>,
    /// Those whose files are open.
    open: Vec<Key>,
    /// Those of which something is read ahead, and how much that is together.
    ahead: Vec<Key>,
    ahead_bytes: u64,
    random: u64,
}

struct Output {
    files: Option<Arc<MapFiles>>,
    /// Where they are.
    dir: Arc<Path>,
    ahead: Option<Arc<Ahead>>,
    /// The last reducer whose block was asked for.
    last: u32,
}

impl OpenOutputs {
    /// With nothing open. Of `bounds`, the number of files is cut to what the process may have open.
    pub fn new(bounds: ReadBounds) -> OpenOutputs {
        let descriptors = match getrlimit(Resource::RLIMIT_NOFILE) {
            Ok((soft, _)) => soft,
            Err(e) => {
                tracing::warn!(error = %e, "cannot see how many files may be open; taking 1024");
                1024
            }
        };
        let most = usize::try_from(descriptors / SHARE_OF_DESCRIPTORS / 2).unwrap_or(usize::MAX);
        let open_outputs = bounds.open_outputs.min(most).max(1);
        OpenOutputs { bounds: ReadBounds { open_outputs, ..bounds }, state: Mutex::default() }
    }

    /// Finds the block of `reduce` of an output. Where its files are not open `open` opens them, and is told in which
    /// directory they were the last time.
    pub fn find(
        &self,
        key: Key,
        reduce: u32,
        open: impl FnOnce(Option<&Path>) -> Result<MapFiles, BlockError>,
    ) -> Result<Found, BlockError> {
        let mut state = self.state();
        let outputs = state.of_shuffle.get(&(key.0, key.1)).copied().unwrap_or(0).max(1);
        let (files, dir, step) = match state.outputs.get_mut(&key) {
            None => (None, None, 0),
            Some(output) => {
                let step = reduce.saturating_sub(output.last);
                output.last = output.last.max(reduce);
                if let Some(ahead) = &output.ahead
                    && ahead.block(reduce).is_some()
                {
                    return Ok(Found::Ahead(ahead.clone()));
                }
                (output.files.clone(), Some(output.dir.clone()), step)
            }
        };
        drop(state);
        let worth = if files.is_some() { WORTH_READING } else { WORTH_OPENING };
        let files = match files {
            Some(files) => files,
            None => Arc::new(open(dir.as_deref())?),
        };
        // Where a reducer after the last one is asked for, the next ones will be, at the same distance.
        let bytes = (self.bounds.ahead_bytes / outputs).min(MOST_AHEAD);
        let ahead = if step == 0 { None } else { files.read_ahead(reduce, step.saturating_mul(worth), bytes) };
        let ahead = ahead.map(Arc::new);
        self.state().keep(&self.bounds, key, reduce, &files, ahead.clone());
        Ok(ahead.map_or(Found::Files(files), Found::Ahead))
    }

    /// The files of an output if they are open.
    pub fn files(&self, key: Key) -> Option<Arc<MapFiles>> {
        self.state().outputs.get(&key).and_then(|output| output.files.clone())
    }

    /// Forgets an output, so that it is looked at anew.
    pub fn forget(&self, key: Key) {
        self.state().remove(|k| *k == key);
    }

    /// Closes the files of a shuffle.
    pub fn forget_shuffle(&self, owner: u32, shuffle: ShuffleId) {
        self.state().remove(|(o, s, _)| (*o, *s) == (owner, shuffle));
    }

    /// Closes the files of an owner.
    pub fn forget_owner(&self, owner: u32) {
        self.state().remove(|(o, ..)| *o == owner);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Outputs whose files are open, and bytes read ahead.
    #[cfg(test)]
    pub fn held(&self) -> (usize, u64) {
        let state = self.state();
        (state.open.len(), state.ahead_bytes)
    }
}

impl State {
    /// Keeps what was opened and read; throws out what is then too much.
    fn keep(&mut self, bounds: &ReadBounds, key: Key, reduce: u32, files: &Arc<MapFiles>, ahead: Option<Arc<Ahead>>) {
        let (output, is_new) = match self.outputs.entry(key) {
            Entry::Occupied(entry) => (entry.into_mut(), false),
            Entry::Vacant(entry) => {
                (entry.insert(Output { files: None, dir: files.dir().into(), ahead: None, last: reduce }), true)
            }
        };
        if output.files.is_none() {
            output.files = Some(files.clone());
            self.open.push(key);
        }
        if let Some(ahead) = ahead {
            self.ahead_bytes += ahead.memory_bytes();
            match output.ahead.replace(ahead) {
                Some(old) => self.ahead_bytes -= old.memory_bytes(),
                None => self.ahead.push(key),
            }
        }
        if is_new {
            *self.of_shuffle.entry((key.0, key.1)).or_default() += 1;
        }
        while self.open.len() > bounds.open_outputs {
            let at = self.below(self.open.len());
            let closed = self.open.swap_remove(at);
            if let Some(output) = self.outputs.get_mut(&closed) {
                output.files = None;
            }
        }
        while self.ahead_bytes > bounds.ahead_bytes && !self.ahead.is_empty() {
            let at = self.below(self.ahead.len());
            let dropped = self.ahead.swap_remove(at);
            if let Some(old) = self.outputs.get_mut(&dropped).and_then(|output| output.ahead.take()) {
                self.ahead_bytes -= old.memory_bytes();
            }
        }
    }

    fn remove(&mut self, is_it: impl Fn(&Key) -> bool) {
        let State { outputs, of_shuffle, open, ahead, ahead_bytes, .. } = self;
        outputs.retain(|key, output| {
            let goes = is_it(key);
            if goes {
                *ahead_bytes -= output.ahead.as_ref().map_or(0, |ahead| ahead.memory_bytes());
                if let Some(n) = of_shuffle.get_mut(&(key.0, key.1)) {
                    *n -= 1;
                }
            }
            !goes
        });
        of_shuffle.retain(|_, n| *n > 0);
        open.retain(|key| !is_it(key));
        ahead.retain(|key| !is_it(key));
    }

    /// A number below `n`, by xorshift; which one does not matter.
    fn below(&mut self, n: usize) -> usize {
        let mut x = self.random | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        (x >> 16) as usize % n.max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::files::{data_name, encode_index, index_name};

    const SHUFFLE: ShuffleId = ShuffleId(3);
    const REDUCERS: u32 = 100;

    /// What the block of a reducer holds: `len` bytes that tell whose they are.
    fn content(task: u64, reduce: u32, len: usize) -> Vec<u8> {
        (0..len).map(|i| (task as u32 * 31 + reduce * 7 + i as u32) as u8).collect()
    }

    fn write(dir: &Path, task: u64, len: usize) {
        let blocks: Vec<Vec<u8>> = (0..REDUCERS).map(|reduce| content(task, reduce, len)).collect();
        let sums: Vec<(u64, u32)> = blocks.iter().map(|block| (len as u64, crc32c::crc32c(block))).collect();
        fs::write(dir.join(index_name(SHUFFLE, TaskId(task))), encode_index(&sums)).unwrap();
        fs::write(dir.join(data_name(SHUFFLE, TaskId(task))), blocks.concat()).unwrap();
    }

    fn get(outputs: &OpenOutputs, dir: &Path, task: u64, reduce: u32, opened: &mut u32) -> Result<Vec<u8>, BlockError> {
        let found = outputs.find((0, SHUFFLE, TaskId(task)), reduce, |known| {
            assert!(known.is_none_or(|known| known == dir));
            *opened += 1;
            MapFiles::open_in([PathBuf::from("/nowhere"), dir.to_owned()].into_iter(), SHUFFLE, TaskId(task))
        })?;
        let mut body = BlockBody::default();
        found.read(reduce, 1 << 20, &mut body)?;
        let sent = match found.block(reduce)? {
            BlockData::Summed { bytes, crc32c } => (bytes.to_vec(), crc32c),
            BlockData::File { offset, len, crc32c, path, .. } => {
                let (at, end) = (offset as usize, (offset + len) as usize);
                (fs::read(path).unwrap()[at..end].to_vec(), crc32c.unwrap())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(sent, (body.bytes().to_vec(), crc32c::crc32c(body.bytes())));
        Ok(sent.0)
    }

    #[test]
    fn reducers_that_go_round_through_more_outputs_than_may_be_open_open_each_a_few_times_only() {
        let dir = tempfile::tempdir().unwrap();
        (0..200).for_each(|task| write(dir.path(), task, 24));
        let outputs = OpenOutputs::new(ReadBounds { open_outputs: 8, ahead_bytes: 200 * 1000 });
        let mut opened = 0;
        for reduce in 0..REDUCERS {
            for task in 0..200 {
                let got = get(&outputs, dir.path(), task, reduce, &mut opened).unwrap();
                assert_eq!(got, content(task, reduce, 24));
                let (open, ahead) = outputs.held();
                assert!(open <= 8 && ahead <= 200 * 1000, "{open} outputs open, {ahead} bytes ahead");
            }
        }
        // Some thirty blocks fit into what is read ahead of an output; each by itself would be 20,000.
        assert!(opened < 1_500, "{opened} times a file was opened");
        outputs.forget_shuffle(0, SHUFFLE);
        assert_eq!(outputs.held(), (0, 0));
    }

    #[test]
    fn large_blocks_are_read_from_open_files_and_not_ahead() {
        let dir = tempfile::tempdir().unwrap();
        (0..3).for_each(|task| write(dir.path(), task, 20_000));
        let outputs = OpenOutputs::new(ReadBounds::default());
        let mut opened = 0;
        for reduce in 0..REDUCERS {
            for task in 0..3 {
                assert_eq!(
                    get(&outputs, dir.path(), task, reduce, &mut opened).unwrap(),
                    content(task, reduce, 20_000)
                );
            }
        }
        assert_eq!((opened, outputs.held()), (3, (3, 0)));
    }

    #[test]
    fn a_byte_that_changed_is_found_in_the_block_that_has_it_and_its_neighbours_are_read() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0, 24);
        let data = dir.path().join(data_name(SHUFFLE, TaskId(0)));
        let mut bytes = fs::read(&data).unwrap();
        bytes[24 * 5 + 3] ^= 1;
        fs::write(&data, bytes).unwrap();
        let outputs = OpenOutputs::new(ReadBounds::default());
        for reduce in (0..20).chain([5]) {
            let got = get(&outputs, dir.path(), 0, reduce, &mut 0);
            match reduce {
                5 => assert!(matches!(got, Err(BlockError::CorruptFile { .. })), "{got:?}"),
                _ => assert_eq!(got.unwrap(), content(0, reduce, 24)),
            }
        }
    }

    #[test]
    fn an_output_that_is_nowhere_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let outputs = OpenOutputs::new(ReadBounds::default());
        assert!(matches!(get(&outputs, dir.path(), 7, 0, &mut 0), Err(BlockError::File { .. })));
        assert_eq!((outputs.held(), outputs.state().outputs.len()), ((0, 0), 0));
    }
}
