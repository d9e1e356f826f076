//! One executor's stream at the driver, from its registration to its end.
//!
//! ```text
//!  serve_driver ──▶ attend: RegisterExecutor ─▶ Executors::admit ─▶ RegisteredExecutor, Message::Connected
//!                     └─ StatusUpdates ─▶ Message::Status … silence ─▶ given up … end ─▶ ExecutorDisconnected
//!  event loop ──▶ StreamLink::send ──▶ the stream's queue
//! ```
//!
//! What arrives goes from the task that receives it straight into the event loop's channel.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firesteel_common::ExecutorId;
use firesteel_rpc::{
    Duplex, SendError,
    proto::executor::{
        ExecutorFiles, LaunchTasks, RegisterExecutor, RegisterExecutorFailed, RegisteredExecutor, ToDriver, ToExecutor,
        to_driver, to_executor,
    },
};
use firesteel_scheduler::DriverEvent;
use tokio::time::Instant;

use super::executors::{Executors, Stream};
use crate::driver::{Link, Message};

/// After the handshake an executor registers at once.
const REGISTRATION: Duration = Duration::from_secs(30);

/// What executors are told, and how long they may be silent.
pub(super) struct Terms {
    pub conf: BTreeMap<String, String>,
    pub network_timeout: Duration,
}

/// Serves one executor until its stream ends.
pub(super) async fn attend(executors: Arc<Executors>, terms: Arc<Terms>, mut duplex: Duplex<ToDriver, ToExecutor>) {
    let addr = duplex.peer.addr.clone();
    let register = match tokio::time::timeout(REGISTRATION, duplex.rx.recv()).await {
        Ok(Some(ToDriver { message: Some(to_driver::Message::RegisterExecutor(register)) })) => register,
        Ok(Some(_)) => return refuse(&duplex, &addr, "the first message must be RegisterExecutor".to_owned()),
        Ok(None) => return tracing::debug!(addr, "an executor went before it registered"),
        Err(_) => return refuse(&duplex, &addr, format!("it did not register within {REGISTRATION:?}")),
    };
    let stream = Arc::new(Stream::new(duplex.tx.clone()));
    match executors.admit(&register, &stream).await {
        Ok(executor) => {
            duplex.tx.set_known(true);
            if welcome(&executors, &terms, executor, register, &stream) {
                receive(&executors, &terms, executor, &stream, &mut duplex).await;
            }
            let event = DriverEvent::ExecutorDisconnected { executor };
            executors.tell(Message::Event(event));
            stream.ended.send_replace(true);
        }
        Err(reason) => refuse(&duplex, &addr, reason),
    }
}

fn refuse(duplex: &Duplex<ToDriver, ToExecutor>, addr: &str, reason: String) {
    tracing::warn!(addr, reason, "refused an executor");
    let failed = RegisterExecutorFailed { reason: reason.clone() };
    let message = Some(to_executor::Message::RegisterExecutorFailed(failed));
    if let Err(error) = duplex.tx.send(ToExecutor { message }) {
        tracing::debug!(%error, "it does not learn why");
    }
    duplex.tx.close(&reason);
}

/// Answers the registration, then offers the executor to the event loop; false when one of them is not there any more.
fn welcome(
    executors: &Executors,
    terms: &Terms,
    executor: ExecutorId,
    register: RegisterExecutor,
    stream: &Arc<Stream>,
) -> bool {
    let registered = RegisteredExecutor { conf: terms.conf.clone() };
    let message = Some(to_executor::Message::RegisteredExecutor(registered));
    if let Err(error) = stream.tx.send(ToExecutor { message }) {
        executors.give_up(executor, stream, &format!("the answer to its registration was not sent: {error}"));
        return false;
    }
    let RegisterExecutor { executor_id, host, block_address, shuffle_service_address: service, cores, .. } = register;
    let RegisterExecutor { boot_id, local_dirs, .. } = register;
    let files = ExecutorFiles { executor_id, boot_id, local_dirs };
    let shuffle_service = (!service.is_empty()).then_some(service);
    let link = Box::new(StreamLink(stream.clone()));
    executors.tell(Message::Connected { executor, host, block_address, shuffle_service, files, cores, link })
}

/// Hands on what arrives, until the stream ends or the executor is silent for too long.
async fn receive(
    executors: &Executors,
    terms: &Terms,
    executor: ExecutorId,
    stream: &Stream,
    duplex: &mut Duplex<ToDriver, ToExecutor>,
) {
    let mut heard = Instant::now();
    let silence = tokio::time::sleep_until(heard + terms.network_timeout);
    tokio::pin!(silence);
    loop {
        let received = tokio::select! {
            // What lies here counts, however late it is read.
            biased;
            received = duplex.rx.recv() => received,
            () = &mut silence => {
                let due = heard + terms.network_timeout;
                if Instant::now() < due {
                    silence.as_mut().reset(due);
                    continue;
                }
                let reason = format!("no heartbeat for {:?} (spark.network.timeout)", terms.network_timeout);
                return executors.give_up(executor, stream, &reason);
            }
        };
        let Some(ToDriver { message }) = received else { return };
        heard = Instant::now();
        match message {
            Some(to_driver::Message::StatusUpdates(status)) => {
                if !executors.tell(Message::Status { executor, updates: status.updates }) {
                    return stream.give_up("the driver has ended");
                }
            }
            Some(to_driver::Message::BarrierSync(sync)) => {
                if !executors.tell(Message::Barrier { executor, sync }) {
                    return stream.give_up("the driver has ended");
                }
            }
            Some(to_driver::Message::Heartbeat(_)) => {}
            other => tracing::warn!(executor_id = executor.0, ?other, "an executor sent what makes no sense here"),
        }
    }
}

/// The way to an executor; when the event loop drops it, what is queued is sent and the stream closed.
struct StreamLink(Arc<Stream>);

impl StreamLink {
    fn send_one(&self, message: to_executor::Message) -> Result<(), SendError> {
        self.0.tx.send(ToExecutor { message: Some(message) })
    }

    /// Sends a launch in parts where it is larger than a message may be: the data of stages goes with the first.
    fn launch(&self, launch: LaunchTasks) -> Result<(), SendError> {
        match self.send_one(to_executor::Message::LaunchTasks(launch.clone())) {
            Err(SendError::TooLarge { .. }) if launch.tasks.len() + launch.stages.len() > 1 => {}
            sent => return sent,
        }
        let LaunchTasks { mut stages, mut tasks, ended } = launch;
        let rest = if stages.is_empty() {
            LaunchTasks { tasks: tasks.split_off(tasks.len() / 2), ..LaunchTasks::default() }
        } else if stages.len() > 1 {
            LaunchTasks { stages: stages.split_off(stages.len() / 2), tasks: std::mem::take(&mut tasks), ended: vec![] }
        } else {
            LaunchTasks { tasks: std::mem::take(&mut tasks), ..LaunchTasks::default() }
        };
        self.launch(LaunchTasks { stages, tasks, ended })?;
        self.launch(rest)
    }
}

impl Link for StreamLink {
    fn send(&self, message: to_executor::Message) -> Result<(), String> {
        let sent = match message {
            to_executor::Message::LaunchTasks(launch) => self.launch(launch),
            other => self.send_one(other),
        };
        sent.map_err(|error| {
            let reason = error.to_string();
            // A stream that had closed before did not do so by the driver's wish.
            if !matches!(error, SendError::Closed { .. }) {
                self.0.give_up(&reason);
            }
            reason
        })
    }
}

impl Drop for StreamLink {
    fn drop(&mut self) {
        if !self.0.tx.is_closed() {
            self.0.give_up("the driver has no use for this executor any more");
        }
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
