//! One executor's stream at the driver, from its registration to its end.
//!
//! ```text
//!  serve_driver ──▶ attend: RegisterExecutor ─▶ Reception::admit ─▶ RegisteredExecutor, Message::Connected
//!                     └─ ToDriver ─▶ Message::Heard … silence ─▶ given up … end ─▶ the session is told
//!  event loop ──▶ StreamLink::send ──▶ the stream's queue
//! ```
//!
//! What arrives goes from the task that receives it straight into the event loop's channel.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firesteel_common::ExecutorId;
use firesteel_protocol::{RegisterExecutor, ToDriver, ToExecutor};
use firesteel_rpc::{
    Duplex, MAX_MESSAGE_BYTES, PROTOCOL_VERSION, SendError,
    proto::executor::{self as proto, LaunchTasks, to_driver, to_executor},
};
use prost::Message as _;
use tokio::time::Instant;

use super::reception::{Reception, Stream};
use crate::driver::{Link, Message};

/// After the handshake an executor registers at once.
const REGISTRATION: Duration = Duration::from_secs(30);

/// Bytes that a launch takes in its message beside its own.
const ENVELOPE: usize = 16;

/// What executors are told, and how long they may be silent.
pub(super) struct Terms {
    pub conf: BTreeMap<String, String>,
    pub network_timeout: Duration,
}

/// Serves one executor until its stream ends.
pub(super) async fn attend(
    reception: Arc<Reception>,
    terms: Arc<Terms>,
    mut duplex: Duplex<proto::ToDriver, proto::ToExecutor>,
) {
    let addr = duplex.peer.addr.clone();
    let register = match tokio::time::timeout(REGISTRATION, duplex.rx.recv()).await {
        Ok(Some(proto::ToDriver { message: Some(to_driver::Message::RegisterExecutor(register)) })) => register,
        Ok(Some(_)) => return refuse(&duplex, &addr, "the first message must be RegisterExecutor".to_owned()),
        Ok(None) => return tracing::debug!(addr, "an executor went before it registered"),
        Err(_) => return refuse(&duplex, &addr, format!("it did not register within {REGISTRATION:?}")),
    };
    let register = match read(register) {
        Ok(register) => Box::new(register),
        Err(reason) => return refuse(&duplex, &addr, reason),
    };
    match reception.admit(&register, &duplex.tx).await {
        Ok(stream) => {
            duplex.tx.set_known(true);
            let executor = register.executor;
            if welcome(&reception, &terms, register, &stream) {
                receive(&reception, &terms, executor, &stream, &mut duplex).await;
            }
            stream.ended();
        }
        Err(reason) => refuse(&duplex, &addr, reason),
    }
}

/// The registration that a message is; the error says why it is none.
fn read(register: proto::RegisterExecutor) -> Result<RegisterExecutor, String> {
    if register.protocol_version != PROTOCOL_VERSION {
        return Err(format!(
            "the executor speaks protocol version {}, the driver version {PROTOCOL_VERSION}: install the same version of \
             Firesteel everywhere",
            register.protocol_version
        ));
    }
    RegisterExecutor::try_from(register).map_err(|bad| bad.to_string())
}

fn refuse(duplex: &Duplex<proto::ToDriver, proto::ToExecutor>, addr: &str, reason: String) {
    tracing::warn!(addr, reason, "refused an executor");
    if let Err(error) = duplex.tx.send(ToExecutor::RegisterExecutorFailed(reason.clone()).into()) {
        tracing::debug!(%error, "it does not learn why");
    }
    duplex.tx.close(&reason);
}

/// Answers the registration, then offers the executor to the event loop; false when one of them is not there any more.
fn welcome(reception: &Reception, terms: &Terms, register: Box<RegisterExecutor>, stream: &Arc<Stream>) -> bool {
    if let Err(error) = stream.tx.send(ToExecutor::RegisteredExecutor(terms.conf.clone()).into()) {
        let reason = format!("the answer to its registration was not sent: {error}");
        stream.give_up(&reason);
        return false;
    }
    reception.tell(Message::Connected { register, link: Box::new(StreamLink(stream.clone())) })
}

/// Hands on what arrives, until the stream ends or the executor is silent for too long.
async fn receive(
    reception: &Reception,
    terms: &Terms,
    executor: ExecutorId,
    stream: &Stream,
    duplex: &mut Duplex<proto::ToDriver, proto::ToExecutor>,
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
                return stream.give_up(&reason);
            }
        };
        let Some(message) = received else { return };
        heard = Instant::now();
        match ToDriver::try_from(message) {
            Ok(ToDriver::Heartbeat) => {}
            Ok(ToDriver::RegisterExecutor(_)) => {
                tracing::warn!(executor_id = executor.0, "an executor has registered a second time");
            }
            Ok(message) => {
                if !reception.tell(Message::Heard { executor, message }) {
                    return stream.close("the driver has ended");
                }
            }
            Err(bad) => return stream.give_up(&bad.to_string()),
        }
    }
}

/// The way to an executor; when the event loop drops it, what is queued is sent and the stream closed.
struct StreamLink(Arc<Stream>);

impl StreamLink {
    /// Sends a launch in parts where it is larger than a message may be: the data of stages goes with the first.
    fn launch(&self, launch: LaunchTasks) -> Result<(), SendError> {
        let divisible = launch.tasks.len() + launch.stages.len() > 1;
        if !divisible || launch.encoded_len() + ENVELOPE <= MAX_MESSAGE_BYTES {
            let message = Some(to_executor::Message::LaunchTasks(launch));
            return self.0.tx.send(proto::ToExecutor { message });
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
    fn send(&self, message: ToExecutor) -> Result<(), String> {
        let message = proto::ToExecutor::from(message);
        let sent = match message.message {
            Some(to_executor::Message::LaunchTasks(launch)) => self.launch(launch),
            message => self.0.tx.send(proto::ToExecutor { message }),
        };
        sent.map_err(|error| {
            let reason = error.to_string();
            // A stream that had closed before did not do so by the driver's wish.
            if !matches!(error, SendError::Closed { .. }) {
                self.0.close(&reason);
            }
            reason
        })
    }
}

impl Drop for StreamLink {
    fn drop(&mut self) {
        if !self.0.tx.is_closed() {
            self.0.close("the driver has no use for this executor any more");
        }
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
