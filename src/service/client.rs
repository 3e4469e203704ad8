//! Where a call comes from, as far as the listener can tell.

use tonic::metadata::MetadataMap;

use crate::api::metadata;
use crate::domain::client::ClientKey;

/// Among whom limited work is shared. Calls whose address is not known count as one client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(Option<ClientKey>);

impl Client {
    /// No client: for what this service does of its own accord.
    pub(crate) const NONE: Self = Self(None);

    /// Of a call's metadata.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        let named = metadata.get(metadata::CLIENT_ADDRESS).and_then(|value| value.to_str().ok());
        Self(named.and_then(|text| text.parse().ok()).map(ClientKey::of))
    }

    /// A client of its own for every number.
    #[cfg(test)]
    pub(super) fn numbered(number: u8) -> Self {
        Self(Some(ClientKey::of([192, 0, 2, number].into())))
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
