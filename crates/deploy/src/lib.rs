//! What the programs have in common and do before they call the library of their part: arguments, configuration,
//! logging, signals. Each program in `src/bin` is a few lines over one type here.
//!
//! ```text
//!  firesteel-master    MasterCommand ─▶ master::run          firesteel-submit    SubmitCommand ─▶ exec of the application
//!  firesteel-worker    WorkerCommand ─▶ worker::run          firesteel-executor  executor::bootstrap ─▶ exec of it too
//! ```
//!
//! * [`settings`]: which configuration a daemon works by.  [`daemon`]: ready file, signals, runtime.
//! * [`application`]: whether a file can be run as an application, asked by submit.
//! * [`documentation`]: `docs/configuration.md`, made from the key table.

pub mod application;
mod arguments;
pub mod daemon;
pub mod documentation;
mod error;
pub mod logging;
mod master;
pub mod settings;
mod submit;
mod submit_options;
mod worker;

use std::process::ExitCode;

use clap::Parser;
pub use error::DeployError;
use firesteel_common::say;
pub use master::MasterCommand;
pub use submit::SubmitCommand;
pub use worker::WorkerCommand;

/// The command that the arguments are, or the exit status after what clap has to say about them. Where help or version
/// cannot be written, their reader has not got them: that is no success.
pub fn parse<C: Parser>(program: &str) -> Result<C, ExitCode> {
    C::try_parse().map_err(|told| {
        let written = told.print().and_then(|()| std::io::Write::flush(&mut std::io::stdout()));
        if let Err(error) = &written
            && !told.use_stderr()
        {
            say!("{program}: cannot write to standard output: {error}");
            return ExitCode::FAILURE;
        }
        ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(u8::MAX))
    })
}

/// The exit status of a program, and its error on standard error.
pub fn finish(program: &str, result: Result<(), DeployError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
