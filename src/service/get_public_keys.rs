//! GetPublicKeys: what verifies the signatures of webhooks. For everybody.

use super::Api;
use crate::api::v1::{GetPublicKeysResponse, PublicKey};

pub(super) fn get_public_keys(api: &Api) -> GetPublicKeysResponse {
    let keys = api.keys();
    let keys = keys.webhooks.iter().map(|(kid, key)| PublicKey { key_id: kid.clone(), spki: key.spki_der().to_vec() });
    GetPublicKeysResponse { keys: keys.collect() }
}
