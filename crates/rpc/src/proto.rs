//! The message types, as `build.rs` generates them from `proto/*.proto`. Their documentation is the comments there.

/// The handshake (`auth.proto`).
#[allow(missing_docs, clippy::all)]
pub mod auth {
    tonic::include_proto!("firesteel.auth");
}

/// Workers, drivers and submitting clients with the master (`deploy.proto`).
#[allow(missing_docs, clippy::all)]
pub mod deploy {
    tonic::include_proto!("firesteel.deploy");

    impl ExecutorState {
        /// Whether the executor's process is gone, or never was.
        pub fn is_finished(self) -> bool {
            matches!(self, Self::Killed | Self::Failed | Self::Lost | Self::Exited)
        }
    }

    /// Leaves out the token and the incarnation.
    impl std::fmt::Debug for RegisterApplication {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("RegisterApplication")
                .field("protocol_version", &self.protocol_version)
                .field("application", &self.application)
                .field("app_id", &self.app_id)
                .field("next_executor_id", &self.next_executor_id)
                .field("executor_limit", &self.executor_limit)
                .finish_non_exhaustive()
        }
    }

    /// Leaves out the token.
    impl std::fmt::Debug for RegisteredApplication {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("RegisteredApplication")
                .field("app_id", &self.app_id)
                .field("master_url", &self.master_url)
                .finish_non_exhaustive()
        }
    }

    /// Leaves out the incarnation.
    impl std::fmt::Debug for RegisterWorker {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("RegisterWorker")
                .field("protocol_version", &self.protocol_version)
                .field("worker_id", &self.worker_id)
                .field("host", &self.host)
                .field("port", &self.port)
                .field("cores", &self.cores)
                .field("memory_mb", &self.memory_mb)
                .field("executors", &self.executors)
                .field("decommissioning", &self.decommissioning)
                .finish_non_exhaustive()
        }
    }

    /// Leaves out the key.
    impl std::fmt::Debug for ExecutorLaunch {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("ExecutorLaunch")
                .field("app_id", &self.app_id)
                .field("executor_id", &self.executor_id)
                .field("worker_id", &self.worker_id)
                .field("driver_address", &self.driver_address)
                .finish_non_exhaustive()
        }
    }
}

/// Executors with their driver (`executor.proto`).
#[allow(missing_docs, clippy::all)]
pub mod executor {
    tonic::include_proto!("firesteel.executor");
}
