//! Whose request it is, as far as limits are concerned: an address, of the socket or as a proxy reports it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::Peer;
use crate::domain::client::ClientKey;

/// The client's address, for the service that handles the request: set on every request from what the listener found, so that it
/// can be believed. A REST front passes it on to its backend under the same name.
pub const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("x-client-address");

/// Who shares one set of limits; in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    address: IpAddr,
    limited: bool,
}

impl Client {
    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What it is counted by.
    pub fn key(&self) -> ClientKey {
        ClientKey::of(self.address)
    }

    /// Whether it may take no more than a client's share. A loopback address or a trusted proxy may stand for any number
    /// of clients, so its share is everything.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    pub(super) fn header(&self) -> HeaderValue {
        // An address is always a header value.
        HeaderValue::try_from(self.address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

/// How clients are told apart.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    trusted: Arc<[IpNet]>,
    header: Option<HeaderName>,
}

impl Clients {
    /// Peers in `trusted` are proxies whose `header` is believed: `Forwarded` (RFC 7239), or a list of addresses like
    /// `X-Forwarded-For`.
    pub fn new(trusted: Vec<IpNet>, header: Option<HeaderName>) -> Self {
        Self { trusted: trusted.into(), header }
    }

    /// The client of a request that came over no connection: this process.
    pub(super) fn nobody() -> Client {
        Client { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), limited: false }
    }

    /// The client that a connection belongs to: its peer.
    pub fn at(&self, address: IpAddr) -> Client {
        let address = address.to_canonical();
        Client { address, limited: !address.is_loopback() && !self.trusts(address) }
    }

    /// Whether a peer stands for many clients: a proxy or a REST front. What one of them does is not held against the others.
    pub(super) fn stands_for_many(&self, peer: &Peer) -> bool {
        peer.certificate.is_some() || self.trusts(peer.addr.ip().to_canonical())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// The client of a request: the right-most hop that is no trusted proxy. `from_front` says that the peer may be a REST
    /// front, which names the client itself; it is believed if its address is trusted or it proved a certificate.
    pub(super) fn of(&self, peer: &Peer, headers: &HeaderMap, from_front: bool) -> Client {
        let socket = self.at(peer.addr.ip());
        let trusted = self.trusts(socket.address);
        if from_front && self.stands_for_many(peer) {
            let mut named = headers.get_all(&CLIENT_ADDRESS).iter();
            if let (Some(value), None) = (named.next(), named.next())
                && let Some(address) = value.to_str().ok().and_then(|text| text.parse().ok())
            {
                return self.at(address);
            }
        }
        match &self.header {
            Some(name) if trusted => self.reported(socket, headers, name),
            _ => socket,
        }
    }

    /// Follows the hops from the right while they are trusted. One that cannot be read ends it: the last proxy
    /// that could be is the client.
    fn reported(&self, socket: Client, headers: &HeaderMap, name: &HeaderName) -> Client {
        let forwarded = *name == http::header::FORWARDED;
        let mut client = socket;
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        for value in values.into_iter().rev() {
            let Ok(text) = std::str::from_utf8(value) else { return client };
            for hop in elements(text, ',').into_iter().rev() {
                let address = if forwarded { forwarded_for(hop) } else { hop_address(hop) };
                let Some(address) = address else { return client };
                client = self.at(address);
                if !self.trusts(client.address) {
                    return client;
                }
            }
        }
        client
    }
}

impl std::fmt::Display for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.header {
            None => f.write_str("the address of the connection")?,
            Some(name) => write!(f, "the right-most hop of {name} that is no trusted proxy")?,
        }
        if self.trusted.is_empty() {
            return f.write_str(" (no trusted proxies)");
        }
        let trusted: Vec<_> = self.trusted.iter().map(IpNet::to_string).collect();
        write!(f, " (trusted proxies: {})", trusted.join(", "))
    }
}

/// The parts of a list between separators that are not in quotes.
fn elements(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c| {
        let splits = c == separator && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        splits
    })
    .map(str::trim)
    .collect()
}

/// The `for` of one element of `Forwarded` (RFC 7239 section 4): exactly one, or the element says nothing.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut named = elements(element, ';')
        .into_iter()
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(name, value)| name.trim().eq_ignore_ascii_case("for").then_some(value.trim()));
    let (Some(value), None) = (named.next(), named.next()) else { return None };
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    hop_address(value)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse() {
        return Some(address);
    }
    if let Some(inner) = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(header: &'static str) -> Clients {
        let trusted = ["10.0.0.0/8", "127.0.0.1/32", "2001:db8:1::/48"].map(|net| net.parse().unwrap());
        Clients::new(trusted.to_vec(), Some(HeaderName::from_static(header)))
    }

    fn peer(addr: &str) -> Peer {
        Peer { addr: std::net::SocketAddr::new(addr.parse().unwrap(), 1), tls: false, certificate: None }
    }

    fn found(from: &str, header: &'static str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static(header), HeaderValue::from_str(value).unwrap());
        }
        let client = clients(header).of(&peer(from), &headers, false);
        format!("{}{}", client.address(), if client.is_limited() { "" } else { " whole" })
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted_is_the_client() {
        let forwarded = |values: &[&str]| found("10.0.0.1", "x-forwarded-for", values);
        assert_eq!(forwarded(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(forwarded(&["198.51.100.1, 203.0.113.9,10.2.3.4"]), "203.0.113.9");
        assert_eq!(forwarded(&["198.51.100.1", "203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(forwarded(&["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(forwarded(&["::ffff:203.0.113.9"]), "203.0.113.9");
        // Nothing but proxies, or nothing at all: the farthest of them, with the whole share.
        assert_eq!(forwarded(&["10.9.9.9, 10.2.3.4"]), "10.9.9.9 whole");
        assert_eq!(forwarded(&[]), "10.0.0.1 whole");
        // What cannot be read is not passed over: the hops to its left could be anybody's words.
        assert_eq!(forwarded(&["203.0.113.9, unknown, 10.2.3.4"]), "10.2.3.4 whole");
        assert_eq!(forwarded(&["203.0.113.9, "]), "10.0.0.1 whole");
        assert_eq!(found("203.0.113.7", "x-forwarded-for", &["198.51.100.1"]), "203.0.113.7", "an untrusted peer");
        assert_eq!(found("127.0.0.2", "x-forwarded-for", &["198.51.100.1"]), "127.0.0.2 whole");
    }

    #[test]
    fn forwarded_has_its_own_syntax() {
        let forwarded = |values: &[&str]| found("127.0.0.1", "forwarded", values);
        assert_eq!(forwarded(&["for=192.0.2.60;proto=http;by=203.0.113.43"]), "192.0.2.60");
        assert_eq!(forwarded(&["For=\"[2001:db8:cafe::17]:4711\""]), "2001:db8:cafe::17");
        assert_eq!(forwarded(&["for=192.0.2.43, for=198.51.100.17, for=10.1.1.1"]), "198.51.100.17");
        assert_eq!(forwarded(&["by=\"a,for=192.0.2.1\";for=198.51.100.17"]), "198.51.100.17");
        for unknown in ["for=unknown", "for=_hidden", "proto=http", "for=192.0.2.1;for=192.0.2.2"] {
            assert_eq!(forwarded(&[unknown]), "127.0.0.1 whole", "{unknown}");
        }
    }

    #[test]
    fn a_front_names_the_client_only_if_it_is_trusted() {
        let headers = HeaderMap::from_iter([(CLIENT_ADDRESS, HeaderValue::from_static("203.0.113.9"))]);
        let named = |from: &Peer, front| clients("x-forwarded-for").of(from, &headers, front).address().to_string();
        assert_eq!(named(&peer("10.0.0.1"), true), "203.0.113.9");
        assert_eq!(named(&peer("10.0.0.1"), false), "10.0.0.1");
        assert_eq!(named(&peer("192.0.2.1"), true), "192.0.2.1");
        let certified = Peer { certificate: Some(vec![1].into()), ..peer("192.0.2.1") };
        assert_eq!(named(&certified, true), "203.0.113.9");
    }
}
