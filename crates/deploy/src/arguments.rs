//! The arguments that master and worker have in common.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use firesteel_common::conf::{Conf, ConfError, Environment};

use crate::settings;

/// What any daemon can be told.
#[derive(Args, Debug)]
pub(crate) struct DaemonArguments {
    /// Properties file to read instead of conf/spark-defaults.conf
    #[arg(long)]
    properties_file: Option<PathBuf>,
    /// Accepted for Spark's sake: there is no web page yet
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
    /// The configuration of a daemon whose own variable is `options`, as [`settings::daemon`]. Says what has no effect.
    pub(crate) fn conf(&self, options: &'static str, environment: &Environment) -> Result<Conf, ConfError> {
        let conf = settings::daemon(options, self.properties_file.as_deref(), environment)?;
        if self.webui_port.is_some() {
            tracing::warn!("--webui-port has no effect: there is no web page yet");
        }
        Ok(conf)
    }
}
