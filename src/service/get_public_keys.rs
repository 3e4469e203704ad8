//! GetPublicKeys: what verifies the signatures of webhooks. For everybody.

use super::Api;
use crate::api::v1::{GetPublicKeysResponse, PublicKey};

pub(super) fn get_public_keys(api: &Api) -> GetPublicKeysResponse {
    let key = &api.settings.webhook_key;
    GetPublicKeysResponse { keys: vec![PublicKey { key_id: key.thumbprint(), spki: key.spki_der().to_vec() }] }
}
