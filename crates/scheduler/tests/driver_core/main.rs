//! The driver's schedulers by their events and effects alone, one file a family of rules.

mod cancellation;
mod executors;
mod fetch_failures;
mod harness;
mod indeterminate;
mod jobs;
mod locality;
mod random;
mod results;
mod retries;
