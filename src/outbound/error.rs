//! Why an attempt failed. The texts are shown to partners: they say nothing of this machine or its network.

use std::error::Error as StdError;
use std::io;

use crate::domain::callback_url::CallbackUrlError;

/// Why no complete answer came back. An answer with a bad status is no error of this room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The URL breaks the rules that hold now, whatever held when it was set.
    #[error("callback URL refused: {0}")]
    Url(#[from] CallbackUrlError),
    /// The name has no address, or no name server answered.
    #[error("the host name did not resolve")]
    Resolve,
    /// At least one of the name's addresses must not be connected to; nothing was.
    #[error("the host resolves to an address that is not allowed")]
    AddressForbidden,
    /// No connection to any of the addresses.
    #[error("connection failed: {0}")]
    Connect(io::ErrorKind),
    /// No TLS session: handshake, certificate or name.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The total deadline passed before the answer's end.
    #[error("no complete answer within the deadline")]
    Deadline,
    /// The connection broke before the answer's end.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// More or larger response headers, or more interim responses, than are read.
    #[error("the answer's headers exceed the limits")]
    TooLarge,
    /// Not HTTP/1.1.
    #[error("the answer is not valid HTTP")]
    Protocol,
}

/// More bytes in answer to one request than any acceptable answer has.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
pub(super) struct Flood;

impl Error {
    /// From what the HTTP client reports: our own error where one is buried in it, else by hyper's classes.
    pub(super) fn from_http(error: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(error);
        let mut class = Self::Closed;
        while let Some(error) = next {
            if let Some(own) = error.downcast_ref::<Self>() {
                return own.clone();
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return if io.get_ref().is_some_and(|inner| inner.is::<Flood>()) {
                    Self::TooLarge
                } else {
                    Self::Closed
                };
            }
            if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
                class = match (hyper.is_parse_too_large(), hyper.is_parse()) {
                    (true, _) => Self::TooLarge,
                    (_, true) => Self::Protocol,
                    _ => class,
                };
            }
            next = error.source();
        }
        class
    }

    /// From a TLS handshake. A certificate's fault is named: its names are the receiver's own words, and escaped.
    pub(super) fn from_tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(super::answer::printable(tls.to_string().as_bytes(), 200)),
            None => Self::Tls("the connection was closed during the handshake".to_owned()),
        }
    }
}
