//! Packed files: which are unpacked while they are read, and which are refused, because their bytes are not what they hold.
//!
//! As in Hadoop the name says how a file is packed. What is packed under a name that does not say so is known by its first
//! bytes (`beginnings.rs`). A codec is a file here and an element of the list in `by_name.rs`.

mod beginnings;
mod by_name;
mod bzip2;
mod gzip;
mod packing;
mod zstandard;

pub(crate) use beginnings::check_plain;
pub use by_name::codec_of;
pub use packing::Codec;
pub(crate) use packing::explain;
