//! The link to the hosted verification.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use http::{Method, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Sumsub;
use crate::domain::outage::Outage;
use crate::kyc::{Redirect, Session};
use crate::partner::{self, Reply};

const PATH: &str = "/resources/sdkIntegrations/levels/-/websdkLink";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkRequest<'a> {
    level_name: &'a str,
    user_id: String,
    ttl_in_secs: u64,
    redirect: Return<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Return<'a> {
    success_url: &'a str,
    reject_url: &'a str,
}

#[derive(Deserialize)]
struct LinkReply {
    url: String,
}

/// Sumsub's error body, without its description, which may repeat what we sent.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ErrorReply {
    correlation_id: String,
    error_code: Option<i64>,
    error_name: String,
}

impl Sumsub {
    /// Asks for a link. The same customer never becomes a second applicant there, so this both creates and resumes.
    pub(super) async fn link(&self, session: Session<'_>) -> Result<Redirect, Outage> {
        let body = serde_json::to_vec(&LinkRequest {
            level_name: &self.level,
            user_id: session.customer_id.to_string(),
            ttl_in_secs: self.link_ttl.as_secs(),
            redirect: Return { success_url: session.return_url, reject_url: session.return_url },
        })
        .map_err(|_| Outage::new("Sumsub: the request cannot be written"))?;
        let url = self.partner.url(PATH);
        let signature = self.sign(session.now_s, &Method::POST, (&url, &body));
        let request = self
            .partner
            .client()
            .post(url)
            .header("X-App-Token", self.app_token.clone())
            .header("X-App-Access-Ts", session.now_s)
            .header("X-App-Access-Sig", signature)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(body);
        read(&self.partner.send(request).await?)
    }

    /// Lower-case hex HMAC-SHA256 of time ‖ method ‖ path with query ‖ body.
    fn sign(&self, now_s: i64, method: &Method, (url, body): (&Url, &[u8])) -> String {
        let mut context =
            hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose_secret().as_bytes()));
        context.update(now_s.to_string().as_bytes());
        context.update(method.as_str().as_bytes());
        context.update(url.path().as_bytes());
        if let Some(query) = url.query() {
            context.update(b"?");
            context.update(query.as_bytes());
        }
        context.update(body);
        hex::encode(context.sign())
    }
}

fn read(reply: &Reply) -> Result<Redirect, Outage> {
    if !reply.status.is_success() {
        return Err(refusal(reply));
    }
    let answer: Option<LinkReply> = serde_json::from_slice(&reply.body).ok();
    // The browser is sent there: nothing but a web address will do.
    let url = answer.and_then(|answer| Url::parse(&answer.url).ok()).filter(partner::confidential);
    match url {
        Some(url) => Ok(Redirect { url: url.into() }),
        None => Err(Outage::new(format!("Sumsub: the answer holds no https link ({})", reply.status))),
    }
}

fn refusal(reply: &Reply) -> Outage {
    let error: ErrorReply = serde_json::from_slice(&reply.body).unwrap_or_default();
    let hint = match reply.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            ", check the app token, its secret and this machine's clock"
        }
        StatusCode::NOT_FOUND => ", check the level's name",
        StatusCode::BAD_REQUEST => ", check the level's name and the public URL",
        _ => "",
    };
    let mut message = format!("Sumsub refused a link{hint} ({}", reply.status);
    for (name, value) in [
        ("errorName", word(&error.error_name)),
        ("errorCode", error.error_code.map(|code| code.to_string())),
        ("correlationId", word(&error.correlation_id)),
    ] {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(message, ", {name} {value}");
        }
    }
    message.push(')');
    Outage { message, retry_after: reply.retry_after }
}

/// An identifier that may be logged, if it is one.
fn word(text: &str) -> Option<String> {
    let fit = (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.:".contains(&c));
    fit.then(|| text.to_owned())
}
