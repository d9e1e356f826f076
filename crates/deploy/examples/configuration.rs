//! Prints `docs/configuration.md`.

fn main() {
    print!("{}", firesteel_deploy::documentation::configuration());
}
