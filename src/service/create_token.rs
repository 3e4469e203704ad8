//! CreateToken: API key and secret for a bearer token. The one call without a caller.

use secrecy::SecretString;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::api::request_id;
use super::failure::Outcome;
use super::{Api, password};
use crate::api::v1::{CreateTokenRequest, CreateTokenResponse};
use crate::domain::{Code, Error, Violation};
use crate::store::programmes;

pub(super) async fn create_token(
    api: &Api,
    request: Request<CreateTokenRequest>,
) -> Result<Response<CreateTokenResponse>, Status> {
    let id = request_id(request.metadata());
    exchange(api, request.into_inner()).await.map(Response::new).map_err(|failure| failure.status(id.as_deref()))
}

async fn exchange(api: &Api, request: CreateTokenRequest) -> Outcome<CreateTokenResponse> {
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
    // Texts that are no UUID share one allowance: they cannot be anybody's key.
    let key = Uuid::try_parse(&request.api_key).ok();
    let who = key.map(|key| key.to_string()).unwrap_or_default();
    api.failures.check(&who, now)?;
    let known = match key {
        Some(key) => programmes::credentials(&mut api.store.reader().await?, key).await?,
        None => None,
    };
    let matches = password::verify(secret, known.as_ref().map(|known| known.api_secret_hash.clone())).await?;
    match known {
        Some(known) if matches => {
            api.failures.succeeded(&who);
            let (token, exp) = api.keys().tokens.issue(known.id, known.generation, now)?;
            let expires_at = u32::try_from(exp).unwrap_or(u32::MAX);
            Ok(CreateTokenResponse { token, expires_at, token_type: "Bearer".into() })
        }
        _ => {
            api.failures.failed(&who, now);
            Err(Error::new(Code::CredentialsInvalid, "The API key and secret do not belong together.").into())
        }
    }
}
