//! What distinguishes one service from another.

use prost::Message;

use crate::{
    Role,
    checked::Checked,
    proto::{auth::Handshake, deploy, executor},
};

/// A message of a stream: a oneof, of which the handshake is field 1.
pub trait WireMessage: Message + Checked + Default + 'static {
    /// The message that carries a step of the handshake.
    fn from_handshake(handshake: Handshake) -> Self;
}

/// A service with one method, a bidirectional stream.
pub trait Service: Send + Sync + 'static {
    /// Full name of the service in its proto file.
    const NAME: &'static str;
    /// Path of its method.
    const PATH: &'static str;
    /// Who accepts.
    const SERVER: Role;
    /// Who may open.
    const CLIENTS: &'static [Role];
    /// What the opener sends.
    type ToServer: WireMessage;
    /// What the accepter sends.
    type ToClient: WireMessage;
}

macro_rules! wire_message {
    ($($message:ty => $oneof:path),* $(,)?) => {
        $(impl WireMessage for $message {
            fn from_handshake(handshake: Handshake) -> Self {
                Self { message: Some($oneof(handshake)) }
            }
        })*
    };
}

wire_message! {
    deploy::ToMaster => deploy::to_master::Message::Handshake,
    deploy::FromMaster => deploy::from_master::Message::Handshake,
    executor::ToDriver => executor::to_driver::Message::Handshake,
    executor::ToExecutor => executor::to_executor::Message::Handshake,
}

/// `deploy.proto`: workers, drivers and clients with the master.
pub struct Deploy;

impl Service for Deploy {
    const NAME: &'static str = "firesteel.deploy.Deploy";
    const PATH: &'static str = "/firesteel.deploy.Deploy/Connect";
    const SERVER: Role = Role::Master;
    const CLIENTS: &'static [Role] = &[Role::Worker, Role::Driver, Role::Client];
    type ToServer = deploy::ToMaster;
    type ToClient = deploy::FromMaster;
}

/// `executor.proto`: executors with their driver.
pub struct Driver;

impl Service for Driver {
    const NAME: &'static str = "firesteel.executor.Driver";
    const PATH: &'static str = "/firesteel.executor.Driver/Connect";
    const SERVER: Role = Role::Driver;
    const CLIENTS: &'static [Role] = &[Role::Executor];
    type ToServer = executor::ToDriver;
    type ToClient = executor::ToExecutor;
}
