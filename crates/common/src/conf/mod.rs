//! Configuration: the typed key table, the sources of values, and their precedence.
//!
//! ```text
//!  application's code  >  arguments of firesteel-submit  >  properties file      (driver, executors)
//!  arguments of the daemon  >  SPARK_*_OPTS, SPARK_DAEMON_JAVA_OPTS  >  properties file      (master, worker)
//! ```
//!
//! A [`Conf`] is data: it is read from sources that the caller names, and nothing here is global. The environment comes in as
//! a map ([`environment`]). Daemons and the driver library make their own config structs from a Conf; the binaries of
//! crate `deploy` call [`Conf::check`] once and print its warnings.

pub mod environment;
mod error;
mod foreign;
pub mod key;
pub mod keys;
pub mod properties;
mod protective;
mod redact;
mod source;
pub mod submit;
pub mod units;

use std::{collections::BTreeMap, fmt, path::Path};

pub use environment::Environment;
pub use error::ConfError;
pub use key::{ConfValue, Key};
pub use redact::redact;
pub use source::Source;
pub use units::ByteSize;

/// A set of keys with their values and where they came from. Spark: `SparkConf`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Conf {
    entries: BTreeMap<String, (String, Source)>,
}

impl Conf {
    /// An empty configuration: every key has its default.
    pub fn new() -> Conf {
        Conf::default()
    }

    /// Sets a key, as the application's code does: it goes before every other source.
    pub fn set(&mut self, name: impl Into<String>, value: impl fmt::Display) -> &mut Conf {
        self.set_from(name, value, Source::Code)
    }

    /// Sets a key and says where the value comes from.
    pub fn set_from(&mut self, name: impl Into<String>, value: impl fmt::Display, source: Source) -> &mut Conf {
        self.entries.insert(name.into(), (value.to_string(), source));
        self
    }

    /// Sets `key=value`, as given to an argument such as `--conf`.
    pub fn set_assignment(&mut self, assignment: &str, source: Source) -> Result<&mut Conf, ConfError> {
        match assignment.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(self.set_from(key.trim(), value.trim(), source)),
            _ => Err(ConfError::NotAnAssignment { argument: redact::assignment(assignment) }),
        }
    }

    /// Removes a key.
    pub fn unset(&mut self, name: &str) -> &mut Conf {
        self.entries.remove(name);
        self
    }

    /// Takes from another configuration, which has less precedence, every key that is not set here.
    pub fn inherit(&mut self, lower: &Conf) -> &mut Conf {
        for (name, entry) in &lower.entries {
            self.entries.entry(name.clone()).or_insert_with(|| entry.clone());
        }
        self
    }

    /// Reads a properties file.
    pub fn from_file(path: &Path) -> Result<Conf, ConfError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfError::Read {
            what: "the properties file",
            path: path.to_owned(),
            error,
        })?;
        Conf::from_properties(&text, path)
    }

    /// Reads the text of a properties file; `path` is what errors call it. A later line for a key goes before an earlier.
    pub fn from_properties(text: &str, path: &Path) -> Result<Conf, ConfError> {
        let mut conf = Conf::new();
        for entry in properties::parse(text, path)? {
            let source = Source::File { path: path.to_owned(), line: entry.line };
            conf.set_from(entry.key, entry.value, source);
        }
        Ok(conf)
    }

    /// A configuration from keys and values of one source.
    pub fn from_pairs<K: Into<String>, V: fmt::Display>(
        pairs: impl IntoIterator<Item = (K, V)>,
        source: Source,
    ) -> Conf {
        let mut conf = Conf::new();
        for (key, value) in pairs {
            conf.set_from(key, value, source.clone());
        }
        conf
    }

    /// The value of a key: as set, else as set under the name that it once had, else its default.
    pub fn get<T: ConfValue>(&self, key: &Key<T>) -> Result<T, ConfError> {
        let former = || key.former_name().and_then(|name| self.entries.get(name));
        let (text, source) = match self.entries.get(key.name()).or_else(former) {
            Some((text, source)) => (text.as_str(), source),
            None => match key.default_text() {
                Some(text) => (text, &Source::Default),
                None => {
                    let hint = format!("give it with --conf {}=… or in conf/spark-defaults.conf", key.name());
                    return T::absent().ok_or_else(|| ConfError::Missing { key: key.name().to_owned(), hint });
                }
            },
        };
        key.parse(text).map_err(|reason| ConfError::Invalid {
            key: key.name().to_owned(),
            value: redact(key.name(), text).to_owned(),
            origin: source.clone(),
            reason,
        })
    }

    /// The text of a key that is set; defaults do not count.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|(value, _)| value.as_str())
    }

    /// Whether a key is set.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Where a key that is set got its value.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.entries.get(name).map(|(_, source)| source)
    }

    /// All keys that are set, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }

    /// The text of a properties file with all keys that are set.
    pub fn to_properties(&self) -> String {
        properties::write(self.iter())
    }

    /// Checks everything that is set: a bad value of a known key is an error, and so is asking for protection that there is
    /// not; keys without a meaning here and unknown ones
    /// give warnings, the latter an error under `spark.conf.strict=true`. Keys that are not `spark.*` are taken out with
    /// a warning, as Spark does. What `firesteel-submit` handed over was checked by it and gives no warning again.
    pub fn check(&mut self) -> Result<Vec<String>, ConfError> {
        let strict = self.get(&keys::CONF_STRICT)?;
        let mut meaningless: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut warnings = Vec::new();
        let mut dropped = Vec::new();
        for (name, (value, source)) in &self.entries {
            if let Some(key) = keys::find(name) {
                key.check(value).map_err(|reason| ConfError::Invalid {
                    key: name.clone(),
                    value: redact(name, value).to_owned(),
                    origin: source.clone(),
                    reason,
                })?;
            } else if let Err(error) = protective::refuse(name, value, source) {
                return Err(error);
            } else if matches!(source, Source::Submit | Source::Driver) {
                continue;
            } else if !name.starts_with("spark.") {
                warnings
                    .push(format!("ignoring {name} ({source}): only keys that start with spark. are configuration"));
                dropped.push(name.clone());
            } else if foreign::is_spark_only(name) {
                meaningless.entry(source.group()).or_default().push(name);
            } else {
                let nearest = foreign::nearest(name);
                if strict {
                    return Err(ConfError::Unknown { key: name.clone(), origin: source.clone(), nearest });
                }
                let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"));
                warnings.push(format!("unknown key {name} ({source}) is kept for the application{hint}"));
            }
        }
        for (group, names) in meaningless {
            let names = names.join(", ");
            warnings.push(format!("{group}: these keys of Spark have no effect in Firesteel: {names}"));
        }
        for name in dropped {
            self.entries.remove(&name);
        }
        Ok(warnings)
    }
}

impl fmt::Debug for Conf {
    /// Secrets are blacked out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, redact(name, value)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Conf {
        Conf::from_properties(text, Path::new("conf/spark-defaults.conf")).unwrap()
    }

    #[test]
    fn code_goes_before_arguments_before_the_file() {
        let mut flags = Conf::new();
        flags.set_assignment("spark.executor.cores=2", Source::Flag("--conf")).unwrap();
        flags.set_assignment("spark.cores.max = 8", Source::Flag("--conf")).unwrap();
        flags.inherit(&file("spark.executor.cores 3\nspark.executor.memory 2g\nspark.cores.max 9"));
        let mut code = Conf::new();
        code.set("spark.cores.max", 4);
        code.inherit(&flags);
        assert_eq!(code.get(&keys::CORES_MAX).unwrap(), Some(4));
        assert_eq!(code.get(&keys::EXECUTOR_CORES).unwrap(), Some(2));
        assert_eq!(code.get(&keys::EXECUTOR_MEMORY).unwrap(), ByteSize(2 << 30));
        assert_eq!(code.get(&keys::TASK_CPUS).unwrap(), 1);
        assert_eq!(code.get(&keys::LOCALITY_WAIT_NODE).unwrap(), None);
    }

    #[test]
    fn a_key_is_also_read_under_the_name_that_it_once_had() {
        let spread_out = |text: &str| {
            let mut conf = file(text);
            assert_eq!(conf.check().unwrap(), Vec::<String>::new());
            conf.get(&keys::DEPLOY_SPREAD_OUT_APPS).unwrap()
        };
        assert!(!spread_out("spark.deploy.spreadOut false"));
        assert!(spread_out("spark.deploy.spreadOut false\nspark.deploy.spreadOutApps true"));
        assert!(file("spark.deploy.spreadOut maybe").check().is_err());
    }

    #[test]
    fn a_bad_value_names_key_value_place_and_what_to_do() {
        let mut conf = file("\nspark.executor.memory 1.5g\n");
        let error = conf.check().unwrap_err().to_string();
        assert!(
            error.starts_with("bad value '1.5g' of spark.executor.memory (conf/spark-defaults.conf line 2): "),
            "{error}"
        );
        let mut conf = Conf::new();
        conf.set("spark.executor.cores", 0);
        let error = conf.get(&keys::EXECUTOR_CORES).unwrap_err().to_string();
        assert!(error.contains("set in the application's code") && error.contains("at least 1"), "{error}");
    }

    #[test]
    fn sparks_keys_without_meaning_give_one_warning_a_file() {
        let mut conf = file("spark.sql.shuffle.partitions 3\nspark.eventLog.enabled true\nspark.serializer x");
        let warnings = conf.check().unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("conf/spark-defaults.conf: ") && warnings[0].contains("spark.eventLog.enabled")
        );
        assert_eq!(conf.get_str("spark.serializer"), Some("x"));
    }

    #[test]
    fn unknown_keys_are_kept_with_a_hint_and_refused_when_strict() {
        let mut conf = file("spark.executor.memroy 2g\nspark.mine 1\nother 2");
        let warnings = conf.check().unwrap();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains("did you mean spark.executor.memory?")), "{warnings:?}");
        assert_eq!((conf.get_str("spark.mine"), conf.get_str("other")), (Some("1"), None));
        conf.set("spark.conf.strict", true);
        let error = conf.check().unwrap_err().to_string();
        assert!(error.contains("did you mean spark.executor.memory?"), "{error}");
    }

    #[test]
    fn secrets_show_neither_in_debug_nor_in_errors() {
        let mut conf = Conf::new();
        conf.set("spark.authenticate.secret", "hunter2").set("spark.my.password", "hunter2");
        assert!(!format!("{conf:?}").contains("hunter2"));
        let error = conf.set_assignment("hunter2", Source::Flag("--conf")).unwrap_err();
        assert!(error.to_string().contains("key=value"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Conf::from_file(Path::new("/no/such/spark-defaults.conf")).unwrap_err().to_string();
        assert!(error.contains("/no/such/spark-defaults.conf"), "{error}");
    }
}
