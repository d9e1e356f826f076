//! Getting all pieces of a value: from the driver what nobody else has, from other executors what they have.
//!
//! The caller's thread talks to the driver and consumes what comes; a thread for each of a few peers asks it what it has
//! and fetches that. Whoever is free takes the next piece in this executor's own random order. A peer that fails is left
//! alone, and its pieces are had elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use firesteel_common::ExecutorId;

use super::{BroadcastMeta, PieceSet, Pieces};
use crate::{Abort, BlockClient, BlockError, BlockManager, Question};

/// Pieces asked of one peer and not yet here: enough that it never waits for the next request.
const WINDOW: usize = 2;
/// Peers that are fetched from at a time, besides the driver.
const MOST_PEERS: usize = 4;
/// How often the driver is asked for new peers.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// A peer has this long to say what it has before the driver is asked for the same.
const FIRST_WORD: Duration = Duration::from_millis(20);
/// When no piece has come for so long, the driver is asked for what others owe.
const STALLED: Duration = Duration::from_secs(1);

/// Fetches broadcast values for one executor.
#[derive(Clone)]
pub struct BroadcastFetcher {
    client: BlockClient,
    blocks: Arc<BlockManager>,
    executor: ExecutorId,
    first_word: Duration,
}

struct Shared {
    meta: BroadcastMeta,
    client: BlockClient,
    blocks: Arc<BlockManager>,
    set: Option<Arc<PieceSet>>,
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
    first_word: Duration,
}

struct State {
    /// Pieces that nobody is asked for, in this executor's order.
    unclaimed: VecDeque<u32>,
    missing: Vec<bool>,
    left: u32,
    arrived: Vec<(u32, Bytes)>,
    peers: BTreeMap<String, Peer>,
    progress: Instant,
}

struct Peer {
    since: Instant,
    /// What it has, once it has said so.
    pieces: Option<Pieces>,
    alive: bool,
}

impl BroadcastFetcher {
    /// A fetcher for `executor`, which keeps pieces in `blocks` and fetches with `client`.
    pub fn new(client: BlockClient, blocks: Arc<BlockManager>, executor: ExecutorId) -> BroadcastFetcher {
        BroadcastFetcher { client, blocks, executor, first_word: FIRST_WORD }
    }

    /// Gives peers so long to say what they have before the driver is asked for the same, instead of 20 ms.
    #[must_use]
    pub fn waiting_for_peers(mut self, first_word: Duration) -> BroadcastFetcher {
        self.first_word = first_word;
        self
    }

    /// Where pieces are kept.
    pub fn blocks(&self) -> &Arc<BlockManager> {
        &self.blocks
    }

    /// Hands every piece to `on_piece`, each once, in any order: those that are here, then those that come. With `keep`
    /// they stay here, and are offered to others, until [`BlockManager::remove_broadcast`].
    ///
    /// # Errors
    /// What `on_piece` says; when the driver lacks a piece or cannot be reached; when `abort` says so. Nothing is kept then.
    pub fn fetch(
        &self,
        meta: &BroadcastMeta,
        keep: bool,
        abort: &Abort,
        on_piece: &mut dyn FnMut(u32, &Bytes) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let set = keep.then(|| self.blocks.begin_broadcast(meta.id));
        let mut unclaimed = shuffled(meta.pieces(), u64::from(meta.id.0) << 32 | u64::from(self.executor.0));
        let mut missing = vec![true; unclaimed.len()];
        let mut here = Vec::new();
        unclaimed.retain(|piece| match self.blocks.get(&meta.block(*piece)) {
            Some(bytes) => {
                missing[*piece as usize] = false;
                here.push((*piece, bytes));
                false
            }
            None => true,
        });
        let state = State {
            left: unclaimed.len() as u32,
            unclaimed,
            missing,
            arrived: here,
            peers: BTreeMap::new(),
            progress: Instant::now(),
        };
        let shared = Arc::new(Shared {
            meta: meta.clone(),
            client: self.client.clone(),
            blocks: self.blocks.clone(),
            set,
            state: Mutex::new(state),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            first_word: self.first_word,
        });
        let result = self.run(&shared, abort, on_piece);
        // Peers' threads end by themselves: one may be waiting for an answer.
        shared.over.store(true, Ordering::Release);
        shared.changed.notify_all();
        if result.is_err() && keep {
            self.blocks.remove_broadcast(meta.id);
        }
        result
    }

    /// All pieces as one run of bytes.
    pub fn fetch_bytes(&self, meta: &BroadcastMeta, keep: bool, abort: &Abort) -> Result<Bytes, BlockError> {
        if meta.pieces() == 1 {
            let mut only = Bytes::new();
            self.fetch(meta, keep, abort, &mut |_, bytes| {
                only = bytes.clone();
                Ok(())
            })?;
            return Ok(only);
        }
        let mut all = vec![0; usize::try_from(meta.len).unwrap_or(usize::MAX)];
        self.fetch(meta, keep, abort, &mut |piece, bytes| {
            let range = meta.range(piece);
            match all.get_mut(range.start as usize..range.end as usize) {
                Some(place) if place.len() == bytes.len() => place.copy_from_slice(bytes),
                _ => return Err(failure(meta, piece, &meta.source, "it has another length than was said")),
            }
            Ok(())
        })?;
        Ok(all.into())
    }

    /// The driver's connection, on the caller's thread.
    fn run(
        &self,
        shared: &Arc<Shared>,
        abort: &Abort,
        on_piece: &mut dyn FnMut(u32, &Bytes) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let meta = &shared.meta;
        let holders = Question::Holders { broadcast: meta.id, executor: self.executor };
        let mut driver = self.client.open(&meta.source, abort.clone());
        let mut asked: VecDeque<Option<u32>> = VecDeque::new();
        let mut asked_at: Option<Instant> = None;
        let mut met = shared.set.is_none();
        let mut failed = 0;
        loop {
            let (arrived, left) = {
                let mut state = shared.lock();
                (std::mem::take(&mut state.arrived), state.left)
            };
            for (piece, bytes) in &arrived {
                on_piece(*piece, bytes)?;
            }
            if left == 0 {
                if !shared.lock().arrived.is_empty() {
                    continue;
                }
                while asked.pop_front() == Some(None) && driver.next_holders().is_ok() {
                    // A connection that owes nothing serves again.
                }
                return Ok(());
            }
            if let Some(reason) = abort.reason() {
                return Err(BlockError::Aborted { reason });
            }
            if shared.set.is_some() && asked_at.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
                asked_at = Some(Instant::now());
                driver.ask(holders);
                asked.push_back(None);
            }
            // Whom else to ask is known before anything is asked of the driver.
            while met && asked.iter().flatten().count() < WINDOW {
                let Some(piece) = shared.claim_from_driver() else { break };
                driver.request(meta.block(piece));
                asked.push_back(Some(piece));
            }
            match asked.pop_front() {
                None => shared.wait(),
                Some(None) => match driver.next_holders() {
                    Ok(addresses) => {
                        met = true;
                        self.meet(shared, &addresses, abort);
                    }
                    Err(e) => return Err(lost(meta, None, e)),
                },
                Some(Some(piece)) => match driver.next_summed(meta.has_checksums()) {
                    Ok((bytes, crc32c)) => match meta.check(piece, crc32c) {
                        Ok(()) => shared.arrive(piece, bytes),
                        Err(message) if failed > 0 => return Err(failure(meta, piece, &meta.source, &message)),
                        Err(_) => {
                            failed += 1;
                            shared.give_back([piece]);
                        }
                    },
                    Err(e) => return Err(lost(meta, Some(piece), e)),
                },
            }
        }
    }

    /// Starts to fetch from peers that are new.
    fn meet(&self, shared: &Arc<Shared>, addresses: &[String], abort: &Abort) {
        for address in addresses {
            let mut state = shared.lock();
            if state.peers.contains_key(address) || state.peers.values().filter(|p| p.alive).count() >= MOST_PEERS {
                continue;
            }
            state.peers.insert(address.to_owned(), Peer { since: Instant::now(), pieces: None, alive: true });
            drop(state);
            let (shared_there, there, abort) = (shared.clone(), address.clone(), abort.clone());
            let fetch = move || shared_there.fetch_from_peer(&there, &abort);
            if let Err(e) = thread::Builder::new().name("firesteel-broadcast".into()).spawn(fetch) {
                tracing::warn!(address, error = %e, "no thread to fetch broadcast pieces from a peer with");
                shared.peer_failed(address, []);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let state = self.lock();
        if state.arrived.is_empty() {
            // Woken by whatever comes; looks again for new peers otherwise.
            drop(self.changed.wait_timeout(state, ASK_AGAIN).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The next piece that no living peer has. When nothing has come for long, any that is missing.
    fn claim_from_driver(&self) -> Option<u32> {
        let mut state = self.lock();
        let State { unclaimed, peers, progress, missing, .. } = &mut *state;
        if progress.elapsed() >= STALLED {
            *progress = Instant::now();
            return unclaimed.pop_front().or_else(|| missing.iter().position(|m| *m).map(|p| p as u32));
        }
        let waited_for = |p: &Peer| p.alive && p.pieces.is_none() && p.since.elapsed() < self.first_word;
        if peers.values().any(waited_for) {
            return None;
        }
        let elsewhere =
            |piece: u32| peers.values().any(|p| p.alive && p.pieces.as_ref().is_some_and(|its| its.has(piece)));
        let at = unclaimed.iter().position(|piece| !elsewhere(*piece))?;
        unclaimed.remove(at)
    }

    fn claim_from_peer(&self, its: &Pieces) -> Option<u32> {
        let mut state = self.lock();
        let at = state.unclaimed.iter().position(|piece| its.has(*piece))?;
        state.unclaimed.remove(at)
    }

    fn give_back(&self, pieces: impl IntoIterator<Item = u32>) {
        let mut state = self.lock();
        for piece in pieces {
            if state.missing[piece as usize] {
                state.unclaimed.push_back(piece);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn arrive(&self, piece: u32, bytes: Bytes) {
        // Offered to others before it is used here.
        if let Some(set) = &self.set
            && let Err(e) = self.blocks.put_piece(set, piece, bytes.clone())
        {
            tracing::debug!(error = %e, "a broadcast piece is used but not offered to others");
        }
        let mut state = self.lock();
        if std::mem::replace(&mut state.missing[piece as usize], false) {
            state.left -= 1;
            state.arrived.push((piece, bytes));
            state.unclaimed.retain(|p| *p != piece);
        }
        state.progress = Instant::now();
        drop(state);
        self.changed.notify_all();
    }

    fn peer_failed(&self, address: &str, owed: impl IntoIterator<Item = u32>) {
        if let Some(peer) = self.lock().peers.get_mut(address) {
            peer.alive = false;
        }
        self.give_back(owed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// On a thread of its own, until everything is here or the peer fails.
    fn fetch_from_peer(self: Arc<Self>, address: &str, abort: &Abort) {
        let (shared, abort) = (self.clone(), abort.clone());
        let abort = Abort::new(move || if shared.is_over() { Some("all is here".to_owned()) } else { abort.reason() });
        let mut peer = self.client.open(address, abort);
        let mut asked: VecDeque<u32> = VecDeque::new();
        let mut its = Pieces::default();
        let total = self.meta.pieces();
        loop {
            let known = its.count();
            if known < total || known == 0 {
                peer.ask(Question::Pieces { broadcast: self.meta.id, known });
                match peer.next_pieces() {
                    Ok(news) => its = news,
                    Err(e) => return self.leave(address, asked, &e.to_string()),
                }
                if let Some(peer) = self.lock().peers.get_mut(address) {
                    peer.pieces = Some(its.clone());
                }
                self.changed.notify_all();
            }
            loop {
                if self.is_over() {
                    return;
                }
                while asked.len() < WINDOW {
                    let Some(piece) = self.claim_from_peer(&its) else { break };
                    peer.request(self.meta.block(piece));
                    asked.push_back(piece);
                }
                let Some(piece) = asked.front().copied() else { break };
                let came = peer.next_summed(self.meta.has_checksums()).map_err(|e| e.to_string());
                match came.and_then(|(bytes, crc32c)| self.meta.check(piece, crc32c).map(|()| bytes)) {
                    Ok(bytes) => {
                        asked.pop_front();
                        self.arrive(piece, bytes);
                    }
                    Err(message) => return self.leave(address, asked, &message),
                }
            }
            if its.count() >= total {
                // It has everything: only what others give back is left to fetch.
                self.wait();
                if self.lock().left == 0 {
                    return;
                }
            }
        }
    }

    fn leave(&self, address: &str, owed: VecDeque<u32>, why: &str) {
        if !self.is_over() {
            tracing::debug!(address, broadcast = self.meta.id.0, why, "no more broadcast pieces from this peer");
        }
        self.peer_failed(address, owed);
    }
}

fn failure(meta: &BroadcastMeta, piece: u32, address: &str, message: &str) -> BlockError {
    BlockError::Broadcast { broadcast: meta.id, piece, address: address.to_owned(), message: message.to_owned() }
}

/// The driver's failure, in the words of the value that was wanted.
fn lost(meta: &BroadcastMeta, piece: Option<u32>, error: BlockError) -> BlockError {
    match error {
        BlockError::Aborted { .. } => error,
        BlockError::Remote { .. } | BlockError::NotAnswered { .. } => failure(
            meta,
            piece.unwrap_or(0),
            &meta.source,
            "the driver has it no more: the value was destroyed, or nothing refers to it any more",
        ),
        e => failure(meta, piece.unwrap_or(0), &meta.source, &e.to_string()),
    }
}

/// The numbers below `n`, in an order that follows from the seed.
fn shuffled(n: u32, seed: u64) -> VecDeque<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    let mut state = seed;
    for i in (1..order.len()).rev() {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        order.swap(i, ((x ^ x >> 31) % (i as u64 + 1)) as usize);
    }
    order.into()
}
