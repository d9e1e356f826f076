//! The outgoing half of a connection, as the stream that tonic polls.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;

use super::link::{Link, Phase};

/// A message in the queue, with its encoded size.
pub(super) struct Queued<M> {
    pub message: M,
    pub bytes: usize,
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends when the link is closed, or when it drains and nothing is queued any more, or when no sender is left.
pub(super) struct Outbound<M> {
    queue: mpsc::Receiver<Queued<M>>,
    link: Arc<Link>,
    draining: Option<Signal>,
    closed: Option<Signal>,
}

impl<M> Outbound<M> {
    pub fn new(queue: mpsc::Receiver<Queued<M>>, link: Arc<Link>) -> Self {
        let signal = |phase: Phase| -> Option<Signal> {
            let link = link.clone();
            Some(Box::pin(async move { link.reached(phase).await }))
        };
        let (draining, closed) = (signal(Phase::Draining), signal(Phase::Closed));
        Self { queue, link, draining, closed }
    }
}

/// Polls a signal; true once it has come.
fn has_come(signal: &mut Option<Signal>, cx: &mut Context<'_>) -> bool {
    if let Some(pending) = signal
        && pending.as_mut().poll(cx).is_pending()
    {
        return false;
    }
    *signal = None;
    true
}

impl<M> Stream for Outbound<M> {
    type Item = M;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        let this = &mut *self;
        if has_come(&mut this.closed, cx) {
            return Poll::Ready(None);
        }
        if has_come(&mut this.draining, cx) {
            this.queue.close();
        }
        this.queue.poll_recv(cx).map(|queued| match queued {
            Some(Queued { message, bytes }) => {
                this.link.release(bytes);
                Some(message)
            }
            None => {
                this.link.end(Phase::Draining, "this side has ended the connection");
                None
            }
        })
    }
}

impl<M> Drop for Outbound<M> {
    fn drop(&mut self) {
        // The transport has given the stream up, be it that the peer is gone.
        self.link.end(Phase::Draining, "the connection has ended");
    }
}
