//! Who is at the web port: so many at once, and each for so long.

use std::{collections::BTreeMap, future::Future, net::IpAddr, time::Instant};

use firesteel_common::Tick;
use firesteel_rpc::{StrangerLimits, Strangers};
use tokio::task::{AbortHandle, JoinSet};

/// The connections that are served, each by a task of its own. All end when this is dropped.
pub(crate) struct Guests {
    /// They stay strangers to the end: nobody here shows who it is.
    strangers: Strangers,
    began: Instant,
    arrived: u64,
    open: BTreeMap<u64, AbortHandle>,
    tasks: JoinSet<u64>,
}

impl Guests {
    pub(crate) fn new(limits: StrangerLimits) -> Guests {
        let (strangers, began) = (Strangers::new(limits), Instant::now());
        Guests { strangers, began, arrived: 0, open: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Somebody has come, who is served by this future; another may have to go for it.
    pub(crate) fn serve(&mut self, from: IpAddr, connection: impl Future<Output = ()> + Send + 'static) {
        let number = self.arrived;
        self.arrived += 1;
        if let Some(goes) = self.strangers.arrived(self.now(), number, from) {
            self.close(goes);
        }
        let task = self.tasks.spawn(async move {
            connection.await;
            number
        });
        self.open.insert(number, task);
    }

    /// Waits until one has ended; never when there is none. Dropped and called again at will.
    pub(crate) async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(number)) => {
                self.strangers.left(number);
                self.open.remove(&number);
            }
            // One that was closed. Of one that panicked the place is free when its time is over.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// When the first one's time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.strangers.next_deadline().map(|tick| self.began + tick.since(Tick::ZERO))
    }

    /// Closes those whose time is over.
    pub(crate) fn close_overdue(&mut self) {
        while let Some(number) = self.strangers.overdue(self.now()) {
            self.close(number);
        }
    }

    /// Makes room for another descriptor, if a guest has one.
    pub(crate) fn push_one_out(&mut self) {
        if let Some(number) = self.strangers.oldest() {
            self.close(number);
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(task) = self.open.remove(&number) {
            task.abort();
        }
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.began.elapsed()
    }
}
