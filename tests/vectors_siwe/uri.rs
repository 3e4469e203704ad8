//! RFC 3986's grammar, as much as EIP-4361 refers to.

use std::net::Ipv6Addr;

/// The parts of a URI by name; absent is not empty.
pub(crate) struct Parts<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Parts<'a> {
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

fn is_unreserved(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"-._~".contains(&c)
}

fn is_sub_delim(c: u8) -> bool {
    b"!$&'()*+,;=".contains(&c)
}

/// One character of a `pchar`, the three of a percent-encoding taken one by one.
pub(crate) fn is_pchar(c: u8) -> bool {
    is_unreserved(c) || is_sub_delim(c) || b":@%".contains(&c)
}

/// Characters that `allowed` admits, and percent-encodings.
fn all(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(c) = bytes.next() {
        let hex = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_hexdigit());
        let fits = if c == b'%' { hex(bytes.next()) && hex(bytes.next()) } else { allowed(c) };
        if !fits {
            return false;
        }
    }
    true
}

/// Whether `text` is of the ABNF rule.
pub(crate) fn matches(rule: &str, text: &str) -> bool {
    let plain = |c: u8| is_unreserved(c) || is_sub_delim(c);
    match rule {
        "scheme" => {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
        }
        "statement" => !text.is_empty() && text.bytes().all(|c| plain(c) || b":/?#[]@ ".contains(&c)),
        "pct-encoded" => text.len() == 3 && text.starts_with('%') && all(text, |_| false),
        "userinfo" => all(text, |c| plain(c) || c == b':'),
        "reg-name" => all(text, plain),
        "segment-nz" => !text.is_empty() && all(text, |c| plain(c) || b":@".contains(&c)),
        "fragment" | "query" => all(text, |c| plain(c) || b":@/?".contains(&c)),
        "path" => all(text, |c| plain(c) || b":@/".contains(&c)),
        "IPvFuture" => {
            text.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')).is_some_and(|(version, rest)| {
                !version.is_empty()
                    && version.bytes().all(|c| c.is_ascii_hexdigit())
                    && !rest.is_empty()
                    && rest.bytes().all(|c| plain(c) || c == b':')
            })
        }
        _ => panic!("no rule {rule}"),
    }
}

pub(crate) fn is_authority(text: &str) -> bool {
    authority(text).is_some()
}

/// The vectors allow leading zeros in the octets of an embedded IPv4 address, the standard library does not.
fn is_ipv6(host: &str) -> bool {
    let (head, tail) = host.rsplit_once(':').unwrap_or(("", host));
    let shortened = |octet: &str| match octet.trim_start_matches('0') {
        "" if octet.is_empty() => String::new(),
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let octets: Vec<String> = tail.split('.').map(shortened).collect();
    let tail = if octets.len() == 4 && tail.split('.').all(|octet| octet.len() <= 3) {
        octets.join(".")
    } else {
        tail.to_owned()
    };
    format!("{head}:{tail}").parse::<Ipv6Addr>().is_ok()
}

/// [ userinfo "@" ] host [ ":" port ]
fn authority(text: &str) -> Option<Vec<(&'static str, &str)>> {
    let mut parts = Vec::new();
    let rest = match text.split_once('@') {
        Some((userinfo, rest)) => {
            parts.push(("userinfo", userinfo));
            matches("userinfo", userinfo).then_some(rest)?
        }
        None => text,
    };
    let (host, port) = match rest.strip_prefix('[') {
        Some(literal) => {
            let (host, rest) = literal.split_once(']')?;
            (is_ipv6(host) || matches("IPvFuture", host)).then_some(())?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
            matches("reg-name", host).then_some((host, port))?
        }
    };
    parts.push(("host", host));
    if let Some(port) = port {
        port.bytes().all(|c| c.is_ascii_digit()).then(|| parts.push(("port", port)))?;
    }
    Some(parts)
}

/// scheme ":" hier-part [ "?" query ] [ "#" fragment ]
pub(crate) fn parse(text: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = text.split_once(':')?;
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let mut parts = vec![("scheme", scheme)];
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            parts.extend(authority(&rest[..end])?);
            &rest[end..]
        }
        None => rest,
    };
    parts.push(("path", path));
    parts.extend(query.map(|query| ("query", query)));
    parts.extend(fragment.map(|fragment| ("fragment", fragment)));
    let rules = ["scheme", "path", "query", "fragment"];
    parts.iter().all(|(name, value)| !rules.contains(name) || matches(name, value)).then_some(Parts(parts))
}
