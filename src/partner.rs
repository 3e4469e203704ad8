//! One HTTP exchange with a partner who screens or verifies: a total deadline, a cap on the answer, no redirects.
//!
//! Webhooks do not go through here: their addresses come from programmes and need other guards.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use reqwest::{Client, RequestBuilder, Response, header, redirect};
use url::{Host, Url};

use crate::domain::outage::Outage;

/// The most of an answer that is read, in bytes.
pub const REPLY_MAX: usize = 64 * 1024;

/// The longest wait a provider may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A provider is configured wrongly.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The base address would send credentials in the clear, or is no base address.
    #[error("{0}: the base URL must be https (http only to this machine), without credentials, query or fragment")]
    BaseUrl(Url),
    /// The HTTP client cannot be built, e.g. for lack of root certificates.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// A credential is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A credential cannot be sent as a header value.
    #[error("{0} holds characters that a header cannot carry")]
    Credential(&'static str),
}

/// A client for one provider.
#[derive(Debug, Clone)]
pub struct Partner {
    provider: &'static str,
    base: Url,
    client: Client,
    deadline: Duration,
}

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its `Retry-After` in seconds, capped at [`RETRY_AFTER_MAX`]; dates are not read.
    pub retry_after: Option<Duration>,
    /// Its body, at most [`REPLY_MAX`].
    pub body: Bytes,
}

impl Partner {
    /// A client for `provider` (the name that messages begin with) at `base`, where each exchange, body included,
    /// ends within `deadline`.
    ///
    /// # Errors
    /// When the base address is unfit or the client cannot be built.
    pub fn new(provider: &'static str, base: &Url, deadline: Duration) -> Result<Self, SetupError> {
        if !fit(base) {
            return Err(SetupError::BaseUrl(base.clone()));
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(deadline)
            .user_agent(concat!("customerd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { provider, base: base.clone(), client, deadline })
    }

    /// The address of `path` (which begins with a slash) below the base.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// The client, to build requests with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When no complete answer of permitted size arrives before the deadline.
    pub async fn send(&self, request: RequestBuilder) -> Result<Reply, Outage> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = self.read(response).await?;
        Ok(Reply { status, retry_after, body })
    }

    async fn read(&self, mut response: Response) -> Result<Bytes, Outage> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len() + chunk.len() > REPLY_MAX {
                return Err(Outage::new(format!("{}: answer longer than {REPLY_MAX} bytes", self.provider)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Says what went wrong without the address, which may name a customer.
    fn failed(&self, error: &reqwest::Error) -> Outage {
        let what = if error.is_timeout() {
            format!("no answer within {:?}", self.deadline)
        } else if error.is_connect() {
            "cannot connect".to_owned()
        } else {
            "connection broke".to_owned()
        };
        Outage::new(format!("{}: {what}", self.provider))
    }
}

/// Whether nobody on the way can read what is sent to an address: https, or http to this machine.
pub fn confidential(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

/// Whether credentials may be sent there and paths appended.
fn fit(base: &Url) -> bool {
    let bare =
        base.username().is_empty() && base.password().is_none() && base.query().is_none() && base.fragment().is_none();
    bare && confidential(base)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn credentials_go_over_tls_or_to_this_machine_only() {
        for good in [
            "https://api.example",
            "https://api.example/v1/",
            "http://127.0.0.1:9",
            "http://[::1]:9",
            "http://localhost:9",
        ] {
            assert!(fit(&Url::parse(good).unwrap()), "{good}");
        }
        for bad in [
            "http://api.example",
            "http://10.0.0.1",
            "https://u@h.example",
            "https://h.example?a",
            "ftp://localhost",
            "data:,x",
        ] {
            assert!(!fit(&Url::parse(bad).unwrap()), "{bad}");
        }
    }

    #[test]
    fn a_base_may_have_a_path() {
        let partner = |base| Partner::new("test", &Url::parse(base).unwrap(), Duration::from_secs(1)).unwrap();
        assert_eq!(partner("https://h.example").url("/a").as_str(), "https://h.example/a");
        assert_eq!(partner("https://h.example/p/").url("/a").as_str(), "https://h.example/p/a");
    }
}
