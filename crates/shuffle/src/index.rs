//! The hash index of tables whose entries lie in dense vectors: aggregations and the build sides of joins.

/// Finds entries by hash. A slot holds 32 bits of the hash and the entry's number, so that an entry is only looked at
/// where it is probably the right one. 0 is an empty slot.
///
/// Places come from the lowest bits of the hash: the highest ones say which partition a record is in, and the bits
/// between split what is spilled (see [`crate::spill::digit`]).
#[derive(Default)]
pub(crate) struct Index {
    slots: Vec<u64>,
    /// One less than the number of slots in use, which is a power of two.
    mask: usize,
}

/// Where a search ended.
pub(crate) enum Found {
    /// At this entry.
    Entry(usize),
    /// At this empty slot.
    Slot(usize),
}

const TAG: u64 = !0 << 32;

#[inline]
fn tag(hash: u64) -> u64 {
    (hash >> 20) << 32
}

#[inline]
fn slot(hash: u64, entry: usize) -> u64 {
    tag(hash) | (entry as u64 + 1)
}

impl Index {
    /// Empties it and makes room for `entries`, at half load.
    pub fn reset(&mut self, entries: usize) {
        let slots = (entries.max(8) * 2).next_power_of_two();
        let used = slots.min(self.slots.len());
        self.slots[..used].fill(0);
        if slots > self.slots.len() {
            // Not `resize`, which would copy what is of no use any more.
            self.slots = vec![0; slots];
        }
        self.mask = slots - 1;
    }

    /// How many entries it has room for at half load.
    pub fn room(&self) -> usize {
        if self.slots.is_empty() { 0 } else { self.mask.div_ceil(2) }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> u64 {
        (self.slots.capacity() * size_of::<u64>()) as u64
    }

    /// Looks for the entry with `hash` that `is_it` recognises. There must be room for an entry more.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Found {
        let tag = tag(hash);
        let mut at = hash as usize & self.mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Found::Slot(at);
            }
            if slot & TAG == tag {
                let entry = (slot as u32 - 1) as usize;
                if is_it(entry) {
                    return Found::Entry(entry);
                }
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The first entry whose hash may be `hash`. Touches no entry: calls for many hashes overlap.
    #[inline]
    pub fn candidate(&self, hash: u64) -> Option<usize> {
        let tag = tag(hash);
        let mut at = hash as usize & self.mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot & TAG == tag {
                return Some((slot as u32 - 1) as usize);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Fills an empty slot.
    #[inline]
    pub fn fill(&mut self, at: usize, hash: u64, entry: usize) {
        self.slots[at] = slot(hash, entry);
    }

    /// Adds an entry that is known not to be there.
    #[inline]
    pub fn add(&mut self, hash: u64, entry: usize) {
        let mut at = hash as usize & self.mask;
        while self.slots[at] != 0 {
            at = (at + 1) & self.mask;
        }
        self.slots[at] = slot(hash, entry);
    }

    /// Makes the entry that a search for `hash` found another one.
    pub fn replace(&mut self, hash: u64, old: usize, new: usize) {
        let (old, new) = (slot(hash, old), slot(hash, new));
        let mut at = hash as usize & self.mask;
        while self.slots[at] != old {
            if self.slots[at] == 0 {
                return;
            }
            at = (at + 1) & self.mask;
        }
        self.slots[at] = new;
    }
}
