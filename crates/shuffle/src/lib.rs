//! firesteel-shuffle
