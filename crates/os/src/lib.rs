//! firesteel-os
