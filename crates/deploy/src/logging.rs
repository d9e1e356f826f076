//! Logging of the daemons: to standard error, which the start scripts send to a file.

use firesteel_common::{conf::Environment, logging};
use tracing_subscriber::EnvFilter;

use crate::DeployError;

/// Sets up logging for this process; FIRESTEEL_LOG chooses what is logged. To be called once, by a binary.
pub fn init(environment: &Environment) -> Result<(), DeployError> {
    let text = environment.get("FIRESTEEL_LOG").unwrap_or("info");
    let bad = |reason: String| DeployError::LogFilter { value: text.to_owned(), reason };
    let filter = EnvFilter::builder().parse(text).map_err(|e| bad(e.to_string()))?;
    logging::to_stderr(filter)
        .try_init()
        .map_err(|e| DeployError::System { action: "set up logging".to_owned(), source: std::io::Error::other(e) })
}
