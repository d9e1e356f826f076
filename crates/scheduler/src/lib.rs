//! firesteel-scheduler
