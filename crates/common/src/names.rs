//! Names that travel between processes and become keys of tables, parts of paths and words in log lines: types that only a
//! valid name can be made into. Whoever holds an [`AppId`] may join it to a path.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::tick::utc_digits;

/// A text that is no name of this kind. Shown with what cannot be printed escaped, and cut off where it is long.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is no {kind}: {reason}")]
pub struct BadName {
    /// What it should have been, such as `application id`.
    pub kind: &'static str,
    /// As given, up to 64 characters of it.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a kind of name may look like.
struct Rule {
    kind: &'static str,
    longest: usize,
    /// Beside ASCII letters and digits.
    marks: &'static str,
}

impl Rule {
    fn check(&self, text: &str) -> Result<(), BadName> {
        let bad = |reason: String| Err(BadName { kind: self.kind, text: text.chars().take(64).collect(), reason });
        let allowed = |c: char| c.is_ascii_alphanumeric() || self.marks.contains(c);
        if text.is_empty() {
            return bad("it is empty".to_owned());
        }
        if text.len() > self.longest {
            return bad(format!("it has {} bytes, at most {} are allowed", text.len(), self.longest));
        }
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return bad(format!("{c:?} is not allowed, only letters, digits and {}", self.marks));
        }
        // What begins with a dot is hidden or leads upwards, what begins with a dash looks like an option.
        if text.starts_with(['.', '-']) || text.contains("..") {
            return bad("it must not begin with a dot or a dash, nor have two dots in a row".to_owned());
        }
        Ok(())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $longest:literal, $marks:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            const RULE: Rule = Rule { kind: $kind, longest: $longest, marks: $marks };

            /// The name that the text is, if it is one.
            pub fn parse(text: &str) -> Result<$name, BadName> {
                Self::RULE.check(text)?;
                Ok($name(text.into()))
            }

            /// Whether the text is such a name.
            pub fn check(text: &str) -> Result<(), BadName> {
                Self::RULE.check(text)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self.0 == **other
            }
        }

        impl PartialEq<String> for $name {
            fn eq(&self, other: &String) -> bool {
                *self.0 == **other
            }
        }

        impl PartialEq<$name> for String {
            fn eq(&self, other: &$name) -> bool {
                **self == *other.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<$name, BadName> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<$name, BadName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// An application's name in the cluster, given by the master: `app-yyyyMMddHHmmss-NNNN`. Any such name is a plain
    /// directory's, too: no separator, no way upwards, not hidden.
    AppId, "application id", 128, "-_."
);
name!(
    /// A worker's name, of its own choice; it holds the worker's host and port.
    WorkerId, "worker id", 320, "-_.:[]%"
);
name!(
    /// A host as others reach it: a DNS name or an address, IPv6 with or without brackets.
    Host, "host", 255, "-_.:[]%"
);

name!(
    /// A block's name as it travels in a message, in Spark's form (`taskresult_7`).
    BlockName, "block id", 128, "_"
);

impl AppId {
    /// The name that a master gives: the second in which the application began, since 1970, and how many there were before.
    pub fn issued(second: u64, number: u64) -> AppId {
        AppId(format!("app-{}-{number:04}", utc_digits(second)).into())
    }

    /// Whether it has the form of a name that a master gives.
    pub fn has_issued_form(&self) -> bool {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        self.strip_prefix("app-").and_then(|rest| rest.split_once('-')).is_some_and(|(date, number)| {
            date.len() == 14 && digits(date) && (4..=20).contains(&number.len()) && digits(number)
        })
    }
}

/// Names an executor within the cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecutorKey {
    /// Its application.
    pub app_id: AppId,
    /// Its number within the application.
    pub executor_id: u32,
}

impl ExecutorKey {
    /// The key of a message's two fields.
    pub fn parse(app_id: &str, executor_id: u32) -> Result<ExecutorKey, BadName> {
        Ok(ExecutorKey { app_id: AppId::parse(app_id)?, executor_id })
    }
}

impl fmt::Display for ExecutorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app_id, self.executor_id)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_lead_elsewhere_or_break_a_line_are_none() {
        let long = "a".repeat(129);
        for text in [
            "",
            ".",
            "..",
            "../x",
            "/etc",
            "a/b",
            "a/../../b",
            ".lock",
            "-rf",
            "a..b",
            "a\0b",
            "a\nb",
            "a\x1b[31m",
            "a b",
            "ä",
            "a\u{202e}b",
            &long,
        ] {
            let error = AppId::parse(text).unwrap_err().to_string();
            assert!(!error.contains(['\n', '\0', '\x1b']) && error.len() < 300, "{error}");
        }
    }

    #[test]
    fn names_in_use_are_names() {
        for text in ["app-20261128050359-0000", "local-1795267353000", "app-1", "application_1_0002"] {
            assert_eq!(AppId::parse(text).unwrap(), *text);
        }
        for text in ["worker-20261128050359-10.0.0.1-7078", "worker-20261128050359-[::1]-7078", "w1"] {
            WorkerId::parse(text).unwrap();
        }
        for text in ["h", "localhost", "10.0.0.1", "[::1]", "fe80::1%eth0", "node-7.cluster_a.example.org"] {
            // An IPv6 address may begin with a colon, never with a dot or a dash.
            Host::parse(text).unwrap();
        }
    }

    #[test]
    fn only_what_a_master_could_have_given_has_its_form() {
        for (second, number) in [(0, 0), (1_795_267_353, 7), (1_795_267_353, 123_456), (200_000_000_000, u64::MAX)] {
            let id = AppId::issued(second, number);
            assert!(id.has_issued_form() && AppId::check(&id).is_ok(), "{id}");
        }
        for text in ["app-1", "app-2026112805035-0000", "app-20261128050359-000", "app-2026112805035x-0000", "local-1"]
        {
            assert!(!AppId::parse(text).unwrap().has_issued_form(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_application_id_is_one_plain_part_of_a_path(text in "\\PC*|[a-z./\\n\\x00-]{0,12}") {
            if let Ok(id) = AppId::parse(&text) {
                let parts: Vec<Component<'_>> = Path::new(id.as_str()).components().collect();
                prop_assert!(matches!(parts[..], [Component::Normal(part)] if part == id.as_str()));
                let joined = Path::new("/root").join(&*id);
                prop_assert_eq!(joined.parent(), Some(Path::new("/root")));
            }
        }
    }
}
