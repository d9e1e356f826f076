//! What a worker starts: gets the application's executable and becomes it.

use std::process::ExitCode;

use firesteel_closure::entry::MARKER;

fn main() -> ExitCode {
    let error = firesteel_executor::bootstrap::run(std::env::var(MARKER).ok().as_deref());
    firesteel_common::say!("firesteel-executor: {error}");
    ExitCode::FAILURE
}
