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
        .bytes(".firesteel.executor.StatusUpdate.result")
        // They carry an application's key, its token or a process's incarnation, which must not get into a log by a `{:?}`.
        .skip_debug([
            ".firesteel.deploy.ExecutorLaunch",
            ".firesteel.deploy.RegisterApplication",
            ".firesteel.deploy.RegisteredApplication",
            ".firesteel.deploy.RegisterWorker",
        ])
        // Most updates have none, and each is moved often.
        .boxed(".firesteel.executor.StatusUpdate.report")
        .compile_fds(descriptors)?;
    Ok(())
}
