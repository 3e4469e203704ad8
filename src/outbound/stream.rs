//! A connection that stops reading when an answer gets absurd.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::error::Flood;

/// Bytes read since the last write, after TLS, that end the connection. Room for the largest head, the body limit in
/// chunks of any sensible size, and a few interim responses; a flood of those is not bounded by anything else.
const READ_LIMIT: usize = 256 * 1024;

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Stream {
    transport: Transport,
    read: usize,
}

impl Stream {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, read: 0 }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.transport {
            Transport::Plain(it) => Pin::new(it).poll_read(cx, buf),
            Transport::Tls(it) => Pin::new(it).poll_read(cx, buf),
        })?;
        this.read = this.read.saturating_add(buf.filled().len() - before);
        Poll::Ready(if this.read > READ_LIMIT { Err(io::Error::other(Flood)) } else { Ok(()) })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.read = 0;
        match &mut this.transport {
            Transport::Plain(it) => Pin::new(it).poll_write(cx, buf),
            Transport::Tls(it) => Pin::new(it).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.read = 0;
        match &mut this.transport {
            Transport::Plain(it) => Pin::new(it).poll_write_vectored(cx, bufs),
            Transport::Tls(it) => Pin::new(it).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(it) => it.is_write_vectored(),
            Transport::Tls(it) => it.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(it) => Pin::new(it).poll_flush(cx),
            Transport::Tls(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(it) => Pin::new(it).poll_shutdown(cx),
            Transport::Tls(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}
