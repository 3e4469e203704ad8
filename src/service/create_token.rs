//! CreateToken: API key and secret for a bearer token. The one call without a caller.

use secrecy::SecretString;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::api::request_id;
use super::client::Client;
use super::failure::Outcome;
use super::fair_queue::Applicant;
use super::{Api, password};
use crate::api::v1::{CreateTokenRequest, CreateTokenResponse};
use crate::domain::{Code, Error, Timestamp, Violation};
use crate::store::programmes::{self, Credentials};

pub(super) async fn create_token(
    api: &Api,
    request: Request<CreateTokenRequest>,
) -> Result<Response<CreateTokenResponse>, Status> {
    let (id, client) = (request_id(request.metadata()), Client::of(request.metadata()));
    exchange(api, client, request.into_inner())
        .await
        .map(Response::new)
        .map_err(|failure| failure.status(id.as_deref()))
}

async fn exchange(api: &Api, client: Client, request: CreateTokenRequest) -> Outcome<CreateTokenResponse> {
    let secret = SecretString::from(request.api_secret);
    let missing: Vec<Violation> = [
        ("apiKey", request.api_key.is_empty()),
        ("apiSecret", secrecy::ExposeSecret::expose_secret(&secret).is_empty()),
    ]
    .into_iter()
    .filter(|(_, missing)| *missing)
    .map(|(field, _)| Violation { field: field.into(), code: "REQUIRED", message: "Must be given.".into() })
    .collect();
    if !missing.is_empty() {
        return Err(Error::violations(missing).into());
    }
    let now = api.clock.now();
    // Texts that are no UUID count as one key: they cannot be anybody's.
    let api_key = Uuid::try_parse(&request.api_key).unwrap_or_default();
    let known = programmes::credentials(&mut api.store.reader().await?, api_key).await?;
    if !right(api, Applicant { client, api_key }, secret, (known.as_ref(), now)).await? {
        return Err(Error::new(Code::CredentialsInvalid, "The API key and secret do not belong together.").into());
    }
    let known = known.ok_or_else(Error::internal)?;
    let (token, exp) = api.keys().tokens.issue(known.id, known.generation, now)?;
    let expires_at = u32::try_from(exp).unwrap_or(u32::MAX);
    Ok(CreateTokenResponse { token, expires_at, token_type: "Bearer".into() })
}

/// Whether the secret is that of the credentials: from the cache where it was right lately, else by its hash, if the
/// applicant has guesses left. Without credentials: never, in the same time.
async fn right(
    api: &Api,
    who: Applicant,
    secret: SecretString,
    (known, now): (Option<&Credentials>, Timestamp),
) -> Outcome<bool> {
    let hash = known.map(|known| known.api_secret_hash.clone());
    let knows = || hash.as_ref().is_some_and(|hash| api.recent_secrets.knows((who.api_key, hash), &secret, now));
    if knows() {
        return Ok(true);
    }
    let lock = api.recent_secrets.in_flight((who.api_key, hash.as_deref().unwrap_or_default()), &secret);
    let _checking = lock.lock().await;
    if knows() {
        return Ok(true);
    }
    api.guesses.reserve(&who, now)?;
    let checked = password::verify(who, secret.clone(), hash.clone()).await;
    if let (Ok(true), Some(hash)) = (&checked, &hash) {
        api.recent_secrets.remember((who.api_key, hash), &secret, now);
    }
    if !matches!(checked, Ok(false)) {
        api.guesses.release(&who);
    }
    checked
}
