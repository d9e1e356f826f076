//! `firesteel-master`: from arguments, environment and files to `master::run`.

use clap::Parser;
use firesteel_common::conf::{Environment, keys};
use firesteel_master::{MasterConfig, MasterListeners, MasterRules};
use firesteel_rpc::{Transport, bind::host_port};

use crate::{
    DeployError,
    arguments::DaemonArguments,
    daemon::{self, ReadyFile},
};

/// Spark's port of a master.
const PORT: u16 = 7077;

/// Deals out the cores and memory of workers to applications.
#[derive(Parser, Debug)]
#[command(name = "firesteel-master", version, disable_help_flag = true, args_override_self = true)]
pub struct MasterCommand {
    /// Host name or address to listen on [default: SPARK_MASTER_HOST, SPARK_LOCAL_IP, 127.0.0.1]
    #[arg(short = 'h', long, short_alias = 'i', alias = "ip")]
    host: Option<String>,
    /// Port to listen on [default: SPARK_MASTER_PORT, 7077]
    #[arg(short, long)]
    port: Option<u16>,
    #[command(flatten)]
    daemon: DaemonArguments,
}

impl MasterCommand {
    /// Runs the master until SIGTERM or SIGINT.
    pub fn run(self, environment: &Environment) -> Result<(), DeployError> {
        let conf = self.daemon.conf("SPARK_MASTER_OPTS", environment)?;
        let host = self.host.as_deref();
        let host = host.or_else(|| environment.get("SPARK_MASTER_HOST")).or_else(|| environment.get("SPARK_LOCAL_IP"));
        let host = host.unwrap_or("127.0.0.1");
        let port = match self.port {
            Some(port) => port,
            None => environment.parsed("SPARK_MASTER_PORT")?.unwrap_or(PORT),
        };
        let transport = Transport::from_conf(&conf)?;
        let listener = transport.bind(host, port)?;
        let (variable, key) = ("SPARK_MASTER_WEBUI_PORT", &keys::MASTER_UI_PORT);
        let web = self.daemon.web_listener(host, variable, key, &conf, environment, &transport)?;
        let address = listener.local_addr().map_err(DeployError::system("ask for the address that the master has"))?;
        // What is told to others must be reachable from their host.
        let name = match host {
            "0.0.0.0" | "::" | "[::]" => {
                firesteel_os::host::host_name().map_err(DeployError::system("ask for this host's name"))?
            }
            name => name.to_owned(),
        };
        let url = format!("spark://{}", host_port(&name, address.port()));
        let config = MasterConfig { rules: MasterRules::from_conf(&conf, url.clone())?, transport };
        let listeners = MasterListeners { rpc: listener, web: Some(web) };
        let ready = ReadyFile::new(self.daemon.ready_file);
        daemon::run(|shutdown| async move {
            ready.write(&url)?;
            Ok(firesteel_master::run(listeners, config, daemon::asked(shutdown)).await?)
        })
    }
}
