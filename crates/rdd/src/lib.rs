//! firesteel-rdd
