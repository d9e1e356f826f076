//! firesteel-master
