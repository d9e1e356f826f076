//! firesteel-executor
