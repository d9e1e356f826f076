//! The worker daemon.

use std::process::ExitCode;

use clap::Parser;
use firesteel_common::conf::Environment;
use firesteel_deploy::{WorkerCommand, finish, logging};

fn main() -> ExitCode {
    let command = WorkerCommand::parse();
    let environment = Environment::of_process();
    finish("firesteel-worker", logging::init(&environment).and_then(|()| command.run(&environment)))
}
