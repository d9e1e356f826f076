//! By what a master knows that a process which comes back is the one that left.

use std::io;

/// Draws the random bytes that a worker or driver says at each of its registrations, and to nobody else. A master lets who
/// has them take the place of a stream that it still holds for open; who has not them is another process.
///
/// # Errors
/// That of the system, when it has no random bytes to give.
pub fn draw() -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 16];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(format!("no random numbers: {e}")))?;
    Ok(bytes)
}
