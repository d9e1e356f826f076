//! Who may say what to a master. Called by [`Master::handle`](crate::Master::handle) for every message.

use firesteel_common::Tick;
use firesteel_rpc::{
    Role,
    proto::deploy::{
        RegisterApplicationFailed, RegisterWorkerFailed, from_master::Message as Answer, to_master::Message,
    },
};
use tracing::warn;

use crate::{
    event::{ConnectionId, MasterEffect},
    machine::Master,
};

/// The role that this message is for; `None`: everybody.
pub(crate) fn role_of(message: &Message) -> Option<Role> {
    match message {
        Message::Handshake(_) => None,
        Message::RegisterWorker(_)
        | Message::Heartbeat(_)
        | Message::ExecutorStateChanged(_)
        | Message::WorkerLatestState(_)
        | Message::WorkerDecommissioning(_) => Some(Role::Worker),
        Message::RegisterApplication(_)
        | Message::UnregisterApplication(_)
        | Message::KillExecutors(_)
        | Message::ApplicationHeartbeat(_)
        | Message::RequestExecutors(_) => Some(Role::Driver),
    }
}

impl Master {
    /// A peer has said what only others may: its stream ends.
    pub(crate) fn out_of_role(
        &mut self,
        now: Tick,
        from: ConnectionId,
        role: Role,
        message: &Message,
        out: &mut Vec<MasterEffect>,
    ) {
        let only = role_of(message).map_or("nobody", Role::as_str);
        let reason = format!("this stream is a {role}'s: what it sent only a {only} may say");
        warn!(%from, %role, reason, "closing a stream");
        let answer = match message {
            Message::RegisterWorker(_) => {
                Some(Answer::RegisterWorkerFailed(RegisterWorkerFailed { reason, held: false }))
            }
            Message::RegisterApplication(_) => {
                Some(Answer::RegisterApplicationFailed(RegisterApplicationFailed { reason }))
            }
            _ => None,
        };
        out.extend(answer.map(|message| MasterEffect::Send { to: from, message }));
        out.push(MasterEffect::Close { connection: from });
        self.closed(now, from);
    }
}
