//! Who is calling: bearer token or operator token, and the signature that the REST front found.

mod operator;

use aws_lc_rs::constant_time;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;
use uuid::Uuid;

use super::Api;
use super::api::idempotency_key;
use super::failure::{Outcome, refusal};
use super::revocation::Basis;
use super::token::refused;
use crate::api::access::{Rpc, Signature};
use crate::api::metadata;
use crate::clock::Bounds;
use crate::domain::operator::{Operator, Role};
use crate::domain::programme::Programme;
use crate::domain::{Code, Error, Timestamp};
use crate::signature::{Candidate, Evidence, MAX_AGE, MAX_SKEW, PublicKey};
use crate::store::idempotency::{self, Slot};
use crate::store::programmes::{self, Bearer};
use crate::store::signing_keys::{self, Nonce};
use crate::store::{self, Precondition, Standing, Tx};

/// How an operator's token begins.
pub const OPERATOR_TOKEN: &str = "cop_";

/// Whose call it is. Only this file makes one, so a handler that has one has an authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    programme: Programme,
    operator: Option<Operator>,
    standing: Option<Precondition>,
    /// What must stay valid while a stream of the caller is open.
    basis: Basis,
    unsigned: bool,
}

impl Caller {
    /// The programme that the call is for.
    pub(crate) fn programme(&self) -> &Programme {
        &self.programme
    }

    /// The operator, when one acts for the programme.
    pub(crate) fn operator(&self) -> Option<&Operator> {
        self.operator.as_ref()
    }

    /// What the store must still be asked, of a caller who was let in by memory.
    pub(crate) fn standing(&self) -> Option<&Precondition> {
        self.standing.as_ref()
    }

    /// What must stay valid while a stream of the caller is open.
    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Whose idempotency keys the call has: the programme's, or, where an operator calls, that operator's for this programme
    /// (nil for calls about all programmes). Neither finds what another one's equal key has stored.
    pub(crate) fn key_scope(&self) -> Uuid {
        let Some(operator) = &self.operator else { return self.programme.id };
        let both = Sha256::digest([operator.id.as_bytes().as_slice(), self.programme.id.as_bytes()].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&both[..16]);
        // Version 8: never the id of a programme.
        uuid::Builder::from_custom_bytes(id).into_uuid()
    }

    /// Where version 0.1 kept the response under an operator's key: by the call's programme alone. What was stored
    /// without a programme is for admins alone, as all operators were.
    pub(crate) fn unscoped_keys(&self) -> Option<Uuid> {
        let operator = self.operator.as_ref()?;
        (!self.programme.id.is_nil() || operator.role == Role::Admin).then_some(self.programme.id)
    }

    /// Whether it came over REST without a signature, as a first signing key may.
    pub(crate) fn is_unsigned(&self) -> bool {
        self.unsigned
    }

    /// The actor of what the call changes.
    pub(crate) fn actor(&self) -> String {
        self.operator().map_or_else(|| "programme".to_owned(), |operator| format!("operator:{}", operator.name))
    }
}

/// Authenticates a call from its metadata.
pub(super) async fn authenticate(
    api: &Api,
    metadata: &MetadataMap,
    rpc: &'static Rpc,
    now: Timestamp,
) -> Outcome<Caller> {
    let token = bearer_token(metadata)?;
    let front = metadata.get(metadata::FRONT).is_some();
    if let Some(operator) = token.strip_prefix(OPERATOR_TOKEN) {
        if front {
            return Err(refused("Operators call over gRPC, not over REST.").into());
        }
        return operator::authenticate(api, (operator, now), metadata, rpc).await;
    }
    let claims = api.keys_for(token).await?.tokens.read(token, now)?;
    let evidence = evidence_of(metadata)?;
    let key_ids: Vec<&str> = evidence.iter().flat_map(|e| e.candidates()).map(Candidate::key_id).collect();
    let rows = programmes::bearer(&mut api.store.reader().await?, claims.sub, &key_ids).await?;
    let known = rows.first().filter(|row| !row.disabled && row.generation == claims.r#gen);
    let Some(row) = known else {
        return Err(refused("The bearer token was issued before the credentials changed.").into());
    };
    let programme = Programme { id: claims.sub, name: row.name.clone(), sandbox: row.sandbox };
    let unsigned = front && evidence.is_none();
    let key_id = match evidence {
        Some(evidence) => Some(verify(api, &programme, (&evidence, &rows), now).await?),
        None => check_unsigned(api, (&programme, now), rpc.signature, metadata).await.map(|()| None)?,
    };
    let basis = Basis::Programme(Standing { programme_id: claims.sub, generation: claims.r#gen, key_id });
    Ok(Caller { programme, operator: None, standing: None, basis, unsigned })
}

/// The same by memory, without the store. `None` where memory does not settle it: a caller that is unknown, brings a nonce, or
/// would be refused is left to [`authenticate`].
pub(super) fn remembered(api: &Api, metadata: &MetadataMap, rpc: &Rpc, now: Timestamp) -> Option<Caller> {
    let token = bearer_token(metadata).ok()?;
    if let Some(operator) = token.strip_prefix(OPERATOR_TOKEN) {
        let front = metadata.get(metadata::FRONT).is_some();
        return if front { None } else { operator::remembered(api, (operator, now), metadata, rpc) };
    }
    let claims = api.keys().tokens.read(token, now).ok()?;
    let facts = api.known.get(claims.sub)?;
    let key_id = match (evidence_of(metadata).ok()?, metadata.get(metadata::FRONT)) {
        (Some(evidence), _) => {
            let candidate = evidence.verify(now.unix_seconds(), |id| find(&facts.keys, id)).ok()?;
            if candidate.nonce().is_some() {
                return None;
            }
            Some(candidate.key_id().to_owned())
        }
        (None, None) => None,
        (None, Some(_)) => return None,
    };
    let standing = Standing { programme_id: claims.sub, generation: claims.r#gen, key_id };
    let basis = Basis::Programme(standing.clone());
    Some(Caller {
        programme: facts.programme.clone(),
        operator: None,
        standing: Some(Precondition::Programme(standing)),
        basis,
        unsigned: false,
    })
}

/// What the front found of the request's signatures, if it was signed.
fn evidence_of(metadata: &MetadataMap) -> Outcome<Option<Evidence>> {
    match metadata.get_bin(metadata::SIGNATURE_EVIDENCE).map(tonic::metadata::MetadataValue::to_bytes) {
        Some(bytes) => Ok(Some(Evidence::from_bytes(&bytes.map_err(|_| Error::internal())?)?)),
        None => Ok(None),
    }
}

/// The key of that id.
fn find<'a>(keys: &'a [(String, PublicKey)], id: &str) -> Option<&'a PublicKey> {
    let same = |known: &str| constant_time::verify_slices_are_equal(known.as_bytes(), id.as_bytes()).is_ok();
    keys.iter().find(|(known, _)| same(known)).map(|(_, key)| key)
}

fn bearer_token(metadata: &MetadataMap) -> Outcome<&str> {
    let mut values = metadata.get_all(metadata::AUTHORIZATION).iter();
    let value =
        values.next().ok_or_else(|| refused("The bearer token is missing: send `Authorization: Bearer <token>`."))?;
    if values.next().is_some() {
        return Err(refused("There is more than one Authorization.").into());
    }
    let text = value.to_str().map_err(|_| refused("The Authorization cannot be read."))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => Ok(token.trim()),
        _ => Err(refused("The Authorization is not of the form `Bearer <token>`.").into()),
    }
}

/// The hash under which an operator's token is kept. The token has 256 random bits, so a fast hash will do.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The answer to a first signing key may be lost, and without the key's id the partner cannot sign: what is answered
/// under the call's idempotency key is let through, to be answered again.
async fn check_unsigned(
    api: &Api,
    (programme, now): (&Programme, Timestamp),
    asked: Signature,
    metadata: &MetadataMap,
) -> Outcome<()> {
    let front = metadata.get(metadata::FRONT).and_then(|value| value.to_str().ok());
    let needed = match (front, asked) {
        (None, _) => {
            api.known.remember(programme, Vec::new());
            false
        }
        (Some("unchecked"), Signature::Optional) => false,
        (Some("unsigned"), Signature::AfterFirstKey | Signature::Optional) => {
            let mut reader = api.store.reader().await?;
            let slot = idempotency_key(metadata)?.map(|key| Slot {
                scope: programme.id,
                key,
                now: api.clock.bounds().earliest,
                expires_at: now,
            });
            signing_keys::any(&mut reader, programme.id).await?
                && match slot {
                    Some(slot) => idempotency::get(&mut reader, slot).await?.is_none(),
                    None => true,
                }
        }
        (Some(_), _) => true,
    };
    if needed {
        let detail = "The request is not signed: send Signature-Input and Signature (RFC 9421) by a registered key.";
        return Err(Error::new(Code::SignatureMissing, detail).into());
    }
    Ok(())
}

/// Verifies a signature; gives the id of the key that made it.
async fn verify(
    api: &Api,
    programme: &Programme,
    (evidence, rows): (&Evidence, &[Bearer]),
    now: Timestamp,
) -> Outcome<String> {
    let keys: Vec<(String, PublicKey)> = rows
        .iter()
        .filter_map(|row| Some((row.key_id.clone()?, PublicKey::from_spki_der(row.public_key.as_deref()?).ok()?)))
        .collect();
    let candidate = evidence.verify(now.unix_seconds(), |id| find(&keys, id)).map_err(|failure| {
        let refused = refusal(&failure.error);
        match failure.signature_base {
            Some(base) => refused.with("signatureBase", base),
            None => refused,
        }
    })?;
    let Some(nonce) = candidate.nonce() else {
        let key_id = candidate.key_id().to_owned();
        api.known.remember(programme, keys);
        return Ok(key_id);
    };
    // A second more, because ages are counted in whole seconds.
    let life = std::time::Duration::from_secs((MAX_AGE + MAX_SKEW + 1).unsigned_abs());
    let (programme_id, key_id) = (programme.id, candidate.key_id());
    let Bounds { earliest, latest } = api.clock.bounds();
    let nonce = UseNonce(Nonce { programme_id, key_id, nonce, now: earliest, expires_at: latest + life });
    if api.store.transact(&nonce).await? {
        return Ok(key_id.to_owned());
    }
    let detail = "The signature's nonce was used before by this key. Sign every request anew, retries too.";
    Err(Error::new(Code::SignatureReplayed, detail).into())
}

struct UseNonce<'a>(Nonce<'a>);

impl store::Change for UseNonce<'_> {
    type Out = bool;
    type Error = store::Error;

    async fn apply(&self, tx: &mut Tx) -> Result<bool, store::Error> {
        signing_keys::use_nonce(tx, self.0).await
    }
}
