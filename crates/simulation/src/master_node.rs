//! The master in the virtual cluster: the production [`Master`] behind virtual connections.

use firesteel_master::{ConnectionId, MasterEffect, MasterEvent};
use firesteel_rpc::proto::deploy::to_master;

use crate::{
    cluster::Cluster,
    network::{LinkId, Message, Side},
};

impl Cluster {
    pub(crate) fn master_received(&mut self, link: LinkId, message: to_master::Message) {
        self.master_handle(MasterEvent::Received { from: ConnectionId(link.0), message });
    }

    pub(crate) fn master_closed(&mut self, link: LinkId) {
        self.master_handle(MasterEvent::Closed { connection: ConnectionId(link.0) });
    }

    pub(crate) fn master_handle(&mut self, event: MasterEvent) {
        let mut out = Vec::new();
        self.master.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                MasterEffect::Send { to, message } => {
                    self.send(LinkId(to.0), Side::Listener, Message::FromMaster(message));
                }
                MasterEffect::Close { connection } => self.close(LinkId(connection.0), Side::Listener),
            }
        }
    }
}
