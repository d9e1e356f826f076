//! The master daemon.

use std::process::ExitCode;

use clap::Parser;
use firesteel_common::conf::Environment;
use firesteel_deploy::{MasterCommand, finish, logging};

fn main() -> ExitCode {
    let command = MasterCommand::parse();
    let environment = Environment::of_process();
    finish("firesteel-master", logging::init(&environment).and_then(|()| command.run(&environment)))
}
