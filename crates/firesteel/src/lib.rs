//! firesteel
