//! The settings that the driver's schedulers work by.

use std::time::Duration;

use crate::AllocationConfig;

/// Settings of [`crate::DriverCore`]; the defaults are Spark's.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// `spark.task.maxFailures`: a job fails when one of its tasks failed this often; at least 1.
    pub max_task_failures: u32,
    /// `spark.stage.maxConsecutiveAttempts`: a job fails when a stage could not fetch in this many attempts in a row.
    pub max_stage_attempts: u32,
    /// `spark.locality.wait.process`: how long a slot stays free for an executor that holds the cached partition.
    pub locality_wait_process: Duration,
    /// `spark.locality.wait.node`: how long it then stays free for a preferred host.
    pub locality_wait_node: Duration,
    /// `spark.driver.maxResultSize` in bytes; 0 is no limit.
    pub max_result_size: u64,
    /// `spark.files.fetchFailure.unRegisterOutputOnHost`: a failed fetch costs all outputs that the same shuffle service
    /// serves, not only those of the executor that wrote what was asked for.
    pub unregister_output_on_host: bool,
    /// How long fetch failures are gathered before the lost outputs are computed again.
    pub resubmit_delay: Duration,
    /// How long the reason for the loss of a disconnected executor is awaited.
    pub loss_reason_wait: Duration,
    /// `spark.starvation.timeout`: tasks that wait this long without any launch cause a warning.
    pub starvation_timeout: Duration,
    /// Dynamic allocation, where it is on.
    pub allocation: Option<AllocationConfig>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        SchedulerConfig {
            max_task_failures: 4,
            max_stage_attempts: 4,
            locality_wait_process: Duration::from_secs(3),
            locality_wait_node: Duration::from_secs(3),
            max_result_size: 1 << 30,
            unregister_output_on_host: false,
            resubmit_delay: Duration::from_millis(100),
            loss_reason_wait: Duration::from_secs(2),
            starvation_timeout: Duration::from_secs(15),
            allocation: None,
        }
    }
}
