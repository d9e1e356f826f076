use std::io::{self, Read};

use super::packing::Codec;

/// gzip, of one member or several.
pub(super) struct Gzip;

impl Codec for Gzip {
    fn name(&self) -> &'static str {
        "gzip"
    }

    fn suffix(&self) -> &'static str {
        ".gz"
    }

    fn decoder(&self, packed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(flate2::read::MultiGzDecoder::new(packed)))
    }
}
