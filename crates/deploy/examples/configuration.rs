//! Prints `docs/configuration.md`.

#![allow(clippy::print_stdout, reason = "a program of its own")]

fn main() {
    print!("{}", firesteel_deploy::documentation::configuration());
}
