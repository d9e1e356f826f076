//! What can be wrong with configuration. Every variant names the key, variable or file and says what to do.

use std::path::PathBuf;

use thiserror::Error;

use super::source::Source;

/// A configuration that cannot be used. Its text is meant for the person who wrote the configuration.
#[derive(Debug, Error)]
pub enum ConfError {
    /// A key or variable that is ours has a value that cannot be used.
    #[error("bad value '{value}' of {key} ({origin}): {reason}")]
    Invalid {
        /// The key or environment variable.
        key: String,
        /// The text as written; secrets are blacked out.
        value: String,
        /// Where the value was set.
        origin: Source,
        /// What was expected.
        reason: String,
    },
    /// A key of Spark's asks for protection that Firesteel does not give.
    #[error("{key} is {value} ({origin}), and Firesteel cannot do that: {what}")]
    Unprotected {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Where it was set.
        origin: Source,
        /// What is missing, and what to do.
        what: &'static str,
    },
    /// A key without a default is needed and was not set.
    #[error("{key} is not set: {hint}")]
    Missing {
        /// The key.
        key: String,
        /// How to set it.
        hint: String,
    },
    /// A key that nobody knows, while `spark.conf.strict` is true.
    #[error(
        "unknown key {key} ({origin}){}, and spark.conf.strict is true: correct it, or set spark.conf.strict=false to keep it for the application",
        nearest.map(|n| format!(", did you mean {n}?")).unwrap_or_default()
    )]
    Unknown {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Source,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// An argument of the form `key=value` was expected.
    #[error("'{argument}' is not of the form key=value: write for example spark.executor.memory=2g")]
    NotAnAssignment {
        /// What was written.
        argument: String,
    },
    /// A file could not be read.
    #[error("cannot read {what} {}: {error}", path.display())]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A properties file has a line that cannot be read.
    #[error("{origin}: {reason}")]
    Syntax {
        /// File and line.
        origin: Source,
        /// What is wrong with it.
        reason: String,
    },
    /// Authentication was asked for, but there is no secret.
    #[error(
        "spark.authenticate is true but there is no secret: set spark.authenticate.secret.file to a file that only you can read (or spark.authenticate.secret)"
    )]
    NoSecret,
    /// The secret is too short to be one, or its file is empty.
    #[error("the secret in {place} is empty: write at least one character, better 32 random bytes")]
    EmptySecret {
        /// The key or the file.
        place: String,
    },
    /// The descriptor that firesteel-submit promised could not be read.
    #[error(
        "cannot read the configuration that firesteel-submit handed over ({variable}={value}): {reason}; a program between them has closed the descriptor: have it leave the descriptor open, or unset the variable to run without what was handed over"
    )]
    Submit {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What went wrong.
        reason: String,
    },
}
