//! firesteel-storage
