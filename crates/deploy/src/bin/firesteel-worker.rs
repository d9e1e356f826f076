//! The worker daemon.

use std::process::ExitCode;

use firesteel_common::conf::Environment;
use firesteel_deploy::{WorkerCommand, finish, logging, parse};

fn main() -> ExitCode {
    let command: WorkerCommand = match parse("firesteel-worker") {
        Ok(command) => command,
        Err(status) => return status,
    };
    let environment = Environment::of_process();
    finish("firesteel-worker", logging::init(&environment).and_then(|()| command.run(&environment)))
}
