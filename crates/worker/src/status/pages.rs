//! What the worker's web port shows.

use firesteel_machine::Asker;
use firesteel_web::{Answer, Pages};

use super::{WorkerStatus, json};

/// The pages of a worker. Spark: `WorkerWebUI`.
pub(crate) struct StatusPages(pub(crate) Asker<WorkerStatus>);

impl Pages for StatusPages {
    async fn page(&self, path: &str) -> Answer {
        match path {
            "/json" | "/json/" => match self.0.ask().await {
                Some(status) => Answer::json(&json::worker(&status)),
                None => Answer::Unavailable,
            },
            _ => Answer::NotFound,
        }
    }
}
