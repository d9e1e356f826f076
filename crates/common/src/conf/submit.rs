//! How `firesteel-submit` hands its configuration to the application that it becomes: an inherited descriptor holds a
//! properties file, and an environment variable names the descriptor. Nothing of it stands in argv or the environment,
//! where other users could read a secret.
//!
//! The variable is not unset, because a process with threads cannot do that safely; every Context reads the descriptor
//! afresh through `/proc/self/fd`, so several Contexts, and programs that the application starts, see the same.

use std::path::Path;

use super::{Conf, ConfError, Environment, Source, properties};

/// Holds the number of the inherited descriptor.
pub const VARIABLE: &str = "FIRESTEEL_SUBMIT_CONF";

/// The first line of what the descriptor holds, so that a number that means another file now is noticed.
const HEADER: &str = "# handed over by firesteel-submit";

/// What `firesteel-submit` writes into the descriptor.
pub fn encode(conf: &Conf) -> String {
    format!("{HEADER}\n{}", conf.to_properties())
}

/// What `firesteel-submit` handed over; None when the process was not started by it.
pub fn handed_over(environment: &Environment) -> Result<Option<Conf>, ConfError> {
    let Some(value) = environment.get(VARIABLE) else { return Ok(None) };
    let fail = |reason: String| ConfError::Submit { variable: VARIABLE, value: value.to_owned(), reason };
    let fd: u32 = value.parse().map_err(|_| fail("it is not the number of a descriptor".to_owned()))?;
    let path = format!("/proc/self/fd/{fd}");
    let text = std::fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
    decode(&text).map_err(fail).map(Some)
}

fn decode(text: &str) -> Result<Conf, String> {
    if text.lines().next() != Some(HEADER) {
        return Err("the descriptor holds something else; unset the variable".to_owned());
    }
    let entries = properties::parse(text, Path::new("firesteel-submit")).map_err(|e| e.to_string())?;
    Ok(Conf::from_pairs(entries.into_iter().map(|e| (e.key, e.value)), Source::Submit))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    fn environment(fd: impl ToString) -> Environment {
        [(VARIABLE.to_owned(), fd.to_string())].into_iter().collect()
    }

    #[test]
    fn the_descriptor_can_be_read_again_and_again() {
        let mut conf = Conf::new();
        conf.set("spark.app.name", "a b\\=c").set("spark.authenticate.secret", "=x y");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(encode(&conf).as_bytes()).unwrap();
        for _ in 0..2 {
            let read = handed_over(&environment(file.as_raw_fd())).unwrap().unwrap();
            assert!(read.iter().eq(conf.iter()));
            assert_eq!(read.source("spark.app.name"), Some(&Source::Submit));
        }
    }

    #[test]
    fn a_descriptor_that_means_something_else_is_an_error_and_none_is_none() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"spark.master=local\n").unwrap();
        assert!(handed_over(&environment(file.as_raw_fd())).is_err());
        assert!(handed_over(&environment("x")).is_err());
        assert_eq!(handed_over(&Environment::default()).unwrap(), None);
    }
}
