//! What the coarse-grained backend asks of a cluster manager, and hears from it.

use firesteel_closure::binary::RunningBinary;
use firesteel_common::ExecutorId;

/// The way to a cluster manager, on the session's thread. Executors that it starts connect to the driver by themselves.
/// Spark: `StandaloneAppClient`.
pub(in crate::backend) trait Manager: Send {
    /// The next news; the first is [`News::Registered`] or [`News::Failed`], and after the latter none follows. May be dropped
    /// at any time and called again: nothing is lost.
    fn next(&mut self) -> impl Future<Output = News> + Send;

    /// Asks for so many executors in all.
    fn request_total(&mut self, total: u32);

    /// Has an executor ended, whatever it does.
    fn kill(&mut self, executor: ExecutorId);

    /// Ends the application, within a bounded time.
    async fn leave(self);
}

/// An application that is to be registered.
pub(in crate::backend) struct Application {
    /// host:port at which the driver waits for executors.
    pub driver_address: String,
    /// host:port of its block server, which has the executable.
    pub block_address: String,
    /// What executors run.
    pub binary: &'static RunningBinary,
    /// Executors that it begins with; `None`: as many as it may have.
    pub executors: Option<u32>,
}

/// What a cluster manager says.
#[derive(Debug)]
pub(in crate::backend) enum News {
    /// It has the application; said again when that was lost meanwhile.
    Registered {
        /// The application's id, always the same.
        app_id: String,
        /// Which attempt of it this is, where there may be several.
        attempt_id: Option<String>,
    },
    /// Of the application's executors.
    Executors(firesteel_backend::News),
    /// The cluster will do nothing more for this application.
    Failed(String),
}
