//! Where a call comes from, as far as the listener can tell.

use std::net::{IpAddr, Ipv6Addr};

use tonic::metadata::MetadataMap;

use crate::api::metadata;

/// Among whom limited work is shared: an IPv4 address, or the /64 of an IPv6 address, because one subscriber has a whole /64
/// at least (RFC 6177). Calls whose address is not known count as one client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(Option<IpAddr>);

impl Client {
    /// No client: for what this service does of its own accord.
    pub(crate) const NONE: Self = Self(None);

    /// Of a call's metadata.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        let named = metadata.get(metadata::CLIENT_ADDRESS).and_then(|value| value.to_str().ok());
        let address = named.and_then(|text| text.parse::<IpAddr>().ok()).map(|address| address.to_canonical());
        Self(address.map(|address| match address {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 => v4,
        }))
    }

    /// A client of its own for every number.
    #[cfg(test)]
    pub(super) fn numbered(number: u8) -> Self {
        Self(Some([192, 0, 2, number].into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_one_client() {
        let client = |address: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(metadata::CLIENT_ADDRESS, address.parse().unwrap());
            Client::of(&metadata)
        };
        assert_eq!(client("2001:db8::1"), client("2001:db8::2:3:4:5"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), Client::numbered(1));
        assert_ne!(client("192.0.2.2"), Client::numbered(1));
        assert_eq!((client("nonsense"), Client::of(&MetadataMap::new())), (Client::NONE, Client::NONE));
    }
}
