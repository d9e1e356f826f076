//! Executors of a cluster.
