//! Which configuration a daemon works by: `-Dkey=value` of its variables, then the properties file.

use std::path::{Path, PathBuf};

use firesteel_common::conf::{Conf, ConfError, Environment};

/// The properties file to read: the one that was named, else `spark-defaults.conf` of the configuration directory when it
/// is there.
pub fn properties(named: Option<&Path>, environment: &Environment) -> Result<Conf, ConfError> {
    match named {
        Some(path) => Conf::from_file(path),
        None => defaults(environment),
    }
}

/// What `spark-defaults.conf` says; nothing when there is none.
pub fn defaults(environment: &Environment) -> Result<Conf, ConfError> {
    match defaults_file(environment) {
        Some(path) if path.exists() => Conf::from_file(&path),
        _ => Ok(Conf::new()),
    }
}

fn defaults_file(environment: &Environment) -> Option<PathBuf> {
    let dir = environment.get("SPARK_CONF_DIR").map(PathBuf::from);
    let dir = dir.or_else(|| environment.get("SPARK_HOME").map(|home| Path::new(home).join("conf")))?;
    Some(dir.join("spark-defaults.conf"))
}

/// The configuration of a daemon whose own variable is `options`, such as SPARK_MASTER_OPTS. What is to be said about it
/// is logged.
pub fn daemon(options: &'static str, named: Option<&Path>, environment: &Environment) -> Result<Conf, ConfError> {
    let (mut conf, mut warnings) = environment.java_options(&[options, "SPARK_DAEMON_JAVA_OPTS"]);
    conf.inherit(&properties(named, environment)?);
    warnings.extend(conf.check()?);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(conf)
}

#[cfg(test)]
mod tests {
    use firesteel_common::conf::keys;

    use super::*;

    #[test]
    fn the_daemons_own_options_go_before_common_ones_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = "spark.worker.timeout 1\nspark.deploy.defaultCores 1\nspark.deploy.maxExecutorRetries 1\n";
        std::fs::write(dir.path().join("spark-defaults.conf"), file).unwrap();
        let environment: Environment = [
            ("SPARK_CONF_DIR", dir.path().to_str().unwrap()),
            ("SPARK_MASTER_OPTS", "-Dspark.worker.timeout=3"),
            ("SPARK_DAEMON_JAVA_OPTS", "-Dspark.worker.timeout=2 -Dspark.deploy.defaultCores=2"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into_iter()
        .collect();
        let conf = daemon("SPARK_MASTER_OPTS", None, &environment).unwrap();
        assert_eq!(conf.get(&keys::WORKER_TIMEOUT).unwrap().as_secs(), 3);
        assert_eq!(conf.get(&keys::DEPLOY_DEFAULT_CORES).unwrap(), Some(2));
        assert_eq!(conf.get(&keys::DEPLOY_MAX_EXECUTOR_RETRIES).unwrap(), 1);
    }

    #[test]
    fn no_daemon_starts_open_where_protection_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("spark-defaults.conf"), "spark.network.crypto.enabled true\n").unwrap();
        let conf_dir = ("SPARK_CONF_DIR".to_owned(), dir.path().to_str().unwrap().to_owned());
        let options = |variable: &str, value: &str| (variable.to_owned(), value.to_owned());
        for variable in ["SPARK_MASTER_OPTS", "SPARK_WORKER_OPTS"] {
            let error = daemon(variable, None, &[conf_dir.clone()].into_iter().collect()).unwrap_err().to_string();
            assert!(error.contains("spark.network.crypto.enabled") && error.contains("spark-defaults.conf"), "{error}");
            let environment = [options(variable, "-Dspark.deploy.recoveryMode=ZOOKEEPER")].into_iter().collect();
            let error = daemon(variable, None, &environment).unwrap_err().to_string();
            assert!(error.contains("ZOOKEEPER") && error.contains(variable), "{error}");
        }
    }

    #[test]
    fn a_named_file_must_be_there_and_the_default_one_need_not() {
        let environment = Environment::default();
        assert!(properties(Some(Path::new("/no/such/file")), &environment).is_err());
        assert_eq!(properties(None, &environment).unwrap(), Conf::new());
    }
}
