use std::io::{self, Read};

use super::packing::Codec;

/// bzip2, of one stream or several.
pub(super) struct Bzip2;

impl Codec for Bzip2 {
    fn name(&self) -> &'static str {
        "bzip2"
    }

    fn suffix(&self) -> &'static str {
        ".bz2"
    }

    fn decoder(&self, packed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(bzip2::read::MultiBzDecoder::new(packed)))
    }
}
