//! Waiting for what somebody else brings about. Each look that finds nothing gives the processor away for a moment; how
//! long a wait takes decides nothing but when a test gives up.

use std::time::{Duration, Instant};

/// How long anything may take that has to happen, on a slow and busy host.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Returns when `found` gives something.
///
/// # Panics
///
/// With `what`, when that takes longer than 90 s.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Returns when `holds` does.
///
/// # Panics
///
/// With `what`, when that takes longer than 90 s.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// [`until`] for a test that shares its thread with what it waits for.
///
/// # Panics
///
/// With `what`, when that takes longer than 90 s.
pub async fn until_async(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether `holds` does within 90 s, for who goes on when it does not.
pub fn comes_true(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_waited_for() {
        let mut looks = 0;
        let third = wait_for("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third, 3);
        assert!(comes_true(|| true));
    }
}
