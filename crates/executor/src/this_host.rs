//! What the executor knows of its host.

/// This host's boot id; empty when it has none, and then nothing is read from other executors' disks.
pub(crate) fn boot_id() -> String {
    firesteel_os::host::boot_id().unwrap_or_else(|error| {
        tracing::warn!(%error, "this host has no boot id; map outputs of other executors on it are fetched");
        String::new()
    })
}
