//! Fetches results that were too large for a message, off the event loop.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use firesteel_common::TaskId;
use firesteel_scheduler::DriverEvent;

use super::{FetchBlock, Message};

/// Fetches at the same time, each on a thread that ends with the driver.
const THREADS: usize = 2;

struct Request {
    address: Arc<str>,
    block_id: String,
    task: TaskId,
}

/// Hands requests to a few threads, which are started with the first one.
pub struct ResultFetcher {
    fetch: FetchBlock,
    messages: mpsc::Sender<Message>,
    requests: Option<mpsc::Sender<Request>>,
}

impl ResultFetcher {
    pub fn new(fetch: FetchBlock, messages: mpsc::Sender<Message>) -> Self {
        ResultFetcher { fetch, messages, requests: None }
    }

    /// Fetches the block of `task`; the answer comes as [`DriverEvent::ResultFetched`].
    pub fn request(&mut self, address: Arc<str>, block_id: String, task: TaskId) {
        let refused = match self.requests() {
            Ok(requests) => match requests.send(Request { address, block_id, task }) {
                Ok(()) => return,
                Err(_) => "the threads that fetch results have ended".to_owned(),
            },
            Err(e) => format!("no thread to fetch the result with: {e}"),
        };
        let event = DriverEvent::ResultFetched { task, result: Err(refused) };
        // The loop that would read this is the caller; it ends only by itself.
        let _ = self.messages.send(Message::Event(event));
    }

    fn requests(&mut self) -> std::io::Result<&mpsc::Sender<Request>> {
        if self.requests.is_none() {
            let (sender, receiver) = mpsc::channel::<Request>();
            let receiver = Arc::new(Mutex::new(receiver));
            for _ in 0..THREADS {
                let (receiver, fetch, messages) = (receiver.clone(), self.fetch.clone(), self.messages.clone());
                let work = move || {
                    loop {
                        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(Request { address, block_id, task }) = next else { return };
                        let event = DriverEvent::ResultFetched { task, result: fetch(&address, &block_id) };
                        if messages.send(Message::Event(event)).is_err() {
                            return;
                        }
                    }
                };
                thread::Builder::new().name("firesteel-results".into()).spawn(work)?;
            }
            self.requests = Some(sender);
        }
        self.requests.as_ref().ok_or_else(|| std::io::Error::other("no requests"))
    }
}
