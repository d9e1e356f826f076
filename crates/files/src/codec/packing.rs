//! [`Codec`]: one way to pack files.

use std::io::{self, Read};

/// A way to pack a file. A packed file is read as a whole: there is no beginning in the middle of it.
pub trait Codec: Send + Sync {
    /// What it is called, in messages.
    fn name(&self) -> &'static str;

    /// What the names of files end in that are packed so.
    fn suffix(&self) -> &'static str;

    /// What is in the file whose bytes `packed` reads, unpacked. Reading it says with `UnexpectedEof` that the file is cut off,
    /// and with `InvalidInput`, `InvalidData` or `Other` that it is not packed so.
    ///
    /// # Errors
    /// When there is no memory to begin with.
    fn decoder(&self, packed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>>;
}

/// What reading a file through `codec` has failed by, in words that say what the file is taken for.
pub(crate) fn explain(codec: &dyn Codec, e: &io::Error) -> String {
    let kind = codec.name();
    match e.kind() {
        io::ErrorKind::UnexpectedEof => format!("it is packed as {kind} and cut off: write it anew"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            format!("it cannot be unpacked as {kind}, which its name stands for: {e}")
        }
        _ => e.to_string(),
    }
}
