//! firesteel-closure
