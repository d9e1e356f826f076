//! What a daemon shows.

use std::future::Future;

use bytes::Bytes;

/// What is found under a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A page.
    Page {
        /// Its media type.
        content_type: &'static str,
        /// The page itself.
        body: Bytes,
    },
    /// There is nothing of that name.
    NotFound,
    /// The daemon is ending.
    Unavailable,
}

impl Answer {
    /// A value for programs, laid out so that people can read it, too.
    pub fn json(value: &serde_json::Value) -> Answer {
        Answer::Page { content_type: "application/json", body: format!("{value:#}\n").into() }
    }
}

/// The pages of a daemon. None of them may change anything, or say what peers must prove.
pub trait Pages: Send + Sync + 'static {
    /// The page under this path, which begins with `/` and has no query.
    fn page(&self, path: &str) -> impl Future<Output = Answer> + Send;
}
