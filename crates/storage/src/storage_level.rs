//! How persisted partitions are kept. Chosen by users (`Rdd::persist`), read by `rdd`'s cache and by the stores.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Whether and how the partitions of an RDD are kept once computed. Spark: `StorageLevel`.
///
/// ```
/// use firesteel_storage::StorageLevel;
/// let level: StorageLevel = "MEMORY_AND_DISK_2".parse().unwrap();
/// assert!(level.use_disk() && level.replication() == 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct StorageLevel {
    flags: u8,
    replication: u8,
}

const MEMORY: u8 = 1;
const DISK: u8 = 2;
const VALUES: u8 = 4;
const OFF_HEAP: u8 = 8;

macro_rules! levels {
    ($($(#[doc = $doc:literal])+ $name:ident = $flags:expr, $replication:literal;)+) => {
        impl StorageLevel {
            $($(#[doc = $doc])+ pub const $name: StorageLevel = StorageLevel { flags: $flags, replication: $replication };)+

            /// All levels with their names.
            pub const ALL: &[(&str, StorageLevel)] = &[$((stringify!($name), StorageLevel::$name)),+];
        }
    };
}

levels! {
    /// Computed anew each time.
    NONE = 0, 0;
    /// On disk only.
    DISK_ONLY = DISK, 1;
    /// On disk, on two executors.
    DISK_ONLY_2 = DISK, 2;
    /// On disk, on three executors.
    DISK_ONLY_3 = DISK, 3;
    /// In memory as they are; what does not fit is computed anew.
    MEMORY_ONLY = MEMORY | VALUES, 1;
    /// As MEMORY_ONLY, on two executors.
    MEMORY_ONLY_2 = MEMORY | VALUES, 2;
    /// In memory as bytes, which takes less room and more time; what does not fit is computed anew.
    MEMORY_ONLY_SER = MEMORY, 1;
    /// As MEMORY_ONLY_SER, on two executors.
    MEMORY_ONLY_SER_2 = MEMORY, 2;
    /// In memory as they are; what does not fit goes to disk.
    MEMORY_AND_DISK = MEMORY | DISK | VALUES, 1;
    /// As MEMORY_AND_DISK, on two executors.
    MEMORY_AND_DISK_2 = MEMORY | DISK | VALUES, 2;
    /// In memory as bytes; what does not fit goes to disk.
    MEMORY_AND_DISK_SER = MEMORY | DISK, 1;
    /// As MEMORY_AND_DISK_SER, on two executors.
    MEMORY_AND_DISK_SER_2 = MEMORY | DISK, 2;
    /// Another name of MEMORY_AND_DISK_SER: there is no garbage-collected heap to stay off. `persist` logs a line that
    /// says so.
    OFF_HEAP = MEMORY | DISK | OFF_HEAP, 1;
}

impl StorageLevel {
    /// Whether partitions are kept at all.
    pub const fn is_kept(self) -> bool {
        self.flags & (MEMORY | DISK) != 0
    }

    /// Whether memory is used.
    pub const fn use_memory(self) -> bool {
        self.flags & MEMORY != 0
    }

    /// Whether disk is used, for all partitions or for those that do not fit into memory.
    pub const fn use_disk(self) -> bool {
        self.flags & DISK != 0
    }

    /// The level with disk for what does not fit into memory.
    #[must_use]
    pub const fn with_disk(self) -> StorageLevel {
        StorageLevel { flags: self.flags | DISK, replication: self.replication }
    }

    /// Whether what is in memory is kept as values, not as bytes.
    pub const fn deserialized(self) -> bool {
        self.flags & VALUES != 0
    }

    /// Whether it is [`StorageLevel::OFF_HEAP`].
    pub const fn is_off_heap(self) -> bool {
        self.flags & OFF_HEAP != 0
    }

    /// On how many executors each partition is kept.
    pub const fn replication(self) -> u32 {
        self.replication as u32
    }

    /// The level as a number, for an atomic.
    pub const fn to_bits(self) -> u16 {
        self.flags as u16 | (self.replication as u16) << 8
    }

    /// The level back from [`StorageLevel::to_bits`].
    pub const fn from_bits(bits: u16) -> StorageLevel {
        StorageLevel { flags: bits as u8, replication: (bits >> 8) as u8 }
    }
}

impl fmt::Display for StorageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::ALL.iter().find(|(_, level)| level == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "StorageLevel({:#x})", self.to_bits()),
        }
    }
}

impl fmt::Debug for StorageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no storage level.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no storage level: write one of {names}", names = names())]
pub struct ParseStorageLevelError(pub String);

fn names() -> String {
    StorageLevel::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl FromStr for StorageLevel {
    type Err = ParseStorageLevelError;

    fn from_str(text: &str) -> Result<Self, ParseStorageLevelError> {
        let found = Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        found.map(|(_, level)| *level).ok_or_else(|| ParseStorageLevelError(text.chars().take(100).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_come_back_as_levels() {
        for (name, level) in StorageLevel::ALL {
            assert_eq!((name.parse(), level.to_string().as_str()), (Ok(*level), *name));
            assert_eq!(StorageLevel::from_bits(level.to_bits()), *level);
            assert_eq!(level.is_kept(), level.replication() > 0, "{name}");
        }
        assert_eq!(StorageLevel::default(), StorageLevel::NONE);
        assert_eq!("memory_and_disk ".parse(), Ok(StorageLevel::MEMORY_AND_DISK));
        let e = "memory".parse::<StorageLevel>().unwrap_err().to_string();
        assert!(e.contains("MEMORY_AND_DISK_SER_2"), "{e}");
    }
}
