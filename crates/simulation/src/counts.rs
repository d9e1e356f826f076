//! How often each thing occurred: what shows that the seeds do meet what they are meant to meet.

/// Declares the counts once, with their sum.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What was played.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl std::ops::AddAssign for Counts {
            fn add_assign(&mut self, other: Counts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Seeds that were played.
    seeds: u64,
    /// Events that were played.
    steps: u64,
    /// Jobs that were submitted by drivers that lived to see their end.
    jobs: usize,
    /// Jobs that succeeded with exact results.
    succeeded: usize,
    /// Jobs that the user cancelled.
    cancelled: usize,
    /// Jobs that were refused, as their barrier stages cannot run.
    refused: usize,
    /// Executors that were started.
    executors: usize,
    /// Executors that registered before their drivers knew that they were granted.
    before_grant: usize,
    /// Grants that were said again, by the same master or by another.
    granted_again: usize,
    /// Executors of lost workers of whose end no master had said anything.
    unreported: usize,
    /// Executors that ended early as their worker was sick.
    ended_early: usize,
    /// Tasks that were recalled in time.
    given_back: usize,
    /// Second copies of slow tasks.
    speculative: usize,
    /// Fetch failures that drivers heard of.
    fetch_failures: usize,
    /// Masters that were started again.
    master_restarts: usize,
    /// Executors that a master took over from the one before it.
    adopted: usize,
    /// Nodes that were stopped for a while.
    frozen: usize,
    /// Partitions of the network.
    partitions: usize,
    /// Drivers that ended early.
    driver_crashes: usize,
    /// Applications whose shuffle files the workers serve.
    with_service: usize,
    /// Map outputs of executors that were gone, read from a worker's shuffle service.
    outlived: usize,
    /// Applications that ask for executors as they need them.
    with_allocation: usize,
    /// Times that they asked for another number.
    requests: usize,
    /// Executors that were given back as they were idle.
    retired: usize,
    /// Attempts of barrier stages that were launched.
    barriers: usize,
    /// Attempts of barrier stages after the first.
    barrier_retries: usize,
    /// Calls of barriers at which all tasks met.
    meetings: usize,
    /// Applications that avoid executors on which tasks failed.
    with_exclusion: usize,
    /// Executors that a stage attempt avoided.
    avoided: usize,
    /// Executors that were ended because too much failed there.
    expelled: usize,
    /// Jobs for which no executor was left that they did not avoid.
    excluded: usize,
    /// Workers that were decommissioned.
    workers_left: usize,
    /// Executors that were decommissioned.
    executors_left: usize,
    /// Map outputs and cached partitions that they handed to others.
    moved: usize,
    /// Those that nobody could take.
    not_moved: usize,
    /// Copies of cached partitions that were made again.
    copied_again: usize,
    /// Newer orders for executors that leave.
    told_again: usize,
    /// Executors that took too long to leave.
    overdue: usize,
    /// Lost map outputs that came out differently.
    differing: usize,
    /// Times that a job's results were taken back.
    discarded: usize,
    /// Events that were told of applications.
    heard: usize,
    /// Tasks among them that ended with their executors.
    heard_lost: usize,
}
