//! Job submission: a job is checked, waits for slots or not, and is cut into stages, which start.

use std::sync::Arc;

use firesteel_common::{JobId, Tick};

use super::{
    handler::DagHandler,
    job::{Job, WantedJob},
};
use crate::{effect::DriverEffect, error::JobError, graph::JobGraph, properties::JobProperties};

impl DagHandler<'_> {
    pub(crate) fn submit_job(&mut self, now: Tick, job: JobId, wanted: WantedJob, out: &mut Vec<DriverEffect>) {
        if let Err(error) = self.check_submission(job, &wanted.graph, &wanted.partitions, &wanted.properties) {
            out.push(DriverEffect::JobFailed { job, error });
            return;
        }
        if wanted.partitions.is_empty() {
            self.news.empty_job(job, wanted.site, &wanted.properties.local);
            out.push(DriverEffect::JobSucceeded { job });
            return;
        }
        self.plan_job(now, job, wanted, 0, out);
    }

    /// Cuts a job into stages and starts it, unless it has to wait for slots.
    pub(super) fn plan_job(
        &mut self,
        now: Tick,
        job: JobId,
        wanted: WantedJob,
        failed_checks: u32,
        out: &mut Vec<DriverEffect>,
    ) {
        let admitted = self.admit_barrier(now, job, wanted, failed_checks, out);
        let Some(WantedJob { site, graph, partitions, properties, repeatable }) = admitted else { return };
        let graph = Arc::new(graph);
        self.replication.note(&graph);
        let (result_stage, stages) = self.dag.stages.cut(job, site, &graph, self.outputs, out);
        let planned = Job::new(site, partitions, properties, repeatable, result_stage, stages);
        self.dag.jobs.insert(job, planned);
        self.telling().job_started(job);
        self.submit_stages(now, vec![result_stage], out);
    }

    fn check_submission(
        &self,
        job: JobId,
        graph: &JobGraph,
        partitions: &[u32],
        properties: &JobProperties,
    ) -> Result<(), JobError> {
        if let Some(error) = &self.dag.closed {
            return Err(error.clone());
        }
        if let Some(group) = properties.group.as_ref().filter(|g| self.dag.cancelled_groups.contains(g)) {
            return Err(JobError::Cancelled { reason: format!("its group {group} was cancelled, with all to come") });
        }
        let invalid = |message| Err(JobError::InvalidGraph { message });
        if self.dag.jobs.contains_key(&job) || self.dag.held.contains_key(&job) {
            return invalid(format!("{job} runs already"));
        }
        if let Err(message) = graph.validate() {
            return invalid(message);
        }
        let root = &graph.nodes[graph.root];
        match partitions.iter().find(|p| **p >= root.partitions) {
            Some(p) => invalid(format!("partition {p} was asked of {}, which has {}", root.rdd, root.partitions)),
            None => Ok(()),
        }
    }
}
