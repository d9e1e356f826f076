use std::io::{self, Read};

use super::packing::Codec;

/// Zstandard, of one frame or several, with windows of up to 128 MiB.
pub(super) struct Zstandard;

impl Codec for Zstandard {
    fn name(&self) -> &'static str {
        "Zstandard"
    }

    fn suffix(&self) -> &'static str {
        ".zst"
    }

    fn decoder(&self, packed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(zstd::stream::read::Decoder::new(packed)?))
    }
}
