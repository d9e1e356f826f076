//! How `firesteel-submit` hands its configuration to the application that it becomes: an inherited descriptor holds a
//! properties file, and an environment variable names the descriptor. No secret stands in argv or the environment, which
//! every program that the application starts would have, too.
//!
//! ```text
//!  firesteel-submit ──exec──▶ wrapper script ──▶ program     descriptor open:    all of it, from there
//!                             (bash, python)                 descriptor closed:  all but secrets, from the second variable
//! ```
//!
//! The variables are not unset, because a process with threads cannot do that safely; every Context reads the descriptor
//! afresh through `/proc/self/fd`, so several Contexts, and programs that the application starts, see the same.

use std::path::Path;

use super::{Conf, ConfError, Environment, Source, properties, redact::is_redacted};

/// Holds the number of the inherited descriptor.
pub const VARIABLE: &str = "FIRESTEEL_SUBMIT_CONF";

/// Holds the same configuration without its secrets, for a program whose descriptor was closed on the way to it.
pub const OPEN_VARIABLE: &str = "FIRESTEEL_SUBMIT_SETTINGS";

/// The first line of what is handed over, so that a number that means another file now is noticed.
const HEADER: &str = "# handed over by firesteel-submit";

/// In [`OPEN_VARIABLE`]: the keys that stand in the descriptor alone.
const WITHHELD: &str = "firesteel.submit.withheld";

/// The kernel takes no longer variable than 128 KiB.
const LONGEST: usize = 120 << 10;

/// What reached the program.
#[derive(PartialEq, Eq, Debug)]
pub struct HandedOver {
    /// The configuration.
    pub conf: Conf,
    /// What is to be said about it: that secrets did not reach the program.
    pub warning: Option<String>,
}

/// What `firesteel-submit` writes into the descriptor.
pub fn encode(conf: &Conf) -> String {
    format!("{HEADER}\n{}", conf.to_properties())
}

/// What it writes into [`OPEN_VARIABLE`]; None when that cannot be a variable's value.
pub fn encode_open(conf: &Conf) -> Option<String> {
    let (secret, open): (Vec<_>, Vec<_>) = conf.iter().partition(|(key, _)| is_redacted(key));
    let withheld = secret.into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(",");
    let withheld = (!withheld.is_empty()).then_some((WITHHELD, withheld.as_str()));
    let text = format!("{HEADER}\n{}", properties::write(open.into_iter().chain(withheld)));
    (text.len() <= LONGEST && !text.contains('\0')).then_some(text)
}

/// What `firesteel-submit` handed over; None when the process was not started by it.
///
/// # Errors
/// When it reached the program on neither way.
pub fn handed_over(environment: &Environment) -> Result<Option<HandedOver>, ConfError> {
    let Some(value) = environment.get(VARIABLE) else { return Ok(None) };
    let reason = match read(value).and_then(|text| decode(&text)) {
        Ok(conf) => return Ok(Some(HandedOver { conf, warning: None })),
        Err(reason) => reason,
    };
    match environment.get(OPEN_VARIABLE).map(decode) {
        Some(Ok(mut conf)) => {
            let withheld = conf.get_str(WITHHELD).map(|keys| {
                format!(
                    "descriptor {value}, by which firesteel-submit hands secrets over, did not reach this program \
                     ({reason}), so it goes on without {keys}: have the program that started it leave the descriptor open \
                     (in Python close_fds=False), or name a file in spark.authenticate.secret.file"
                )
            });
            conf.unset(WITHHELD);
            Ok(Some(HandedOver { conf, warning: withheld }))
        }
        _ => Err(ConfError::Submit { variable: VARIABLE, value: value.to_owned(), reason }),
    }
}

fn read(value: &str) -> Result<String, String> {
    let fd: u32 = value.parse().map_err(|_| "it is not the number of a descriptor".to_owned())?;
    let path = format!("/proc/self/fd/{fd}");
    // Reading a pipe or terminal that has the number now would wait for whoever writes to it.
    let meta = std::fs::metadata(&path).map_err(|e| format!("the descriptor is closed: {e}"))?;
    if !meta.is_file() {
        return Err("the descriptor is something else now".to_owned());
    }
    std::fs::read_to_string(&path).map_err(|e| e.to_string())
}

fn decode(text: &str) -> Result<Conf, String> {
    if text.lines().next() != Some(HEADER) {
        return Err("it holds something else".to_owned());
    }
    let entries = properties::parse(text, Path::new("firesteel-submit")).map_err(|e| e.to_string())?;
    Ok(Conf::from_pairs(entries.into_iter().map(|e| (e.key, e.value)), Source::Submit))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsRawFd};

    use super::*;

    fn environment(fd: impl ToString) -> Environment {
        [(VARIABLE.to_owned(), fd.to_string())].into_iter().collect()
    }

    fn example() -> Conf {
        let mut conf = Conf::new();
        conf.set("spark.app.name", "a b\\=c\n").set("spark.authenticate.secret", "=x y");
        conf.set("spark.authenticate.secret.file", "/f").set("spark.my.password", "p");
        conf
    }

    #[test]
    fn the_descriptor_can_be_read_again_and_again() {
        let conf = example();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(encode(&conf).as_bytes()).unwrap();
        for _ in 0..2 {
            let read = handed_over(&environment(file.as_raw_fd())).unwrap().unwrap();
            assert!(read.conf.iter().eq(conf.iter()));
            assert_eq!(read.conf.source("spark.app.name"), Some(&Source::Submit));
            assert_eq!(read.warning, None);
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

    #[test]
    fn without_the_descriptor_all_but_secrets_is_in_the_environment() {
        let open = encode_open(&example()).unwrap();
        assert!(!open.contains("=x y") && !open.contains("password=p"), "{open}");
        let (reader, _writer) = std::io::pipe().unwrap();
        // Closed, another file, and a pipe, from which a read would not return.
        for fd in ["999999".to_owned(), "x".to_owned(), reader.as_raw_fd().to_string()] {
            let both = [(VARIABLE.to_owned(), fd), (OPEN_VARIABLE.to_owned(), open.clone())].into_iter().collect();
            let read = handed_over(&both).unwrap().unwrap();
            let pairs: Vec<_> = read.conf.iter().collect();
            assert_eq!(pairs, [("spark.app.name", "a b\\=c\n"), ("spark.authenticate.secret.file", "/f")]);
            let warning = read.warning.unwrap();
            assert!(warning.contains("without spark.authenticate.secret,spark.my.password:"), "{warning}");
        }
        let mut conf = Conf::new();
        conf.set("spark.app.name", "a");
        let both = [(VARIABLE, "999999".to_owned()), (OPEN_VARIABLE, encode_open(&conf).unwrap())];
        let both = both.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(handed_over(&both).unwrap().unwrap().warning, None, "nothing is missing");
        conf.set("spark.long", "x".repeat(1 << 20));
        assert_eq!(encode_open(&conf), None);
    }
}
