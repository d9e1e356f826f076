//! Runs an application with the configuration that arguments and files say.

use std::process::ExitCode;

use clap::Parser;
use firesteel_common::conf::Environment;
use firesteel_deploy::{SubmitCommand, finish};

fn main() -> ExitCode {
    finish("firesteel-submit", SubmitCommand::parse().run(&Environment::of_process()))
}
