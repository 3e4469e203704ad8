//! Where a webhook may be sent: the rules that a URL's text can be held to.
//!
//! A name's addresses are judged when the connection is made (`outbound`), not here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr as _;

use url::{Host, Url};

use super::error::Error;
use super::reach::Reach;

/// Longest callback URL, in bytes: as typed, and as the URL standard normalises it.
pub const MAX_LENGTH: usize = 2048;

/// Lowest port, other than 443, that a callback may name: below live services that must not be made to talk.
const LOWEST_FREE_PORT: u16 = 1024;

/// A callback URL that satisfied the rules of the [`Reach`] it was parsed under.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl {
    url: Url,
}

/// Why a text is no callback URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallbackUrlError {
    /// Not an absolute http or https URL in the form that every parser reads alike.
    #[error("{0}")]
    Malformed(&'static str),
    /// A URL that this service will not call: code `CALLBACK_URL_FORBIDDEN`.
    #[error("{0}")]
    Forbidden(&'static str),
}

use CallbackUrlError::{Forbidden, Malformed};

impl CallbackUrlError {
    /// The code of the field `callbackUrl` in a refusal.
    pub const fn code(self) -> &'static str {
        match self {
            Malformed(_) => "INVALID_VALUE",
            Forbidden(_) => "CALLBACK_URL_FORBIDDEN",
        }
    }
}

impl CallbackUrl {
    /// Parses and judges a URL.
    ///
    /// Under [`Reach::Global`]: https, port 443 or at least 1024, a name or a globally reachable address. Under
    /// [`Reach::Private`] also http, any port, private and loopback addresses. Never: user information, a fragment, a
    /// host or port of zero, other addresses. Addresses count in every spelling that the WHATWG URL standard reads as
    /// one: decimal, octal, hexadecimal, shortened, percent-encoded, full-width.
    ///
    /// # Errors
    /// [`CallbackUrlError`], whose text may be shown to the caller.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, CallbackUrlError> {
        check_text(text)?;
        let url = Url::parse(text).map_err(|_| Malformed("Not a valid URL."))?;
        if url.as_str().len() > MAX_LENGTH {
            return Err(Malformed("Must have at most 2048 bytes when it is percent-encoded."));
        }
        if url.fragment().is_some() {
            return Err(Malformed("Must have no fragment."));
        }
        match (url.scheme(), reach) {
            ("https", _) | ("http", Reach::Private) => {}
            _ => return Err(Forbidden("Must use https.")),
        }
        check_port(&url, reach)?;
        match url.host().ok_or(Malformed("Must have a host."))? {
            Host::Ipv4(address) => check_address(address.into(), reach)?,
            Host::Ipv6(address) => check_address(address.into(), reach)?,
            Host::Domain(name) => check_name(name, reach)?,
        }
        // The HTTP client reads the URL once more, with a parser of its own: both must see the same host.
        match http::Uri::try_from(url.as_str()) {
            Ok(uri) if uri.host() == url.host_str() => Ok(Self { url }),
            _ => Err(Malformed("Not a valid URL.")),
        }
    }

    /// The text of [`Self::url`].
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The URL as the WHATWG standard normalises it: what the API shows, what is sent to, and what `@target-uri` signs.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CallbackUrlError> for Error {
    fn from(error: CallbackUrlError) -> Self {
        Self::invalid("callbackUrl", error.code(), error.to_string())
    }
}

/// Leaves the query out: partners put tokens there.
impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackUrl({})", self.url.origin().ascii_serialization())
    }
}

/// What URL parsers repair or disagree about is refused before one is asked.
fn check_text(text: &str) -> Result<(), CallbackUrlError> {
    if text.len() > MAX_LENGTH {
        return Err(Malformed("Must have at most 2048 bytes."));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(Malformed("Must have no white space, control character or backslash."));
    }
    let (scheme, rest) = text.split_once("://").ok_or(Malformed("Must be an absolute URL: https://host/path."))?;
    // URL parsers take "https:user@host" for absolute as well, and a "://" may follow later.
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Malformed("Must be an absolute URL: https://host/path."));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(Malformed("Must have a host."));
    }
    if authority.contains('@') {
        return Err(Forbidden("Must have no user information."));
    }
    Ok(())
}

fn check_port(url: &Url, reach: Reach) -> Result<(), CallbackUrlError> {
    match (url.port_or_known_default(), reach) {
        (None | Some(0), _) => Err(Forbidden("Must have a port that can be connected to.")),
        (Some(443 | LOWEST_FREE_PORT..), _) | (_, Reach::Private) => Ok(()),
        _ => Err(Forbidden("Must use port 443 or one from 1024 up.")),
    }
}

fn check_address(address: IpAddr, reach: Reach) -> Result<(), CallbackUrlError> {
    if reach.permits(address) {
        Ok(())
    } else {
        Err(Forbidden("Must not name an address that is not globally reachable."))
    }
}

fn check_name(name: &str, reach: Reach) -> Result<(), CallbackUrlError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(Malformed("Must have a valid host name."));
    }
    // A resolver that reads more spellings than the URL standard must not get one past it.
    if IpAddr::from_str(name).is_ok() {
        return Err(Malformed("Must have a valid host name."));
    }
    // RFC 6761 section 6.3: always the loopback, so as good as a literal.
    let local = name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    if local && reach == Reach::Global {
        return Err(Forbidden("Must not name localhost."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, reach: Reach) -> CallbackUrlError {
        CallbackUrl::parse(text, reach).expect_err(text)
    }

    #[test]
    fn good_urls_are_normalised() {
        for (text, url) in [
            ("https://example.com", "https://example.com/"),
            ("https://Example.COM:443/Hook?a=b%20c", "https://example.com/Hook?a=b%20c"),
            ("HTTPS://example.com.:8443/", "https://example.com.:8443/"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
            ("https://8.8.8.8/x", "https://8.8.8.8/x"),
            ("https://[2606:4700::1111]:1024/", "https://[2606:4700::1111]:1024/"),
            ("https://hooks_eu.example.com/@me", "https://hooks_eu.example.com/@me"),
        ] {
            let parsed = CallbackUrl::parse(text, Reach::Global).unwrap();
            assert_eq!(parsed.as_str(), url);
            // What was stored is read again.
            assert_eq!(CallbackUrl::parse(parsed.as_str(), Reach::Global).unwrap(), parsed);
        }
    }

    #[test]
    fn malformed() {
        let long = format!("https://example.com/{}", "a".repeat(2029));
        let long_when_encoded = format!("https://example.com/{}", "ü".repeat(400));
        let labels = format!("https://{}com/", "a.".repeat(126));
        let label = format!("https://{}.com/", "a".repeat(64));
        for text in [
            "",
            "example.com",
            "/hook",
            "https:example.com",
            "https:/example.com",
            "https:///example.com",
            "https:user@example.com/://",
            "http:@user@example.com://4",
            "https:/user:pw@example.com/?://",
            "https://",
            "https://?x",
            "https://example.com/#top",
            "https://example.com/#",
            " https://example.com/",
            "https://exa mple.com/",
            "https://example.com\\@127.0.0.1/",
            "https://example.com/\n",
            "https://exa\tmple.com",
            "https://a..b/",
            "https://.example.com/",
            "https://example.com../",
            "https://ex!ample.com/",
            "https://[::1",
            "https://[::1%25lo]/",
            "https://example.com:99999/",
            "https://256.1.1.1/",
            "https://1.2.3.4.5/",
            "https://%00.example.com/",
            &long,
            &long_when_encoded,
            &labels,
            &label,
        ] {
            for reach in [Reach::Global, Reach::Private] {
                assert!(matches!(refused(text, reach), Malformed(_)), "{text}: {:?}", refused(text, reach));
            }
        }
    }

    #[test]
    fn forbidden_for_everybody() {
        for text in [
            "https://user@example.com/",
            "https://user:pw@example.com/",
            "https://@example.com/",
            "https://:@example.com/",
            "ftp://example.com/",
            "file://example.com/etc",
            "https://example.com:0/",
            "https://0.0.0.0/",
            "https://0/",
            "https://169.254.169.254/latest",
            "https://2852039166/",
            "https://[::ffff:10.0.0.1]/",
            "https://[::10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
            "https://[2001:0:a00:1::]/",
            "https://[fe80::1]/",
            "https://255.255.255.255/",
            "https://[::]/",
        ] {
            for reach in [Reach::Global, Reach::Private] {
                assert!(matches!(refused(text, reach), Forbidden(_)), "{text}: {:?}", refused(text, reach));
            }
        }
    }

    #[test]
    fn private_only() {
        for text in [
            "http://example.com/",
            "https://example.com:80/",
            "https://example.com:22/",
            "https://example.com:1023/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://①②⑦.0.0.1/",
            "https://127。0。0。1/",
            "https://10.0.0.1/",
            "https://192.168.1.1:8443/",
            "https://172.16.0.1/",
            "https://100.64.0.1/",
            "https://[::1]/",
            "https://[fd00::1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://api.localhost:9000/",
            "https://ⓛocalhost/",
        ] {
            assert!(matches!(refused(text, Reach::Global), Forbidden(_)), "{text}: {:?}", refused(text, Reach::Global));
            assert!(CallbackUrl::parse(text, Reach::Private).is_ok(), "{text}: {:?}", refused(text, Reach::Private));
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        let error = Error::from(refused("https://10.0.0.1/", Reach::Global));
        assert_eq!(
            (error.violations[0].field.as_str(), error.violations[0].code),
            ("callbackUrl", "CALLBACK_URL_FORBIDDEN")
        );
        assert_eq!(error.violations[0].message, "Must not name an address that is not globally reachable.");
    }

    #[test]
    fn debug_hides_the_query() {
        let url = CallbackUrl::parse("https://example.com/hook?token=s3cret", Reach::Global).unwrap();
        assert_eq!(format!("{url:?}"), "CallbackUrl(https://example.com)");
    }
}
