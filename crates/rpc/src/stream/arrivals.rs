//! The connections of a listener as tonic takes them: each with its place at the door.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Sleep,
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::door::{Badge, Closing, Door};

/// What a connection may send before it has shown who it is. A handshake takes some 1,500, with all that HTTP/2 adds.
const STRANGER_BYTES: usize = 16 << 10;

/// The same of one that nobody here knows yet: more than a registration has, be it of a worker that is full of executors.
const NEWCOMER_BYTES: usize = 256 << 10;

/// How long nothing is accepted after that has failed: descriptors do not come back faster than they are closed.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts, and sees to it that those who may not stay do not.
pub(super) struct Arrivals {
    listener: TcpListener,
    door: Arc<Door>,
    paused_until: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Arrivals {
    pub fn new(listener: TcpListener, door: Arc<Door>) -> Arrivals {
        Arrivals { listener, door, paused_until: None, alarm: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// Does what is due and sets the alarm for what will be.
    fn look_around(&mut self, cx: &mut Context<'_>) {
        loop {
            self.paused_until.take_if(|until| *until <= Instant::now());
            let next = self.door.look_around(cx.waker()).into_iter().chain(self.paused_until).min();
            let Some(next) = next else { return };
            self.alarm.as_mut().reset(next.into());
            if self.alarm.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }
}

impl Stream for Arrivals {
    type Item = io::Result<Visitor>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            this.look_around(cx);
            if this.paused_until.is_some() {
                return Poll::Pending;
            }
            match ready!(this.listener.poll_accept(cx)) {
                Ok((stream, addr)) => {
                    // Fails for a connection that is gone already, which is seen when it is read.
                    let _ = stream.set_nodelay(true);
                    let (badge, closing) = this.door.enter(addr);
                    return Poll::Ready(Some(Ok(Visitor { stream, badge, closing, sent: 0 })));
                }
                Err(e) if passes(&e) => {}
                Err(e) => {
                    // Out of descriptors, mostly: the backlog keeps others waiting until there are some again.
                    this.door.log.not_accepted(e);
                    this.door.push_one_out();
                    this.paused_until = Some(Instant::now() + PAUSE);
                }
            }
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.door.shut();
    }
}

/// Whether an error of `accept` is about the connection that was to be accepted alone.
fn passes(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

/// A connection that ends when the door says so.
pub(super) struct Visitor {
    stream: TcpStream,
    badge: Badge,
    closing: oneshot::Receiver<Closing>,
    /// Bytes that it has sent while nobody knew it.
    sent: usize,
}

impl Visitor {
    /// An error when the connection has to be closed.
    fn may_stay(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.closing).poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(Closing::Overdue)) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Ready(Ok(Closing::Unknown)) => {
                self.badge.refused("it did not register in time");
                Err(io::ErrorKind::TimedOut.into())
            }
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Connected for Visitor {
    type ConnectInfo = Badge;

    fn connect_info(&self) -> Badge {
        self.badge.clone()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.badge.gone();
    }
}

impl AsyncRead for Visitor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.may_stay(cx)?;
        if this.badge.is_known() {
            this.sent = 0;
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let most = if this.badge.has_passed() { NEWCOMER_BYTES } else { STRANGER_BYTES };
        if this.sent >= most {
            let what = if this.badge.has_passed() { "its registration" } else { "its handshake" };
            return Poll::Ready(Err(io::Error::other(format!("too many bytes before the end of {what}"))));
        }
        let mut bytes = [0; 1024];
        let room = (most - this.sent).min(buf.remaining()).min(bytes.len());
        let mut piece = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        this.sent += piece.filled().len();
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.may_stay(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.may_stay(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
