//! The environment variables that Firesteel reads, as a map that the caller fills: `Environment::of_process()` in a binary,
//! literals in a test.

use std::collections::BTreeMap;

use super::{
    Conf, ConfError, Source,
    key::ConfValue,
    units::{self, ByteSize, Unit},
};

/// A copy of environment variables; those that are not UTF-8 are left out.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Name and meaning of each variable, for the documentation.
pub static VARIABLES: &[(&str, &str)] = &[
    ("SPARK_HOME", "Where Firesteel is installed. The scripts set it to the directory above them."),
    ("SPARK_CONF_DIR", "Where `spark-defaults.conf`, `spark-env.sh` and `workers` lie; `$SPARK_HOME/conf` without it."),
    ("SPARK_LOG_DIR", "Where the daemons' logs go; `$SPARK_HOME/logs` without it."),
    ("SPARK_LOG_MAX_FILES", "Logs of earlier starts that are kept of each daemon; 5 without it."),
    (
        "SPARK_PID_DIR",
        "Where the daemons' pid files go; `$SPARK_HOME/pids` without it. Its owner alone may write there.",
    ),
    ("SPARK_LOCAL_IP", "Address that daemons and drivers on this host bind to, when nothing else is said."),
    (
        "SPARK_LOCAL_DIRS",
        "Directories for shuffle and spill files, separated by commas; goes before `spark.local.dir`.",
    ),
    ("SPARK_MASTER_HOST", "Host name or address that the master binds to. Without it, SPARK_LOCAL_IP, else 127.0.0.1."),
    ("SPARK_MASTER_PORT", "Port of the master; 7077 without it."),
    ("SPARK_MASTER_WEBUI_PORT", "Port on which the master shows its state; goes before `spark.master.ui.port`."),
    ("SPARK_MASTER_OPTS", "`-Dkey=value` for the master. Other JVM flags are ignored with a warning."),
    ("SPARK_WORKER_CORES", "Cores that a worker offers; all of the host without it."),
    (
        "SPARK_WORKER_MEMORY",
        "Memory that a worker offers, such as `1000m` or `2g`; without it, the host's memory less 1 GiB, at least 512 MiB.",
    ),
    ("SPARK_WORKER_PORT", "Port of a worker; a free one without it."),
    ("SPARK_WORKER_WEBUI_PORT", "Port on which a worker shows its state; goes before `spark.worker.ui.port`."),
    ("SPARK_WORKER_DIR", "Where a worker keeps the directories of applications; `$SPARK_HOME/work` without it."),
    (
        "SPARK_WORKER_INSTANCES",
        "Workers on each host; 1 without it. Of several, the ports count up from SPARK_WORKER_PORT and SPARK_WORKER_WEBUI_PORT, and each has a directory of its own in SPARK_WORKER_DIR.",
    ),
    ("SPARK_WORKER_OPTS", "`-Dkey=value` for workers. Other JVM flags are ignored with a warning."),
    ("SPARK_DAEMON_JAVA_OPTS", "`-Dkey=value` for master and workers. Other JVM flags are ignored with a warning."),
    ("SPARK_IDENT_STRING", "Who the daemons belong to, in the names of logs and pid files; `$USER` without it."),
    ("SPARK_NICENESS", "Scheduling priority of the daemons; 0 without it."),
    ("SPARK_NO_DAEMONIZE", "When set, the start scripts run a daemon in the foreground."),
    ("SPARK_SSH_OPTS", "Arguments for ssh to the hosts of `conf/workers`; `-o StrictHostKeyChecking=no` without it."),
    ("SPARK_SSH_FOREGROUND", "When set, hosts of `conf/workers` are served one after the other."),
    ("SPARK_WORKER_SLEEP", "Seconds between two hosts of `conf/workers`, as a number."),
    (
        "FIRESTEEL_BIN_DIR",
        "Where the programs are; without it `$SPARK_HOME/libexec`, else `$SPARK_HOME/target/release`, else `$SPARK_HOME/target/debug`.",
    ),
    (
        "FIRESTEEL_LOG",
        "What is logged, in the form of tracing's filters, such as `debug` or `firesteel_master=debug`; `info` without it.",
    ),
    ("FIRESTEEL_START_TIMEOUT", "Seconds that a start script waits until a daemon is ready; 30 without it."),
    (
        "SPARK_STOP_TIMEOUT",
        "Seconds that a stop script waits for a daemon's own end before it kills it; 10 without it.",
    ),
];

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Environment {
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable as a number, or another type of the key table.
    pub fn parsed<T: ConfValue>(&self, name: &'static str) -> Result<Option<T>, ConfError> {
        self.read(name, |text| T::parse(text, Unit::None))
    }

    /// A number of cores, at least 1.
    pub fn cores(&self, name: &'static str) -> Result<Option<u32>, ConfError> {
        self.read(name, |text| match text.trim().parse() {
            Ok(0) => Err("it must be at least 1".to_owned()),
            Ok(cores) => Ok(cores),
            Err(_) => Err("write a whole number of cores".to_owned()),
        })
    }

    /// An amount of memory of at least 1 MiB, as Spark's `SPARK_WORKER_MEMORY`: a number alone counts bytes.
    pub fn memory(&self, name: &'static str) -> Result<Option<ByteSize>, ConfError> {
        self.read(name, memory)
    }

    fn read<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ConfError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse(text).map(Some).map_err(|reason| ConfError::Invalid {
            key: name.to_owned(),
            value: text.to_owned(),
            origin: Source::Environment(name),
            reason,
        })
    }

    /// Configuration from `-Dkey=value` in variables such as SPARK_MASTER_OPTS, and a warning for each variable that
    /// holds other flags of the JVM. Of one key the first variable's last value counts.
    pub fn java_options(&self, names: &[&'static str]) -> (Conf, Vec<String>) {
        let mut conf = Conf::new();
        let mut warnings = Vec::new();
        for name in names {
            let mut of_variable = Conf::new();
            let mut others = Vec::new();
            for word in words(self.get(name).unwrap_or_default()) {
                match word.strip_prefix("-D") {
                    Some(option) => {
                        let (key, value) = option.split_once('=').unwrap_or((option, "true"));
                        of_variable.set_from(key, value, Source::Environment(name));
                    }
                    None => others.push(word),
                }
            }
            if !others.is_empty() {
                let others = others.join(" ");
                warnings.push(format!("{name}: there is no JVM here, these flags have no effect: {others}"));
            }
            conf.inherit(&of_variable);
        }
        (conf, warnings)
    }
}

/// Reads an amount of memory of at least 1 MiB; a number alone counts bytes.
pub fn memory(text: &str) -> Result<ByteSize, String> {
    let size = units::parse_bytes(text, Unit::Bytes)?;
    if size.mib() == 0 {
        return Err("it is below 1 MiB; a number alone counts bytes, write for example 512m or 2g".to_owned());
    }
    Ok(size)
}

/// Words as a shell would cut them: blanks part them, quotes keep them together, a backslash takes the next as it is.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Environment {
        Environment { variables: variables.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::keys;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn java_options_are_configuration_and_jvm_flags_one_warning() {
        let env = environment(&[
            ("SPARK_MASTER_OPTS", "-Dspark.worker.timeout=5 -Xmx1g '-Dspark.app.name=a b' -XX:+UseG1GC"),
            ("SPARK_DAEMON_JAVA_OPTS", "-Dspark.worker.timeout=7 -Dspark.deploy.defaultCores=3"),
        ]);
        let (conf, warnings) = env.java_options(&["SPARK_MASTER_OPTS", "SPARK_DAEMON_JAVA_OPTS"]);
        assert_eq!(conf.get(&keys::WORKER_TIMEOUT).unwrap().as_secs(), 5);
        assert_eq!(conf.get(&keys::DEPLOY_DEFAULT_CORES).unwrap(), Some(3));
        assert_eq!(conf.get_str("spark.app.name"), Some("a b"));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("-Xmx1g -XX:+UseG1GC"), "{warnings:?}");
    }

    #[test]
    fn bad_numbers_name_the_variable() {
        let env =
            environment(&[("SPARK_WORKER_CORES", "0"), ("SPARK_WORKER_MEMORY", "2000"), ("SPARK_MASTER_PORT", "x")]);
        for error in [
            env.cores("SPARK_WORKER_CORES").unwrap_err().to_string(),
            env.memory("SPARK_WORKER_MEMORY").unwrap_err().to_string(),
            env.parsed::<u16>("SPARK_MASTER_PORT").unwrap_err().to_string(),
        ] {
            assert!(error.contains("environment variable SPARK_"), "{error}");
        }
        assert_eq!(env.cores("SPARK_OTHER").unwrap(), None);
        assert_eq!(environment(&[("M", "2g")]).memory("M").unwrap(), Some(ByteSize(2 << 30)));
    }
}
