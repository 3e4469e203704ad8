//! The service's external origins: what `@scheme`, `@authority` and `@target-uri` resolve against.

use std::fmt;

use http::Uri;

/// Scheme and authority as RFC 9421 §2.2.3 normalises them: lower case, without the scheme's default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: &'static str,
    authority: String,
}

/// Why a public URL cannot be an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not `http(s)://host[:port]`.
    #[error("public URL {0:?} must be http://host[:port] or https://host[:port], with no path, query or user")]
    Malformed(String),
    /// The `Host` header could not tell the two apart.
    #[error("public URLs {0} and {1} share an authority: keep one")]
    Ambiguous(Origin, Origin),
    /// There must be one.
    #[error("at least one public URL is needed")]
    None,
}

impl Origin {
    /// Reads `http(s)://host[:port]`, a lone `/` after it allowed.
    ///
    /// # Errors
    /// [`OriginError::Malformed`].
    pub fn parse(url: &str) -> Result<Self, OriginError> {
        let malformed = || OriginError::Malformed(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        if uri.path() != "/" || url.contains(['?', '#', '@']) {
            return Err(malformed());
        }
        Self::of(&uri).ok_or_else(malformed)
    }

    /// The origin of an absolute URI.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()?.to_ascii_lowercase().as_str() {
            "http" => "http",
            "https" => "https",
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        (!uri.host()?.is_empty()).then(|| Self { scheme, authority: normalised(host, scheme).into_owned() })
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// `host` or `host:port`: also the domain of a sign-in text (EIP-4361).
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    fn is_at(&self, host: &str) -> bool {
        normalised(host, self.scheme) == self.authority
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

fn normalised<'a>(authority: &'a str, scheme: &str) -> std::borrow::Cow<'a, str> {
    let port = if scheme == "http" { ":80" } else { ":443" };
    let authority = authority.strip_suffix(port).or_else(|| authority.strip_suffix(':')).unwrap_or(authority);
    if authority.bytes().any(|b| b.is_ascii_uppercase()) {
        authority.to_ascii_lowercase().into()
    } else {
        authority.into()
    }
}

/// The accepted origins, at least one, in order of configuration.
///
/// A request belongs to the origin whose authority equals its `Host` (HTTP/2: `:authority`), compared without regard to
/// case and default port. When none does (a proxy put its own name there) the first origin stands in. Either way the
/// value that enters the signature base comes from configuration: a signature made for another authority never verifies,
/// whatever headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// Reads every public URL.
    ///
    /// # Errors
    /// None given, a malformed one, or two with one authority (`http` and `https` of one host).
    pub fn new<S: AsRef<str>>(urls: impl IntoIterator<Item = S>) -> Result<Self, OriginError> {
        let mut origins: Vec<Origin> = Vec::new();
        for url in urls {
            let origin = Origin::parse(url.as_ref())?;
            match origins.iter().find(|known| known.authority == origin.authority) {
                Some(known) if *known == origin => {}
                Some(known) => return Err(OriginError::Ambiguous(known.clone(), origin)),
                None => origins.push(origin),
            }
        }
        if origins.is_empty() { Err(OriginError::None) } else { Ok(Self(origins)) }
    }

    /// The first: what links and sign-in texts name.
    #[must_use]
    pub fn primary(&self) -> &Origin {
        &self.0[0]
    }

    /// The origin that a request for `host` belongs to.
    #[must_use]
    pub fn for_host(&self, host: Option<&str>) -> &Origin {
        host.and_then(|host| self.0.iter().find(|origin| origin.is_at(host))).unwrap_or(self.primary())
    }
}
