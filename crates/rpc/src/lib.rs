//! firesteel-rpc
