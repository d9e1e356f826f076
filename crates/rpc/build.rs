//! Generates the message types from `proto/`. The services themselves need no generated code: `stream` runs every
//! service through the same generic client and server.

use std::path::Path;

const PROTOS: [&str; 3] = ["auth.proto", "deploy.proto", "executor.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    for file in PROTOS {
        println!("cargo:rerun-if-changed={}", dir.join(file).display());
    }
    let descriptors = protox::compile(PROTOS, [&dir])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .btree_map(".")
        // Large fields are slices of the received buffer, not copies.
        .bytes(".firesteel.executor.Payload.inline")
        .bytes(".firesteel.executor.StageData.lineage")
        // Most updates have none, and each is moved often.
        .boxed(".firesteel.executor.StatusUpdate.report")
        // It carries the application's key, which must not get into a log by a `{:?}`.
        .skip_debug([".firesteel.deploy.ExecutorLaunch"])
        .compile_fds(descriptors)?;
    Ok(())
}
