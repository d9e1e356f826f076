//! firesteel-simulation
