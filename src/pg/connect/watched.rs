//! A stream that tells its session's [`Pulse`] which requests and answers pass. With TLS it stands above the encryption; the
//! one below it, over which the login began, then counts nothing.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::pulse::Pulse;

/// Messages of the client that the server answers with ReadyForQuery: Query, Sync, FunctionCall.
const REQUESTS: [u8; 3] = *b"QSF";
/// Terminate, which nobody answers.
const TERMINATE: u8 = b'X';
/// ReadyForQuery.
const READY: u8 = b'Z';

/// A stream under observation.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    pulse: Arc<Pulse>,
    /// Set once there is an encrypted layer above this one.
    covered: Arc<AtomicBool>,
    up: Frames,
    down: Frames,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, pulse: Arc<Pulse>) -> Self {
        Self { inner, pulse, covered: Arc::default(), up: Frames::default(), down: Frames::default() }
    }

    /// What a connector needs to put its own layer above.
    pub(super) fn covering<C>(&self, connector: C) -> Covering<C> {
        Covering { connector, pulse: self.pulse.clone(), covers: self.covered.clone() }
    }

    /// The login's messages are not counted: they end with the first ReadyForQuery, and the server says nothing further before
    /// it is asked.
    fn counts(&self) -> bool {
        !self.covered.load(Ordering::Relaxed) && self.pulse.is_armed()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if self.counts() {
            let mut ready = 0;
            self.down.feed(&buf.filled()[before..], |tag| ready += u32::from(tag == READY));
            self.pulse.answered(ready);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        if self.counts() {
            let (mut begun, mut requests) = (false, 0);
            self.up.feed(buf.get(..written).unwrap_or_default(), |tag| {
                begun |= tag != TERMINATE;
                requests += u32::from(REQUESTS.contains(&tag));
            });
            if begun {
                self.pulse.sent(requests);
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// A TLS connector whose stream is under observation as well.
pub(super) struct Covering<C> {
    connector: C,
    pulse: Arc<Pulse>,
    covers: Arc<AtomicBool>,
}

impl<S, C> TlsConnect<S> for Covering<C>
where
    C: TlsConnect<S>,
    C::Future: Send + 'static,
{
    type Stream = Watched<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        self.covers.store(true, Ordering::Relaxed);
        let (handshake, pulse) = (self.connector.connect(stream), self.pulse);
        Box::pin(async move { Ok(Watched::new(handshake.await?, pulse)) })
    }
}

/// Finds the messages in one direction of the protocol: a tag, a length that counts itself, a body.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; 5],
    have: usize,
    body_left: usize,
}

impl Frames {
    /// Calls `met` with the tag of each message that begins here.
    fn feed(&mut self, mut bytes: &[u8], mut met: impl FnMut(u8)) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.body_left > 0 {
                let skip = self.body_left.min(bytes.len());
                self.body_left -= skip;
                bytes = &bytes[skip..];
                continue;
            }
            self.head[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if let [tag, length @ ..] = self.head
                && self.have == self.head.len()
            {
                self.body_left = (u32::from_be_bytes(length) as usize).saturating_sub(length.len());
                self.have = 0;
                met(tag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let stream = [b"P\0\0\0\x08abcd".as_slice(), b"S\0\0\0\x04", b"Q\0\0\0\x06QS"].concat();
        for size in 1..=stream.len() {
            let (mut frames, mut met) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.feed(piece, |tag| met.push(tag));
            }
            assert_eq!(met, b"PSQ", "in pieces of {size}");
        }
    }
}
