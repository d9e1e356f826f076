//! Runs an application with the configuration that arguments and files say.

use std::process::ExitCode;

use firesteel_common::conf::Environment;
use firesteel_deploy::{SubmitCommand, finish, parse};

fn main() -> ExitCode {
    let command: SubmitCommand = match parse("firesteel-submit") {
        Ok(command) => command,
        Err(status) => return status,
    };
    finish("firesteel-submit", command.run(&Environment::of_process()))
}
