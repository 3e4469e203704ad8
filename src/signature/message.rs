//! A request as its signer saw it: the values of derived components and fields (RFC 9421 §2.1, §2.2).

use std::borrow::Cow;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST};
use http::{HeaderMap, HeaderName, Method, Uri, Version};

use super::component::{Component, Name};
use super::digest::CONTENT_DIGEST;
use super::idempotency_key::IDEMPOTENCY_KEY;
use super::origin::{Origin, Origins};
use super::{Error, query};

/// Fields that mean one value. A second line would let two readers see two requests.
const SINGLETONS: [HeaderName; 7] =
    [AUTHORIZATION, CONTENT_DIGEST, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, IDEMPOTENCY_KEY];

/// A request's head as received.
///
/// `uri` must be the one on the wire: under axum's `nest` that is `OriginalUri`, since `Uri` has lost its prefix.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target.
    pub uri: &'a Uri,
    /// Tells an absolute-form target (HTTP/1.1) from pseudo-headers (HTTP/2).
    pub version: Version,
    /// All fields.
    pub headers: &'a HeaderMap,
}

impl<'a> From<&'a http::request::Parts> for Head<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers }
    }
}

/// A request whose components can be looked up.
pub struct Message<'a> {
    head: Head<'a>,
    origin: Cow<'a, Origin>,
}

impl<'a> Message<'a> {
    /// A request that came in, for one of our `origins`.
    ///
    /// # Errors
    /// [`Error::Component`] when HTTP/2's `:authority` and a `Host` header disagree (RFC 9113 §8.3.1).
    pub fn received(head: Head<'a>, origins: &'a Origins) -> Result<Self, Error> {
        let host = head.headers.get(HOST).and_then(|value| value.to_str().ok());
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        if let (Some(host), Some(authority)) = (host, authority)
            && !host.eq_ignore_ascii_case(authority)
        {
            return Err(Error::component(
                "\"@authority\"",
                "the request target and the Host header name different authorities",
            ));
        }
        Ok(Self { head, origin: Cow::Borrowed(origins.for_host(authority.or(host))) })
    }

    /// A request about to be sent to the absolute `head.uri`.
    ///
    /// # Errors
    /// [`Error::Component`] when the URI is not absolute `http` or `https`.
    pub fn outgoing(head: Head<'a>) -> Result<Self, Error> {
        let origin = Origin::of(head.uri)
            .ok_or_else(|| Error::component("\"@target-uri\"", "the URL to sign for must be absolute http or https"))?;
        Ok(Self { head, origin: Cow::Owned(origin) })
    }

    /// The method, as `@method`.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.head.method
    }

    /// The query without its question mark; nothing if absent or empty.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.uri.query().filter(|query| !query.is_empty())
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.head.headers
    }

    /// The value of a component in the signature base.
    pub(super) fn value(&self, component: &Component) -> Result<Cow<'_, str>, Error> {
        let uri = self.head.uri;
        match &component.name {
            Name::Method => Ok(self.head.method.as_str().into()),
            Name::Scheme => Ok(self.origin.scheme().into()),
            Name::Authority => Ok(self.origin.authority().into()),
            Name::Path => Ok(self.path().into()),
            Name::Query => Ok(format!("?{}", uri.query().unwrap_or("")).into()),
            Name::TargetUri => Ok(format!("{}{}", self.origin, self.path_and_query()).into()),
            Name::RequestTarget => Ok(self.request_target()),
            Name::QueryParam(name) => query::parameter(uri.query().unwrap_or(""), name)
                .map(Cow::Owned)
                .map_err(|reason| Error::component(&component.identifier, reason)),
            Name::Field(name) => self.field(name).map_err(|reason| Error::component(&component.identifier, reason)),
        }
    }

    fn path(&self) -> &str {
        match self.head.uri.path() {
            "" => "/",
            path => path,
        }
    }

    fn path_and_query(&self) -> &str {
        self.head.uri.path_and_query().map_or("/", |target| match target.as_str() {
            "" => "/",
            text => text,
        })
    }

    /// RFC 9421 §2.2.5: on HTTP/1.1 the request line's target as it stood there; on HTTP/2 the `:path`.
    fn request_target(&self) -> Cow<'_, str> {
        let uri = self.head.uri;
        match (self.head.method, uri.authority()) {
            (&Method::CONNECT, Some(authority)) => authority.as_str().into(),
            (_, Some(_)) if self.head.version < Version::HTTP_2 => uri.to_string().into(),
            _ => self.path_and_query().into(),
        }
    }

    /// RFC 9421 §2.1: every line trimmed, joined by ", ". Line folding cannot occur, [`http::HeaderValue`] has no line ends.
    fn field(&self, name: &HeaderName) -> Result<Cow<'_, str>, &'static str> {
        let mut lines = self.head.headers.get_all(name).iter();
        let Some(first) = lines.next() else {
            // HTTP/2 carries Host as `:authority`.
            return match self.head.uri.authority() {
                Some(authority) if *name == HOST => Ok(authority.as_str().into()),
                _ => Err("the request has no such header"),
            };
        };
        let first = text(first)?;
        let Some(second) = lines.next() else { return Ok(first.into()) };
        if SINGLETONS.contains(name) {
            return Err("the header may be sent only once");
        }
        let mut joined = format!("{first}, {}", text(second)?);
        for line in lines {
            joined.push_str(", ");
            joined.push_str(text(line)?);
        }
        Ok(joined.into())
    }
}

fn text(value: &http::HeaderValue) -> Result<&str, &'static str> {
    // to_str admits visible ASCII, space and tab: what RFC 9421 §2.1 can carry without `bs`.
    value.to_str().map(|text| text.trim_matches([' ', '\t'])).map_err(|_| "its value is not ASCII")
}
