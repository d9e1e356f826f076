//! The arguments that master and worker have in common.

use std::{net::TcpListener, path::PathBuf};

use clap::{ArgAction, Args};
use firesteel_common::conf::{Conf, ConfError, Environment, key::Key, keys};
use firesteel_rpc::Transport;

use crate::{DeployError, settings};

/// What any daemon can be told.
#[derive(Args, Debug)]
pub(crate) struct DaemonArguments {
    /// Properties file to read instead of conf/spark-defaults.conf
    #[arg(long)]
    properties_file: Option<PathBuf>,
    /// Port on which the state is shown over HTTP, 0 for a free one [default: SPARK_MASTER_WEBUI_PORT or
    /// SPARK_WORKER_WEBUI_PORT, spark.master.ui.port or spark.worker.ui.port, 8080 or 8081]
    #[arg(long)]
    webui_port: Option<u16>,
    /// Written when the daemon is ready: the master when it listens, the worker when it is registered or has found no master
    #[arg(long, hide = true)]
    pub(crate) ready_file: Option<PathBuf>,
    /// Prints this help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl DaemonArguments {
    /// The configuration of a daemon whose own variable is `options`, as [`settings::daemon`].
    pub(crate) fn conf(&self, options: &'static str, environment: &Environment) -> Result<Conf, ConfError> {
        settings::daemon(options, self.properties_file.as_deref(), environment)
    }

    /// Where the state is shown: on `host`, at the port of the argument, else of `variable`, else of `key`, or at one of the next.
    pub(crate) fn web_listener(
        &self,
        host: &str,
        variable: &'static str,
        key: &'static Key<u16>,
        conf: &Conf,
        environment: &Environment,
        transport: &Transport,
    ) -> Result<TcpListener, DeployError> {
        let port = self.web_port(variable, key, conf, environment)?;
        let retries = conf.get(&keys::PORT_MAX_RETRIES)?;
        let bound = transport.bind_one_of(host, port, retries);
        bound.map_err(|source| DeployError::Web { key: key.name(), source })
    }

    fn web_port(
        &self,
        variable: &'static str,
        key: &'static Key<u16>,
        conf: &Conf,
        environment: &Environment,
    ) -> Result<u16, ConfError> {
        let said = match self.webui_port {
            Some(port) => Some(port),
            None => environment.parsed(variable)?,
        };
        said.map_or_else(|| conf.get(key), Ok)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Command {
        #[command(flatten)]
        daemon: DaemonArguments,
    }

    #[test]
    fn the_web_port_is_that_of_the_argument_else_the_variable_else_the_key() {
        let mut conf = Conf::new();
        let variable = |port: &str| [("SPARK_MASTER_WEBUI_PORT".to_owned(), port.to_owned())].into_iter().collect();
        let port = |arguments: &[&str], conf: &Conf, environment: &Environment| {
            let command = Command::parse_from(["firesteel-master"].iter().chain(arguments));
            command.daemon.web_port("SPARK_MASTER_WEBUI_PORT", &keys::MASTER_UI_PORT, conf, environment)
        };
        let none = Environment::default();
        assert_eq!(port(&[], &conf, &none).unwrap(), 8080);
        conf.set("spark.master.ui.port", 3);
        assert_eq!(port(&[], &conf, &none).unwrap(), 3);
        assert_eq!(port(&[], &conf, &variable("2")).unwrap(), 2);
        assert_eq!(port(&["--webui-port", "1"], &conf, &variable("2")).unwrap(), 1);
        let error = port(&[], &conf, &variable("http")).unwrap_err().to_string();
        assert!(error.contains("SPARK_MASTER_WEBUI_PORT"), "{error}");
    }

    #[test]
    fn a_web_port_that_cannot_be_had_names_the_key() {
        let mut conf = Conf::new();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        conf.set("spark.worker.ui.port", port);
        let command = Command::parse_from(["firesteel-worker"]);
        let (variable, key, none) = ("SPARK_WORKER_WEBUI_PORT", &keys::WORKER_UI_PORT, Environment::default());
        let bind =
            |conf: &Conf| command.daemon.web_listener("127.0.0.1", variable, key, conf, &none, &Transport::default());
        conf.set("spark.port.maxRetries", 0);
        let error = bind(&conf).unwrap_err().to_string();
        assert!(error.contains("spark.worker.ui.port") && error.contains(&port.to_string()), "{error}");
        conf.set("spark.port.maxRetries", 50);
        assert_ne!(bind(&conf).unwrap().local_addr().unwrap().port(), port);
    }
}
