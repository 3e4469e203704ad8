//! The Chainalysis sanctions API.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::address::Entry;
use super::{Hit, Outage, Screened, ScreeningProvider, Verdict, unreadable};
use crate::domain::screening::SANCTIONED_ADDRESS;
use crate::partner::{Partner, Reply, SetupError};

/// Asks `GET {base}/api/v1/address/{address}`. Knows addresses, not chains: a listed address is listed on all.
#[derive(Debug)]
pub struct Chainalysis {
    partner: Partner,
    key: HeaderValue,
}

/// The part of an answer that is read. The field must be there: anything else is no answer.
#[derive(Deserialize)]
struct Answer {
    identifications: Vec<Identification>,
}

#[derive(Deserialize)]
struct Identification {
    #[serde(default)]
    name: Option<String>,
}

impl Chainalysis {
    /// The public service.
    pub const BASE: &str = "https://public.chainalysis.com";

    /// A client; each question is answered within `deadline` or counts as an outage.
    ///
    /// # Errors
    /// When the base address or the key is unfit.
    pub fn new(base: &Url, key: &SecretString, deadline: Duration) -> Result<Self, SetupError> {
        let mut key =
            HeaderValue::from_str(key.expose_secret()).map_err(|_| SetupError::Credential("the Chainalysis key"))?;
        key.set_sensitive(true);
        Ok(Self { partner: Partner::new("Chainalysis", base, deadline)?, key })
    }
}

impl ScreeningProvider for Chainalysis {
    async fn screen(&self, account: &str) -> Result<Screened, Outage> {
        // Parsed first: what goes into the path is then letters and digits only.
        let (Ok(Entry::On(..)), Some((_, address))) = (Entry::parse(account), account.rsplit_once(':')) else {
            return Err(unreadable("Chainalysis"));
        };
        let url = self.partner.url(&format!("/api/v1/address/{address}"));
        let request = self
            .partner
            .client()
            .get(url)
            .header("X-API-Key", self.key.clone())
            .header(http::header::ACCEPT, "application/json");
        let verdict = verdict(&self.partner.send(request).await?)?;
        Ok(Screened { verdict, by: "Chainalysis".to_owned() })
    }
}

fn verdict(reply: &Reply) -> Result<Verdict, Outage> {
    let retry_after = reply.retry_after;
    let outage = |what: &str| Outage { message: format!("Chainalysis: {what} ({})", reply.status), retry_after };
    match reply.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(outage("the API key is refused, check the configuration"));
        }
        StatusCode::TOO_MANY_REQUESTS => return Err(outage("too many requests")),
        _ => return Err(outage("no verdict")),
    }
    let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| outage("the answer is not understood"))?;
    Ok(match answer.identifications.first() {
        None => Verdict::Clear,
        Some(first) => {
            Verdict::Hit(Hit::new(SANCTIONED_ADDRESS, first.name.as_deref().unwrap_or("Chainalysis sanctions API")))
        }
    })
}
