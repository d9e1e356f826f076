//! firesteel-worker
