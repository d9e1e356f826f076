//! Where the library's warnings go when the program has set up no logging of its own: to standard error, so that a
//! submitter sees why a job waits or fails. Per thread, for the library's own threads: nothing global is set.

use tracing::{dispatcher, level_filters::LevelFilter, subscriber::NoSubscriber};
use tracing_subscriber::EnvFilter;

/// Logs what this thread does, until the guard goes, if nobody else would. `FIRESTEEL_LOG` chooses what, `warn` without.
pub fn on_this_thread() -> Option<tracing::subscriber::DefaultGuard> {
    if !dispatcher::get_default(|current| current.is::<NoSubscriber>()) {
        return None;
    }
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).with_env_var("FIRESTEEL_LOG");
    let subscriber = firesteel_common::logging::to_stderr(filter.from_env_lossy()).with_target(false);
    Some(tracing::subscriber::set_default(subscriber.finish()))
}
