//! `customerd call`: one signed REST request, as a partner would send it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::app::Profile;
use crate::clock::Clock;
use crate::config::Common;
use crate::signature::{self, Head, Message, Param, PrivateKey, Recipe, digest};

/// What to call.
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints the answer's body. Exit codes: 0 for 2xx, 1 for any other answer, 2 for wrong usage.")]
pub struct Call {
    /// GET, POST, PUT, PATCH or DELETE
    #[arg(value_parser = method)]
    method: Method,
    /// Such as /v1/customers?pageSize=10
    #[arg(value_parser = path)]
    path: String,
    /// JSON body; @FILE reads it from a file, - from standard input
    #[arg(short, long, value_name = "JSON")]
    data: Option<String>,
    /// The programme's profile [default: DATA_DIR/sandbox.json]
    #[arg(long, env = "CUSTOMERD_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The private key to sign with, PEM, where the profile has none [default: that of the profile]
    #[arg(long, env = "CUSTOMERD_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Idempotency key of a modifying call [default: a new one]
    #[arg(long, value_name = "UUID")]
    idempotency_key: Option<Uuid>,
    /// A bearer token to use instead of asking for one (`customerd token` prints one)
    #[arg(long, env = "CUSTOMERD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    /// Show status and headers of the answer on standard error
    #[arg(short, long)]
    verbose: bool,
}

fn method(text: &str) -> Result<Method, String> {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let wanted = |it: &Method| it.as_str().eq_ignore_ascii_case(text);
    known.into_iter().find(wanted).ok_or_else(|| "want GET, POST, PUT, PATCH or DELETE".to_owned())
}

/// A path of the service that the profile names. `//host` and what a URL takes for it would be another's, who would get the
/// bearer token.
fn path(text: &str) -> Result<String, String> {
    let nowhere = Url::parse("http://path.invalid").map_err(|error| error.to_string())?;
    let within = nowhere.join(text).is_ok_and(|url| url.origin() == nowhere.origin());
    if text.starts_with('/') && within {
        Ok(text.to_owned())
    } else {
        Err("want a path that begins with one /, such as /v1/customers".to_owned())
    }
}

/// Calls.
///
/// # Errors
///
/// No profile, no connection, or credentials that are refused.
pub(super) async fn run(args: &Call, common: &Common) -> anyhow::Result<ExitCode> {
    let profile = profile(args.profile.as_ref(), common)?;
    let client = Client::signing(profile, args.key.as_deref())?;
    let body = args.data.as_deref().map(body).transpose()?;
    let token = match &args.token {
        Some(token) => token.expose_secret().to_owned(),
        None => client.token().await?,
    };
    let clock = Clock::system();
    let key = args.idempotency_key.unwrap_or_else(|| clock.id());
    let answer = client.send((&args.method, &args.path), body, (&token, key, clock.now().unix_seconds())).await?;
    if args.verbose {
        super::note(&format!("{:?} {}", answer.version(), answer.status()));
        for (name, value) in answer.headers() {
            super::note(&format!("{name}: {}", value.to_str().unwrap_or("…")));
        }
    }
    let success = answer.status().is_success();
    let text = answer.text().await.context("the answer broke off")?;
    if !text.is_empty() {
        super::print(&text)?;
    }
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The profile named, or the sandbox's.
pub(super) fn profile(path: Option<&PathBuf>, common: &Common) -> anyhow::Result<Profile> {
    match path {
        Some(path) => Profile::read(path),
        None => Profile::read(&common.database.data_dir.join("sandbox.json")).context(
            "no sandbox profile: start `customerd` once and it is made (for a database that has programmes already, \
                 `customerd programme create --sandbox --name NAME` prints one), or name one with --profile",
        ),
    }
}

fn body(data: &str) -> anyhow::Result<Vec<u8>> {
    match data.strip_prefix('@') {
        Some(file) if file != "-" => std::fs::read(file).with_context(|| format!("cannot read {file}")),
        _ if ["-", "@-"].contains(&data) => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        _ => Ok(data.as_bytes().to_vec()),
    }
}

/// Calls the REST API as the programme of a profile.
pub(super) struct Client {
    http: reqwest::Client,
    profile: Profile,
    key: Option<PrivateKey>,
    origin: Url,
}

impl Client {
    /// One that only gets tokens.
    pub(super) fn new(profile: Profile) -> anyhow::Result<Self> {
        Self::with(profile, None)
    }

    /// One that signs with the key in a PEM file, or with the profile's.
    pub(super) fn signing(profile: Profile, key: Option<&Path>) -> anyhow::Result<Self> {
        let (pem, of) = match (key, &profile.private_key_pem) {
            (Some(file), _) => {
                let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                (SecretString::from(pem), file.display().to_string())
            }
            (None, Some(pem)) => (pem.clone(), "privateKeyPem of the profile".to_owned()),
            (None, None) => anyhow::bail!("the profile has no private key: name the partner's own with --key FILE"),
        };
        let key = PrivateKey::parse(pem.expose_secret()).context(of)?;
        anyhow::ensure!(
            key.algorithm().name() == profile.algorithm,
            "the key is for {}, the one that was registered for {}",
            key.algorithm().name(),
            profile.algorithm
        );
        Self::with(profile, Some(key))
    }

    fn with(profile: Profile, key: Option<PrivateKey>) -> anyhow::Result<Self> {
        let origin = Url::parse(&profile.base_url).context("baseUrl of the profile")?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("customerd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, profile, key, origin })
    }

    /// A bearer token.
    pub(super) async fn token(&self) -> anyhow::Result<String> {
        let url = self.origin.join("/v1/auth/token")?;
        let credentials = json!({"apiKey": self.profile.api_key, "apiSecret": self.profile.api_secret.expose_secret()});
        let sent = self.http.post(url).json(&credentials).timeout(Duration::from_secs(30)).send().await;
        let answer =
            sent.with_context(|| format!("no answer from {}: is `customerd` running?", self.profile.base_url))?;
        let status = answer.status();
        let body: Value = answer.json().await.context("the answer is no JSON")?;
        let token = body["token"].as_str().map(str::to_owned);
        token.with_context(|| format!("no token ({status}): {}", body["detail"].as_str().unwrap_or("no reason given")))
    }

    /// Signs and sends one request. `path` may have a query.
    pub(super) async fn send(
        &self,
        call: (&Method, &str),
        body: Option<Vec<u8>>,
        with: (&str, Uuid, i64),
    ) -> anyhow::Result<reqwest::Response> {
        let request = self.signed(call, body, with)?;
        request.send().await.with_context(|| format!("no answer from {}", self.profile.base_url))
    }

    /// Signs one request.
    pub(super) fn signed(
        &self,
        (method, path): (&Method, &str),
        body: Option<Vec<u8>>,
        (token, key, now): (&str, Uuid, i64),
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let url = self.origin.join(path)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
        let mut components = vec!["@method", "@target-uri", "authorization"];
        if !method.is_safe() {
            headers.insert(signature::IDEMPOTENCY_KEY, HeaderValue::try_from(key.to_string())?);
            components.push("idempotency-key");
        }
        if let Some(body) = &body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(digest::CONTENT_DIGEST, digest::sha256(body));
            components.push("content-digest");
        }
        let uri = http::Uri::try_from(url.as_str())?;
        let head = Head { method, uri: &uri, version: Version::HTTP_11, headers: &headers };
        let params = [Param::Created(now), Param::KeyId(&self.profile.key_id)];
        let recipe = Recipe { label: "sig1", components: &components, params: &params };
        let key = self.key.as_ref().context("no key to sign with")?;
        let signed = signature::sign(&Message::outgoing(head)?, key, &recipe)?;
        headers.insert("signature-input", signed.signature_input);
        headers.insert("signature", signed.signature);
        Ok(self.http.request(method.clone(), url).headers(headers).body(body.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_with_the_service() {
        for text in ["/v1/customers", "/v1/customers?externalId=//a", "/", "/v1//x"] {
            assert_eq!(path(text).as_deref(), Ok(text));
        }
        for text in
            ["v1", "", "//evil.example/v1", "/\\evil.example/v1", "/\t/evil.example", "http://evil.example/", "@evil"]
        {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn methods_in_either_case() {
        assert_eq!(method("get"), Ok(Method::GET));
        assert!(method("FETCH").is_err() && method("BAD METHOD").is_err());
    }
}
