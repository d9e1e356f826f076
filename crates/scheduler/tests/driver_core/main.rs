//! The driver's schedulers by their events and effects alone, one file a family of rules.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod ahead;
mod barrier;
mod cancellation;
mod decommission;
mod exclusion;
mod executors;
mod fetch_failures;
mod harness;
mod indeterminate;
mod jobs;
mod locality;
mod news;
mod pools;
mod random;
mod release;
mod results;
mod retries;
mod speculation;
