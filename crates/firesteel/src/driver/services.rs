//! The shuffle services that hold map outputs of this application: told, off the event loop, which shuffles are no longer
//! used. Executors remove their own files when they are told; a service also those of executors that are gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    thread,
};

use firesteel_common::ShuffleId;

use super::RemoveShuffle;

/// The services of the workers that ran executors, and the thread that talks to them, started with the first message.
pub struct ShuffleServices {
    remove: RemoveShuffle,
    addresses: BTreeSet<Arc<str>>,
    requests: Option<mpsc::Sender<(Arc<str>, ShuffleId)>>,
}

impl ShuffleServices {
    pub fn new(remove: RemoveShuffle) -> Self {
        ShuffleServices { remove, addresses: BTreeSet::new(), requests: None }
    }

    /// An executor's outputs are served at `address`.
    pub fn add(&mut self, address: &str) {
        self.addresses.insert(address.into());
    }

    /// Nobody reads this shuffle any more.
    pub fn remove(&mut self, shuffle: ShuffleId) {
        if self.addresses.is_empty() {
            return;
        }
        if self.requests.is_none() {
            match self.start() {
                Ok(requests) => self.requests = Some(requests),
                Err(error) => {
                    return tracing::warn!(%error, %shuffle, "no thread to have shuffle services remove files");
                }
            }
        }
        for address in &self.addresses {
            if let Some(requests) = &self.requests
                && requests.send((address.clone(), shuffle)).is_err()
            {
                tracing::warn!(%shuffle, "the thread that talks to shuffle services has ended; its files stay a while");
            }
        }
    }

    /// The thread ends with this value, after what it is doing.
    fn start(&self) -> std::io::Result<mpsc::Sender<(Arc<str>, ShuffleId)>> {
        let (sender, receiver) = mpsc::channel::<(Arc<str>, ShuffleId)>();
        let remove = self.remove.clone();
        let work = move || {
            for (address, shuffle) in receiver {
                if let Err(error) = remove(&address, shuffle) {
                    // A worker that is gone has cleaned up; the files of any other go with the application.
                    tracing::debug!(%address, %shuffle, error, "a shuffle service has not removed a shuffle");
                }
            }
        };
        thread::Builder::new().name("firesteel-services".into()).spawn(work)?;
        Ok(sender)
    }
}
