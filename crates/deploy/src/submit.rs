//! `firesteel-submit`: puts the configuration together, then becomes the application, so that its process id, signals and
//! exit status are the application's own.

use std::{
    ffi::OsString,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::Command,
};

use clap::Parser;
use firesteel_common::{
    conf::{Conf, Environment, Source, keys, redact, submit},
    say,
};
use firesteel_rpc::Master;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::{DeployError, application, settings, submit_options::SparkOptions};

/// Runs an application on a cluster or on the threads of this host.
#[derive(Parser, Debug)]
#[command(name = "firesteel-submit", version, args_override_self = true)]
pub struct SubmitCommand {
    /// spark://host:port[,host:port], local, local[N], local[*] or local-cluster[N,cores,MiB] [default: spark.master of the
    /// properties file, else local[*]]
    #[arg(long)]
    master: Option<String>,
    /// Name of the application
    #[arg(long)]
    name: Option<String>,
    /// Sets a configuration key; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    conf: Vec<String>,
    /// Properties file to read instead of conf/spark-defaults.conf
    #[arg(long)]
    properties_file: Option<PathBuf>,
    /// Reads conf/spark-defaults.conf too, below --properties-file
    #[arg(long)]
    load_spark_defaults: bool,
    /// Memory of each executor, such as 512m or 2g
    #[arg(long)]
    executor_memory: Option<String>,
    /// Cores of each executor
    #[arg(long)]
    executor_cores: Option<String>,
    /// Cores of all executors together
    #[arg(long)]
    total_executor_cores: Option<String>,
    /// Memory that the driver may plan with
    #[arg(long)]
    driver_memory: Option<String>,
    /// Where the driver runs; only client so far
    #[arg(long)]
    deploy_mode: Option<String>,
    /// Prints the effective configuration to standard error
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    spark: SparkOptions,
    /// The program, then its own arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "APPLICATION [ARGUMENT]")]
    command: Vec<OsString>,
}

impl SubmitCommand {
    /// Becomes the application. Returns only with an error.
    pub fn run(self, environment: &Environment) -> Result<(), DeployError> {
        for line in self.spark.remarks() {
            say!("firesteel-submit: {line}");
        }
        let conf = self.effective(environment)?;
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(DeployError::NoApplication { path: PathBuf::new() });
        };
        let path = application::check(program.as_ref())?;
        let fd = hand_over(&conf)?;
        let mut command = Command::new(&path);
        command.arg0(program).args(arguments).env(submit::VARIABLE, fd.as_raw_fd().to_string());
        match submit::encode_open(&conf) {
            Some(settings) => command.env(submit::OPEN_VARIABLE, settings),
            // One of an earlier submission must not be taken for this one's.
            None => command.env_remove(submit::OPEN_VARIABLE),
        };
        let source = command.exec();
        Err(DeployError::Exec { path, source })
    }

    /// Arguments, then the properties file; checked, with warnings on standard error.
    fn effective(&self, environment: &Environment) -> Result<Conf, DeployError> {
        let mut conf = self.arguments()?;
        conf.inherit(&settings::properties(self.properties_file.as_deref(), environment)?);
        if self.load_spark_defaults {
            conf.inherit(&settings::defaults(environment)?);
        }
        for warning in conf.check()? {
            say!("firesteel-submit: {warning}");
        }
        let program = self.command.first().map(PathBuf::from).unwrap_or_default();
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for (key, value) in [(keys::APP_NAME.name(), name.as_str()), (keys::MASTER.name(), "local[*]")] {
            if !conf.contains(key) {
                conf.set_from(key, value, Source::Default);
            }
        }
        if self.verbose {
            print(&conf);
        }
        check_master(conf.get_str(keys::MASTER.name()).unwrap_or_default())?;
        if conf.get(&keys::SUBMIT_DEPLOY_MODE)? == "cluster" {
            return Err(DeployError::ClusterMode);
        }
        Ok(conf)
    }

    /// What stands in argv. An option of its own goes before the same key in `--conf`, as in Spark.
    fn arguments(&self) -> Result<Conf, DeployError> {
        let mut conf = Conf::new();
        for assignment in &self.conf {
            conf.set_assignment(assignment, Source::Flag("--conf"))?;
        }
        for (option, key, value) in [
            ("--master", keys::MASTER.name(), &self.master),
            ("--name", keys::APP_NAME.name(), &self.name),
            ("--executor-memory", keys::EXECUTOR_MEMORY.name(), &self.executor_memory),
            ("--executor-cores", keys::EXECUTOR_CORES.name(), &self.executor_cores),
            ("--total-executor-cores", keys::CORES_MAX.name(), &self.total_executor_cores),
            ("--driver-memory", keys::DRIVER_MEMORY.name(), &self.driver_memory),
            ("--deploy-mode", keys::SUBMIT_DEPLOY_MODE.name(), &self.deploy_mode),
        ] {
            if let Some(value) = value {
                conf.set_from(key, value, Source::Flag(option));
            }
        }
        Ok(conf)
    }
}

/// An open descriptor of the configuration that the application inherits.
fn hand_over(conf: &Conf) -> Result<OwnedFd, DeployError> {
    let failed = || DeployError::system("hand the configuration over to the application");
    let fd = firesteel_os::memfd::memfd("firesteel-conf", submit::encode(conf).as_bytes()).map_err(failed())?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| failed()(e.into()))?;
    Ok(fd)
}

/// Refuses what the driver library could not use either, before the application starts.
fn check_master(master: &str) -> Result<(), DeployError> {
    let parsed = master.parse::<Master>();
    parsed.map(|_| ()).map_err(|reason| DeployError::Master { master: master.to_owned(), reason })
}

fn print(conf: &Conf) {
    say!("firesteel-submit: the configuration is");
    for (name, value) in conf.iter() {
        let source = conf.source(name).map(ToString::to_string).unwrap_or_default();
        say!("  {name}={}  ({source})", redact(name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> SubmitCommand {
        SubmitCommand::try_parse_from(["firesteel-submit"].iter().chain(arguments)).unwrap()
    }

    fn environment(dir: &std::path::Path) -> Environment {
        [("SPARK_CONF_DIR".to_owned(), dir.to_str().unwrap().to_owned())].into_iter().collect()
    }

    #[test]
    fn what_follows_the_application_is_its_own() {
        let command = parse(&["--master", "local[2]", "target/app", "--master", "x", "--", "-v"]);
        assert_eq!(command.command, ["target/app", "--master", "x", "--", "-v"]);
        assert_eq!(command.master.as_deref(), Some("local[2]"));
        assert!(!command.verbose);
        assert!(SubmitCommand::try_parse_from(["firesteel-submit", "--no-such-option", "app"]).is_err());
        assert!(SubmitCommand::try_parse_from(["firesteel-submit"]).is_err());
    }

    #[test]
    fn options_go_before_conf_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file =
            "spark.master spark://file:7077\nspark.executor.cores 1\nspark.cores.max 1\nspark.executor.memory 1g\n";
        std::fs::write(dir.path().join("spark-defaults.conf"), file).unwrap();
        let arguments =
            ["--total-executor-cores", "3", "-c", "spark.cores.max=2", "--conf", "spark.executor.cores=2", "d/app"];
        let conf = parse(&arguments).effective(&environment(dir.path())).unwrap();
        assert_eq!(conf.get(&keys::CORES_MAX).unwrap(), Some(3));
        assert_eq!(conf.get(&keys::EXECUTOR_CORES).unwrap(), Some(2));
        assert_eq!(conf.get_str("spark.executor.memory"), Some("1g"));
        assert_eq!(conf.get_str("spark.master"), Some("spark://file:7077"));
        assert_eq!(conf.get_str("spark.app.name"), Some("app"));
        let other = dir.path().join("other.conf");
        std::fs::write(&other, "spark.cores.max 7\n").unwrap();
        let named = ["--properties-file", other.to_str().unwrap(), "app"];
        let conf = parse(&named).effective(&environment(dir.path())).unwrap();
        assert_eq!((conf.get_str("spark.master"), conf.get_str("spark.cores.max")), (Some("local[*]"), Some("7")));
        let both = [&["--load-spark-defaults"], &named[..]].concat();
        let conf = parse(&both).effective(&environment(dir.path())).unwrap();
        assert_eq!((conf.get_str("spark.executor.cores"), conf.get_str("spark.cores.max")), (Some("1"), Some("7")));
    }

    #[test]
    fn bad_input_names_the_option_and_what_to_do() {
        let none = Environment::default();
        for (arguments, part) in [
            (&["--executor-cores", "0", "app"][..], "argument --executor-cores"),
            (&["--executor-memory", "1.5g", "app"], "spark.executor.memory (argument --executor-memory)"),
            (&["--deploy-mode", "cluster", "app"], "client"),
            (&["--deploy-mode", "x", "app"], "write one of client, cluster"),
            (&["--master", "yarn", "app"], "spark://host:port"),
            (&["--master", "spark://", "app"], "spark://"),
            (&["--conf", "spark.x", "app"], "key=value"),
            (
                &["--conf", "spark.conf.strict=true", "--conf", "spark.executor.memroy=1g", "app"],
                "spark.executor.memory?",
            ),
        ] {
            let error = parse(arguments).effective(&none).unwrap_err().to_string();
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn options_of_the_jvm_are_accepted_with_a_remark() {
        let command = parse(&["--class", "org.Main", "--jars", "a.jar", "--num-executors", "3", "app"]);
        let remarks = command.spark.remarks();
        assert_eq!(remarks.len(), 3, "{remarks:?}");
        assert!(remarks[0].starts_with("--class org.Main: "), "{remarks:?}");
    }
}
