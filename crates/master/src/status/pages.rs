//! What the master's web port shows.

use firesteel_machine::Asker;
use firesteel_web::{Answer, Pages};

use super::{MasterStatus, json};

/// The pages of a master. Spark: `MasterWebUI`.
pub(crate) struct StatusPages(pub(crate) Asker<MasterStatus>);

impl Pages for StatusPages {
    async fn page(&self, path: &str) -> Answer {
        match path {
            "/json" | "/json/" => match self.0.ask().await {
                Some(status) => Answer::json(&json::master(&status)),
                None => Answer::Unavailable,
            },
            _ => Answer::NotFound,
        }
    }
}
