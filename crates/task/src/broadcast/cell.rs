//! One broadcast value in one process, and what all handles on it share.

use std::{
    any::{Any, TypeId},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use bytes::Bytes;
use firesteel_common::{
    BroadcastId, Env,
    codec::{self, CodecError},
};
use firesteel_storage::{
    Abort, BlockError, BlockId, BroadcastFetcher, BroadcastMeta,
    memory_store::{Cached, CachedValues, FrameSink},
};
use serde::{Deserialize, Serialize};

use super::{
    encode::{Encoded, encode},
    error::BroadcastError,
    raw,
    source::BroadcastSource,
    values::{AnyCell, BroadcastValues},
};
use crate::{
    current,
    release::{Cleaner, Released},
};

/// What travels in place of the value.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Wire {
    pub meta: BroadcastMeta,
    /// Pieces that are shorter than their range are compressed.
    pub compressed: bool,
}

pub(super) struct Cell<T: Env> {
    wire: Wire,
    value: OnceLock<Arc<T>>,
    /// One thread fetches, the others wait for it.
    fetching: Mutex<()>,
    values: Weak<BroadcastValues>,
    /// On the driver.
    cleaner: Option<Arc<dyn Cleaner>>,
    destroyed: OnceLock<String>,
}

impl<T: Env> Cell<T> {
    pub fn on_driver(
        source: &BroadcastSource,
        cleaner: &Arc<dyn Cleaner>,
        value: T,
    ) -> Result<Arc<Cell<T>>, BroadcastError> {
        let (id, value) = (BroadcastId::fresh(), Arc::new(value));
        let wire = match &source.address {
            None => Wire { meta: BroadcastMeta { id, ..BroadcastMeta::default() }, compressed: false },
            Some(address) => {
                let settings = source.settings;
                let Encoded { len, pieces, compressed } =
                    encode(&value, settings).map_err(|e| BroadcastError::Encode(Arc::new(e)))?;
                let meta = BroadcastMeta::of(id, len, settings.piece_bytes, &pieces, settings.checksum, address);
                let put = source.blocks.put_broadcast(&meta, pieces);
                put.map_err(|e| BroadcastError::Hold { id, source: Arc::new(e) })?;
                Wire { meta, compressed }
            }
        };
        let cell = Arc::new(Cell {
            wire,
            value: OnceLock::from(value),
            fetching: Mutex::new(()),
            values: Arc::downgrade(&source.values),
            cleaner: Some(cleaner.clone()),
            destroyed: OnceLock::new(),
        });
        source.values.register(id, Arc::downgrade(&cell) as Weak<AnyCell>);
        Ok(cell)
    }

    /// One that is only compared and dropped: nobody is told of it.
    pub fn detached(wire: Wire) -> Cell<T> {
        let (value, destroyed) = (OnceLock::new(), OnceLock::new());
        Cell { wire, value, fetching: Mutex::new(()), values: Weak::new(), cleaner: None, destroyed }
    }

    pub fn on_executor(wire: Wire, values: &Arc<BroadcastValues>) -> Cell<T> {
        let (value, destroyed) = (OnceLock::new(), OnceLock::new());
        Cell { wire, value, fetching: Mutex::new(()), values: Arc::downgrade(values), cleaner: None, destroyed }
    }

    /// The cell that a handle which arrived refers to.
    pub fn open(values: &Arc<BroadcastValues>, wire: Wire) -> Result<Arc<Cell<T>>, BroadcastError> {
        let id = wire.meta.id;
        let known = |cell: Arc<AnyCell>| {
            cell.downcast().map_err(|_| BroadcastError::Type { id, type_name: std::any::type_name::<T>() })
        };
        if let Some(cell) = values.find(id) {
            return known(cell);
        }
        if values.fetcher().is_none() {
            return Err(BroadcastError::Gone { id });
        }
        let cell = Arc::new(Cell::on_executor(wire, values));
        match values.find_or_insert(id, Arc::downgrade(&cell) as Weak<AnyCell>) {
            Some(faster) => known(faster),
            None => Ok(cell),
        }
    }

    pub fn id(&self) -> BroadcastId {
        self.wire.meta.id
    }

    fn check_alive(&self) -> Result<(), BroadcastError> {
        match self.destroyed.get() {
            Some(at) => Err(BroadcastError::Destroyed { id: self.id(), at: at.clone() }),
            None => Ok(()),
        }
    }

    pub fn wire(&self) -> Result<&Wire, BroadcastError> {
        self.check_alive().map(|()| &self.wire)
    }

    pub fn unpersist(&self) {
        if let (Some(cleaner), None) = (&self.cleaner, self.destroyed.get()) {
            cleaner.released(Released::BroadcastCopies(self.id()));
        }
    }

    pub fn destroy(&self, at: &str) {
        if let Some(cleaner) = &self.cleaner
            && self.destroyed.set(at.to_owned()).is_ok()
        {
            cleaner.released(Released::Broadcast(self.id()));
        }
    }

    pub fn get(self: &Arc<Self>) -> Result<&T, BroadcastError> {
        self.check_alive()?;
        if self.value.get().is_none() {
            let _one = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            if self.value.get().is_none() {
                self.fetch()?;
            }
        }
        self.value.get().map(|value| &**value).ok_or(BroadcastError::Gone { id: self.id() })
    }

    /// Fetches and decodes, and has the executor keep the value for later stages.
    fn fetch(self: &Arc<Self>) -> Result<(), BroadcastError> {
        let (id, meta) = (self.id(), &self.wire.meta);
        let values = self.values.upgrade().ok_or(BroadcastError::Gone { id })?;
        let fetcher = values.fetcher().ok_or(BroadcastError::Gone { id })?;
        let abort = current::context().map_or_else(Abort::never, |context| context.abort());
        let len = usize::try_from(meta.len).unwrap_or(usize::MAX);
        let is_raw = raw::sink(TypeId::of::<T>(), 0).is_some();
        let mut sink: Box<dyn raw::Sink> = match raw::sink(TypeId::of::<T>(), len) {
            Some(sink) => sink,
            None => Box::new(vec![0u8; len]),
        };
        let held = fetcher.blocks().begin_broadcast(id);
        let fetched = fetcher.fetch(meta, true, &abort, &mut |piece, bytes| self.unpack(piece, bytes, &mut *sink));
        fetched.map_err(|e| BroadcastError::Fetch { id, source: Arc::new(e) })?;
        let wrong = |message: String| {
            let source = CodecError::Decode { type_name: std::any::type_name::<T>(), message };
            BroadcastError::Decode { id, source: Arc::new(source) }
        };
        let made = sink.finish();
        let value = if is_raw {
            *made.downcast::<T>().map_err(|_| wrong(format!("{len} bytes are no such vector")))?
        } else {
            let bytes = made.downcast::<Vec<u8>>().map_err(|_| wrong("no bytes".to_owned()))?;
            codec::decode(&bytes).map_err(|source| BroadcastError::Decode { id, source: Arc::new(source) })?
        };
        let value = Arc::new(value);
        let _ = self.value.set(value.clone());
        if !held.is_removed() {
            self.keep(fetcher, value);
            if held.is_removed() {
                fetcher.blocks().remove(&BlockId::BroadcastValue(id));
            }
        }
        Ok(())
    }

    /// Puts a piece into its place.
    fn unpack(&self, piece: u32, bytes: &Bytes, sink: &mut dyn raw::Sink) -> Result<(), BlockError> {
        let meta = &self.wire.meta;
        let range = meta.range(piece);
        let place = sink.place(range.start as usize..range.end as usize);
        let message = match place {
            Some(place) if place.len() == bytes.len() => {
                place.copy_from_slice(bytes);
                return Ok(());
            }
            Some(place) if self.wire.compressed => match lz4_flex::block::decompress_into(bytes, place) {
                Ok(n) if n == place.len() => return Ok(()),
                Ok(n) => format!("it has {n} bytes where {} were compressed", place.len()),
                Err(e) => format!("it cannot be decompressed: {e}"),
            },
            _ => format!("it has {} bytes where {} were said", bytes.len(), range.end - range.start),
        };
        Err(BlockError::Broadcast { broadcast: meta.id, piece, address: meta.source.clone(), message })
    }

    /// Keeps the value; where the pieces are parts of it, they are offered from it and not held twice.
    fn keep(self: &Arc<Self>, fetcher: &BroadcastFetcher, value: Arc<T>) {
        let (blocks, meta) = (fetcher.blocks(), &self.wire.meta);
        let mut size = meta.len;
        if !self.wire.compressed
            && let Some(view) = raw::view(value)
        {
            let set = blocks.begin_broadcast(meta.id);
            for piece in 0..meta.pieces() {
                let range = meta.range(piece);
                if let Err(e) = blocks.put_piece(&set, piece, view.slice(range.start as usize..range.end as usize)) {
                    tracing::debug!(error = %e, "a broadcast piece is not offered to others");
                }
            }
            size = 0;
        }
        if blocks.memory_manager().acquire_storage(size, None) {
            blocks.memory().put(BlockId::BroadcastValue(meta.id), Cached::Values(self.clone()), size, false);
        }
    }
}

/// In the memory store a value is like a cached partition: it gives way when memory is short, unless a task looks at it.
impl<T: Env> CachedValues for Cell<T> {
    fn encode(&self, _: FrameSink<'_>) -> Result<(), BlockError> {
        // Its pieces are what is sent, and what is left when it gives way.
        Err(BlockError::NotEncodable { message: format!("{} is sent in pieces", self.id()) })
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<T: Env> Drop for Cell<T> {
    fn drop(&mut self) {
        if let Some(values) = self.values.upgrade() {
            values.forget_dropped(self.id());
        }
        if let (Some(cleaner), None) = (&self.cleaner, self.destroyed.get()) {
            cleaner.released(Released::Broadcast(self.id()));
        }
    }
}
