//! The master daemon.

use std::process::ExitCode;

use firesteel_common::conf::Environment;
use firesteel_deploy::{MasterCommand, finish, logging, parse};

fn main() -> ExitCode {
    let command: MasterCommand = match parse("firesteel-master") {
        Ok(command) => command,
        Err(status) => return status,
    };
    let environment = Environment::of_process();
    finish("firesteel-master", logging::init(&environment).and_then(|()| command.run(&environment)))
}
