//! `customerd listen`: the event stream, forwarded as webhooks to a receiver under development.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::call::{Client, profile};
use crate::clock::Clock;
use crate::config::Common;
use crate::outbound::standard::{Message, Secret, new_secret};
use crate::telemetry;

/// Longest silence of the stream, which says at least every 15 seconds that it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// Before a lost stream is taken up again.
const PAUSE: Duration = Duration::from_secs(1);
/// The receiver's time for an answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// What to forward, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every event becomes one POST with the headers of Standard Webhooks, signed under the secret that is shown at the start.
Nothing is tried again. A stream that breaks is taken up where it was.")]
pub struct Listen {
    /// The receiver, such as http://localhost:3000/hook
    #[arg(long, value_name = "URL")]
    forward_to: Url,
    /// Only these types, separated by commas, such as customer.updated
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Where to begin: the cursor of an event [default: what comes from now on]
    #[arg(long, default_value = "now", hide_default_value = true)]
    cursor: String,
    /// Sign under this secret, whsec_… [default: a new one]
    #[arg(long, env = "CUSTOMERD_LISTEN_SECRET", value_name = "SECRET", hide_env_values = true)]
    secret: Option<SecretString>,
    /// The programme's profile [default: DATA_DIR/sandbox.json]
    #[arg(long, env = "CUSTOMERD_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The private key to sign with, PEM, where the profile has none [default: that of the profile]
    #[arg(long, env = "CUSTOMERD_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Forwards until it is interrupted.
///
/// # Errors
///
/// No profile, no connection at the start, or a call that is refused.
pub(super) async fn run(args: &Listen, common: &Common) -> anyhow::Result<()> {
    let clock = Clock::system();
    let text = args.secret.clone().unwrap_or_else(|| new_secret(&clock.random()));
    let secret = Secret::parse(&text).context("--secret: want whsec_ and 24 to 64 bytes of base64")?;
    let client = Client::signing(profile(args.profile.as_ref(), common)?, args.key.as_deref())?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE).build()?;
    let colours = telemetry::in_colour(&std::io::stdout());
    let forward = Forward { http, secret, to: args.forward_to.clone(), clock: clock.clone(), colours };
    let mut listener = Listener { client, clock, types: args.types.clone(), cursor: args.cursor.clone() };
    listener.begin().await?;
    super::print(&format!("Forwarding events to {}", args.forward_to))?;
    super::print(&format!("Signing secret: {}", text.expose_secret()))?;
    let mut told = "";
    loop {
        let why = match listener.follow(&forward).await? {
            Lost::Ended => "the stream ended",
            Lost::Broke => "the stream broke",
            Lost::Unreachable => "the service cannot be reached",
        };
        if why != told {
            super::note(&format!("{why}: going on from where it was"));
            told = why;
        }
        listener.clock.sleep(PAUSE).await;
    }
}

/// Why a stream is over.
enum Lost {
    Ended,
    Broke,
    Unreachable,
}

struct Listener {
    client: Client,
    clock: Clock,
    types: Vec<String>,
    cursor: String,
}

impl Listener {
    /// Turns `now` into a cursor, so that nothing is missed if the stream breaks before its first event.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let path = format!("{}&pageSize=1", self.path());
        let token = self.client.token().await?;
        let with = (token.as_str(), self.clock.id(), self.clock.now().unix_seconds());
        let answer = accepted(self.client.send((&Method::GET, &path), None, with).await?).await?;
        if self.cursor == "now" {
            let page: Value = answer.json().await.context("the answer is no JSON")?;
            self.cursor = page["nextCursor"].as_str().context("the answer has no nextCursor")?.to_owned();
        }
        Ok(())
    }

    fn path(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("cursor", &self.cursor);
        for name in &self.types {
            query.append_pair("types", name);
        }
        format!("/v1/events?{}", query.finish())
    }

    /// Follows the stream to its end.
    async fn follow(&mut self, forward: &Forward) -> anyhow::Result<Lost> {
        let Ok(token) = self.client.token().await else { return Ok(Lost::Unreachable) };
        let with = (token.as_str(), self.clock.id(), self.clock.now().unix_seconds());
        let request = self.client.signed((&Method::GET, &self.path()), None, with)?;
        let Ok(answer) = request.header(header::ACCEPT, "text/event-stream").send().await else {
            return Ok(Lost::Unreachable);
        };
        if answer.status().is_server_error() || answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Lost::Unreachable);
        }
        let mut answer = accepted(answer).await?;
        let mut read = Vec::new();
        loop {
            match self.clock.timeout(SILENCE, answer.chunk()).await {
                Ok(Ok(Some(bytes))) => read.extend_from_slice(&bytes),
                Ok(Ok(None)) => return Ok(Lost::Ended),
                Ok(Err(_)) | Err(_) => return Ok(Lost::Broke),
            }
            while let Some(end) = read.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = read.drain(..end + 2).collect();
                self.frame(&String::from_utf8_lossy(&frame), forward).await?;
            }
        }
    }

    /// One server-sent event: an id and a line of data, or a comment, or the service's error.
    async fn frame(&mut self, frame: &str, forward: &Forward) -> anyhow::Result<()> {
        let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
        let (Some(data), false) = (data, frame.starts_with("event: error")) else { return Ok(()) };
        let event: Value = serde_json::from_str(data).context("an event is no JSON")?;
        if let Some(cursor) = event["cursor"].as_str() {
            self.cursor = cursor.to_owned();
        }
        super::print(&forward.event(event).await)
    }
}

/// The answer if it is one of success, else its reason.
async fn accepted(answer: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    let fields = problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["message"].as_str());
    let reasons: Vec<_> = problem["detail"].as_str().into_iter().chain(fields).collect();
    anyhow::bail!("{status}: {}", if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join(" ") })
}

struct Forward {
    http: reqwest::Client,
    secret: Secret,
    to: Url,
    clock: Clock,
    colours: bool,
}

impl Forward {
    /// Posts an event as a webhook; the line that says how it went.
    async fn event(&self, mut event: Value) -> String {
        if let Some(members) = event.as_object_mut() {
            members.shift_remove("cursor");
        }
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let (at, began, body) = (self.clock.now(), self.clock.monotonic(), event.to_string());
        let message = Message { id: text("eventId"), at, body: body.as_bytes() };
        let request = self
            .http
            .post(self.to.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", at.unix_seconds())
            .header("webhook-signature", message.signature([&self.secret]))
            .body(body.clone());
        let (good, outcome) = match request.send().await {
            Ok(answer) => (answer.status().is_success(), answer.status().to_string()),
            Err(error) if error.is_connect() => (false, "nobody listens there".to_owned()),
            Err(error) if error.is_timeout() => (false, "no answer in time".to_owned()),
            Err(error) => (false, error.to_string()),
        };
        let took = self.clock.monotonic().saturating_sub(began).as_millis();
        let outcome = match (self.colours, good) {
            (false, _) => outcome,
            (true, true) => format!("\x1b[32m{outcome}\x1b[0m"),
            (true, false) => format!("\x1b[31m{outcome}\x1b[0m"),
        };
        let (kind, id, status) = (text("webhookType"), text("id"), text("status"));
        format!("{at}  {kind}  {id}  {status}  version {}  {outcome}  {took} ms", event["version"])
    }
}
