//! Which IP addresses this service may connect to on behalf of a partner.
//!
//! From IANA's IPv4 and IPv6 special-purpose address registries (RFC 6890) and the IPv6 unicast assignments. Where the
//! registries carve a globally reachable address out of a protocol block (192.0.0.9, 2001:1::1 and their like: anycast
//! services next to the sender, a NAT's control port among them), the whole block is refused: none can be a receiver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a connection may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// Globally reachable addresses over TLS: the rule.
    #[default]
    Global,
    /// Private and loopback addresses as well, and plain HTTP: sandbox programmes under `--allow-private-callbacks`.
    Private,
}

impl Reach {
    /// Whether a connection to this address is allowed.
    pub fn permits(self, address: IpAddr) -> bool {
        is_global(address) || (self == Self::Private && is_private(address))
    }
}

/// First address and prefix length of each IPv4 block that is not globally reachable.
const V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),       // RFC 791: this network
    ([10, 0, 0, 0], 8),      // RFC 1918: private
    ([100, 64, 0, 0], 10),   // RFC 6598: carrier-grade NAT
    ([127, 0, 0, 0], 8),     // RFC 1122: loopback
    ([169, 254, 0, 0], 16),  // RFC 3927: link-local, the clouds' metadata services
    ([172, 16, 0, 0], 12),   // RFC 1918: private
    ([192, 0, 0, 0], 24),    // RFC 6890: protocol assignments
    ([192, 0, 2, 0], 24),    // RFC 5737: documentation
    ([192, 88, 99, 0], 24),  // RFC 7526: 6to4 relays, withdrawn
    ([192, 168, 0, 0], 16),  // RFC 1918: private
    ([198, 18, 0, 0], 15),   // RFC 2544: benchmarking
    ([198, 51, 100, 0], 24), // RFC 5737: documentation
    ([203, 0, 113, 0], 24),  // RFC 5737: documentation
    ([224, 0, 0, 0], 4),     // RFC 5771: multicast
    ([240, 0, 0, 0], 4),     // RFC 1112: reserved, with 255.255.255.255
];

/// The same inside 2000::/3; outside of it nothing is globally reachable: unspecified, loopback, IPv4-mapped and
/// -compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64, 100:0:0:1::/64), segment routing (5f00::/16),
/// unique-local, link- and site-local, multicast.
const V6: [([u16; 8], u32); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // RFC 2928: protocol assignments, Teredo (2001::/32) among them
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // RFC 3849: documentation
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // RFC 3056: 6to4, embeds an IPv4 address
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // RFC 9637: documentation
];

/// Whether the address is a globally reachable unicast address that embeds no other one.
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !V4.iter().any(|(first, length)| within_v4(v4, Ipv4Addr::from(*first), *length)),
        IpAddr::V6(v6) => {
            within_v6(v6, Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
                && !V6.iter().any(|(first, length)| within_v6(v6, Ipv6Addr::from(*first), *length))
        }
    }
}

/// Loopback, RFC 1918, carrier-grade NAT and unique-local. Link-local is left out on purpose: the clouds' metadata
/// services live there, and nobody develops there.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || within_v4(v4, Ipv4Addr::new(100, 64, 0, 0), 10),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

fn within_v4(address: Ipv4Addr, first: Ipv4Addr, length: u32) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= length
}

fn within_v6(address: Ipv6Addr, first: Ipv6Addr, length: u32) -> bool {
    (address.to_bits() ^ first.to_bits()).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every block, written out again by its ends; and whether the addresses just outside are global.
    const BLOCKS_V4: [(&str, &str, bool, bool); 15] = [
        ("0.0.0.0", "0.255.255.255", false, true),
        ("10.0.0.0", "10.255.255.255", true, true),
        ("100.64.0.0", "100.127.255.255", true, true),
        ("127.0.0.0", "127.255.255.255", true, true),
        ("169.254.0.0", "169.254.255.255", true, true),
        ("172.16.0.0", "172.31.255.255", true, true),
        ("192.0.0.0", "192.0.0.255", true, true),
        ("192.0.2.0", "192.0.2.255", true, true),
        ("192.88.99.0", "192.88.99.255", true, true),
        ("192.168.0.0", "192.168.255.255", true, true),
        ("198.18.0.0", "198.19.255.255", true, true),
        ("198.51.100.0", "198.51.100.255", true, true),
        ("203.0.113.0", "203.0.113.255", true, true),
        ("224.0.0.0", "239.255.255.255", true, false),
        ("240.0.0.0", "255.255.255.255", false, false),
    ];

    const BLOCKS_V6: [(&str, &str, bool, bool); 16] = [
        ("::", "::ffff:ffff", false, false),
        ("::ffff:0:0", "::ffff:ffff:ffff", false, false),
        ("64:ff9b::", "64:ff9b::ffff:ffff", false, false),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", false, false),
        ("100::", "100::ffff:ffff:ffff:ffff", false, false),
        ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", false, false),
        ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, true),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, false),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
    ];

    #[test]
    fn ends_of_every_ipv4_block() {
        for (first, last, below, above) in BLOCKS_V4 {
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().unwrap(), last.parse().unwrap());
            let (low, high) = (first.to_bits(), last.to_bits());
            for inside in [low, low + 1, low.midpoint(high), high - 1, high] {
                assert!(!is_global(Ipv4Addr::from(inside).into()), "{}", Ipv4Addr::from(inside));
            }
            for (outside, expected) in [(low.checked_sub(1), below), (high.checked_add(1), above)] {
                let global = outside.is_some_and(|bits| is_global(Ipv4Addr::from(bits).into()));
                assert_eq!(global, expected, "beside {first} to {last}");
            }
        }
    }

    #[test]
    fn ends_of_every_ipv6_block() {
        for (first, last, below, above) in BLOCKS_V6 {
            let (first, last): (Ipv6Addr, Ipv6Addr) = (first.parse().unwrap(), last.parse().unwrap());
            let (low, high) = (first.to_bits(), last.to_bits());
            for inside in [low, low + 1, low.midpoint(high), high - 1, high] {
                assert!(!is_global(Ipv6Addr::from(inside).into()), "{}", Ipv6Addr::from(inside));
            }
            for (outside, expected) in [(low.checked_sub(1), below), (high.checked_add(1), above)] {
                let global = outside.is_some_and(|bits| is_global(Ipv6Addr::from(bits).into()));
                assert_eq!(global, expected, "beside {first} to {last}");
            }
        }
    }

    #[test]
    fn ordinary_addresses_are_global() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450:4001:81b::200e",
            "2620:4f:8000::1",
        ] {
            assert!(is_global(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn private_reach_adds_private_and_loopback_only() {
        for (address, permitted) in [
            ("127.0.0.1", true),
            ("127.255.255.255", true),
            ("10.1.2.3", true),
            ("172.31.255.255", true),
            ("192.168.0.1", true),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("::1", true),
            ("fd00::1", true),
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("192.0.2.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2001:0:7f00:1::", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Reach::Private.permits(address), permitted, "{address}");
            assert_eq!(Reach::Global.permits(address), is_global(address), "{address}");
        }
    }
}
