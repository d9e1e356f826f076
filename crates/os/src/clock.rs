//! Clocks that std has not.

use std::time::Duration;

/// How long this thread has used a processor. A system call: some hundred nanoseconds.
pub fn thread_cpu() -> Duration {
    // Fails for no thread that lives.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_this_thread_does_and_not_that_it_waits() {
        let (before, wall) = (thread_cpu(), std::time::Instant::now());
        let other = std::thread::spawn(|| (0..20_000_000u64).map(std::hint::black_box).sum::<u64>());
        other.join().unwrap();
        let waited = thread_cpu() - before;
        assert!(waited <= wall.elapsed());
        let mut n = 0u64;
        while thread_cpu() - before < waited + Duration::from_millis(1) {
            n = std::hint::black_box(n + 1);
        }
        assert!(n > 0);
    }
}
