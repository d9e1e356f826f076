//! How the search for a master ends in vain.

use std::fmt;

/// Why no master is to be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MasterError {
    /// No master could be registered with.
    #[error(
        "no master could be registered with in {rounds} attempt(s): {}; check that a master runs there and that the \
         URL is its",
        Tried(.masters)
    )]
    Unreachable {
        /// How often each was tried.
        rounds: u32,
        /// Address of each master and how its last attempt ended.
        masters: Vec<(String, String)>,
    },
    /// The leading master said no.
    #[error("the master at {address} refused the registration: {reason}")]
    Rejected {
        /// host:port of the master.
        address: String,
        /// The reason, in words for people.
        reason: String,
    },
}

/// Each master with the end of its last attempt, as one text.
pub(super) fn tried(masters: &[(String, String)]) -> String {
    Tried(masters).to_string()
}

struct Tried<'a>(&'a [(String, String)]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (address, ended)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            // The text of a failed connection names the address already.
            if ended.contains(address) {
                write!(f, "{separator}{ended}")?;
            } else {
                write!(f, "{separator}{address}: {ended}")?;
            }
        }
        Ok(())
    }
}
