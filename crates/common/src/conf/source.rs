//! Where a value was set, so that an error can name the place.

use std::{fmt, path::PathBuf};

/// The place at which a key got its value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// The application's own code.
    Code,
    /// A command line argument, with its name.
    Flag(&'static str),
    /// A line of a properties file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line at which the entry starts.
        line: usize,
    },
    /// An environment variable, with its name.
    Environment(&'static str),
    /// Handed over by `firesteel-submit`, which has checked it already.
    Submit,
    /// Sent by the driver.
    Driver,
    /// The key table's default.
    Default,
}

impl Source {
    /// The place without its line: values of one group are named by one warning.
    pub(super) fn group(&self) -> String {
        match self {
            Source::File { path, .. } => path.display().to_string(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Code => f.write_str("set in the application's code"),
            Source::Flag(name) => write!(f, "argument {name}"),
            Source::File { path, line } => write!(f, "{} line {line}", path.display()),
            Source::Environment(name) => write!(f, "environment variable {name}"),
            Source::Submit => f.write_str("handed over by firesteel-submit"),
            Source::Driver => f.write_str("sent by the driver"),
            Source::Default => f.write_str("default"),
        }
    }
}
