//! CreateToken: API key and secret for a bearer token. The one call without a caller.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OwnedMutexGuard;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::api::request_id;
use super::client::Client;
use super::failure::Outcome;
use super::fair_queue::Applicant;
use super::{Api, password};
use crate::api::v1::{CreateTokenRequest, CreateTokenResponse};
use crate::domain::{Code, Error, Violation};
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
    // Texts that are no UUID count as one key: they cannot be anybody's.
    let api_key = Uuid::try_parse(&request.api_key).unwrap_or_default();
    let known = programmes::credentials(&mut api.store.reader().await?, api_key).await?;
    if !right(api, Applicant { client, api_key }, secret, known.as_ref()).await? {
        return Err(Error::new(Code::CredentialsInvalid, "The API key and secret do not belong together.").into());
    }
    let known = known.ok_or_else(Error::internal)?;
    let (token, exp) = api.keys().tokens.issue(known.id, known.generation, api.clock.now())?;
    let expires_at = u32::try_from(exp).unwrap_or(u32::MAX);
    Ok(CreateTokenResponse { token, expires_at, token_type: "Bearer".into() })
}

/// Whether the secret is that of the credentials. Without credentials: never, in the same time. An applicant that has no
/// guesses left waits for its turn; only then, and only where the secret is wrong, is it told so.
async fn right(api: &Api, who: Applicant, secret: SecretString, known: Option<&Credentials>) -> Outcome<bool> {
    let now = api.clock.monotonic();
    let attempt = Attempt { api, who, secret, hash: known.map(|known| known.api_secret_hash.clone()) };
    let refused = {
        let _checking = attempt.lock().await;
        let known = attempt.known(now);
        if known == Some(true) {
            return Ok(true);
        }
        match (api.guesses.reserve(&who, now), known) {
            (Ok(()), Some(right)) => return Ok(right),
            (Ok(()), None) => {
                let checked = attempt.verify(now).await;
                if !matches!(checked, Ok(false)) {
                    api.guesses.release(&who);
                }
                return checked;
            }
            (Err(refused), Some(_)) => return Err(refused.into()),
            (Err(refused), None) => refused,
        }
    };
    let Some(wait) = api.guesses.queue(&who, now) else { return Err(refused.into()) };
    api.clock.sleep(wait).await;
    let _checking = attempt.lock().await;
    let now = api.clock.monotonic();
    let right = match attempt.known(now) {
        Some(right) => right,
        None => attempt.verify(now).await?,
    };
    if right { Ok(true) } else { Err(refused.into()) }
}

/// A secret that is to be checked.
struct Attempt<'a> {
    api: &'a Api,
    who: Applicant,
    secret: SecretString,
    /// The hash of the right one; none where the API key is nobody's.
    hash: Option<String>,
}

impl Attempt<'_> {
    fn credentials(&self) -> (Uuid, &str) {
        (self.who.api_key, self.hash.as_deref().unwrap_or_default())
    }

    /// Others with the same secret wait meanwhile, and find what became of it.
    async fn lock(&self) -> OwnedMutexGuard<()> {
        self.api.recent_secrets.in_flight(self.credentials(), &self.secret).lock_owned().await
    }

    /// Whether the secret was right when it was last checked, if that was lately.
    fn known(&self, now: Duration) -> Option<bool> {
        let recent = &self.api.recent_secrets;
        if self.hash.is_some() && recent.knows(self.credentials(), &self.secret, now) {
            return Some(true);
        }
        recent.was_wrong(self.credentials(), &self.secret).then_some(false)
    }

    /// Compares it with the hash, and remembers the result.
    async fn verify(&self, now: Duration) -> Outcome<bool> {
        let right = password::verify(self.who, self.secret.clone(), self.hash.clone()).await?;
        if right {
            self.api.recent_secrets.remember(self.credentials(), &self.secret, now);
        } else {
            self.api.recent_secrets.remember_wrong(self.credentials(), &self.secret, now);
        }
        Ok(right)
    }
}
