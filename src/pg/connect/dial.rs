//! Opens the way to a server: a TCP connection that notices a dead peer, or a Unix socket.

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::pg::settings::{Address, Settings, Target};

/// Where a server is, as it was found: cancel requests go to the very same place.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Tcp(IpAddr, u16),
    Socket(PathBuf),
}

impl Place {
    /// Where `target` is, at this one of its addresses.
    pub(super) fn of(target: &Target, ip: Option<IpAddr>) -> Self {
        match (&target.address, ip) {
            (Address::Tcp { .. }, Some(ip)) => Self::Tcp(ip, target.port.value),
            (Address::Tcp { .. } | Address::Socket(_), _) => Self::Socket(target.to_string().into()),
        }
    }
}

/// The way itself.
#[derive(Debug)]
pub(super) enum Way {
    Tcp(TcpStream),
    Socket(UnixStream),
}

/// Opens it. Keepalives and the bound on unacknowledged data are set where they are wanted: without them a vanished peer is
/// noticed after two hours.
pub(super) async fn dial(place: &Place, settings: &Settings) -> io::Result<Way> {
    let (ip, port) = match place {
        Place::Socket(path) => return Ok(Way::Socket(UnixStream::connect(path).await?)),
        Place::Tcp(ip, port) => (*ip, *port),
    };
    let stream = TcpStream::connect((ip, port)).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    if let Some(limit) = settings.tcp_user_timeout.value {
        socket.set_tcp_user_timeout(Some(limit))?;
    }
    if let Some(wanted) = &settings.keepalives {
        let mut keepalive = TcpKeepalive::new().with_retries(wanted.count);
        if let Some(idle) = wanted.idle.value {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = wanted.interval.value {
            keepalive = keepalive.with_interval(interval);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(Way::Tcp(stream))
}

impl AsyncRead for Way {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Socket(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Way {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Socket(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Socket(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
