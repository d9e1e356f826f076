//! How invariants are written. Each part has a `check` of its own, which says what does not hold; `driver_core/invariants.rs`
//! calls all of them, and tests and the simulation call that after each event. What costs next to nothing to check is
//! asserted where it changes as well.

/// Fails with the formatted text unless the condition holds.
macro_rules! hold {
    ($cond:expr, $($text:tt)*) => {
        if !$cond {
            return Err(format!($($text)*));
        }
    };
}

pub(crate) use hold;
