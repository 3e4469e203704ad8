//! Chainalysis against a stand-in, the sandbox's test addresses, and how providers combine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use customerd::partner::SetupError;
use customerd::screening::{
    Chainalysis, ListFile, Lists, OUTAGE_ADDRESSES, OUTAGE_TRIES, Outage, REJECTED_ADDRESSES, Sandbox, Screened,
    Screening, ScreeningProvider, Verdict,
};
use url::Url;

const ACCOUNT: &str = "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";
const KEY: &str = "the-key-of-the-test";

/// What the stand-in does next.
#[derive(Clone)]
enum Act {
    Json(&'static str),
    Status(u16, Option<&'static str>),
    Huge,
    Hang,
}

#[derive(Clone)]
struct StandIn {
    act: Arc<Mutex<Act>>,
    asked: Arc<Mutex<Vec<String>>>,
    base: Url,
}

async fn answer(State(it): State<StandIn>, Path(address): Path<String>, headers: HeaderMap) -> Response {
    it.asked.lock().unwrap().push(address);
    if headers.get("x-api-key").is_none_or(|key| key != KEY) {
        return (StatusCode::FORBIDDEN, r#"{"message":"Forbidden"}"#).into_response();
    }
    let act = it.act.lock().unwrap().clone();
    match act {
        Act::Json(body) => body.into_response(),
        Act::Status(status, after) => {
            let mut response = StatusCode::from_u16(status).unwrap().into_response();
            if let Some(after) = after {
                response.headers_mut().insert("retry-after", after.parse().unwrap());
            }
            response
        }
        Act::Huge => format!(r#"{{"identifications":[],"padding":"{}"}}"#, "x".repeat(70_000)).into_response(),
        Act::Hang => std::future::pending().await,
    }
}

fn verdict(screened: Result<Screened, Outage>) -> Result<Verdict, Outage> {
    screened.map(|screened| screened.verdict)
}

impl StandIn {
    async fn start(act: Act) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let it = Self { act: Arc::new(Mutex::new(act)), asked: Arc::default(), base };
        let router = Router::new().route("/api/v1/address/{address}", get(answer)).with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        it
    }

    fn client(&self, key: &str, deadline: Duration) -> Chainalysis {
        Chainalysis::new(&self.base, &key.into(), deadline).unwrap()
    }

    async fn screened(act: Act) -> Result<Verdict, Outage> {
        verdict(Self::start(act).await.client(KEY, Duration::from_secs(30)).screen(ACCOUNT).await)
    }

    async fn outage(act: Act) -> Outage {
        Self::screened(act).await.unwrap_err()
    }
}

#[tokio::test]
async fn no_identification_is_clear_and_any_is_a_hit() {
    assert_eq!(StandIn::screened(Act::Json(r#"{"identifications":[]}"#)).await, Ok(Verdict::Clear));
    let listed = r#"{"identifications":[{"category":"sanctions","name":"SANCTIONS: OFAC SDN Lazarus","description":"…","url":"https://x"}]}"#;
    insta::assert_debug_snapshot!(StandIn::screened(Act::Json(listed)).await.unwrap(), @r#"
    Hit(
        Hit {
            reason_code: "SANCTIONED_ADDRESS",
            list: "SANCTIONS: OFAC SDN Lazarus",
            programme: None,
            entry: None,
        },
    )
    "#);
    assert!(matches!(StandIn::screened(Act::Json(r#"{"identifications":[{}]}"#)).await, Ok(Verdict::Hit(_))));
}

#[tokio::test]
async fn only_the_address_is_asked_for() {
    let it = StandIn::start(Act::Json(r#"{"identifications":[]}"#)).await;
    it.client(KEY, Duration::from_secs(30)).screen(ACCOUNT).await.unwrap();
    assert_eq!(*it.asked.lock().unwrap(), ["0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb"]);
    for odd in ["eip155:1:../../admin", "eip155:1:0xab?x", "0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb"] {
        assert!(it.client(KEY, Duration::from_secs(30)).screen(odd).await.is_err(), "{odd}");
    }
    assert_eq!(it.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_passes_because_the_provider_was_down() {
    for act in [
        Act::Json(""),
        Act::Json("{}"),
        Act::Json("[]"),
        Act::Json("<html>maintenance</html>"),
        Act::Json(r#"{"identifications":null}"#),
        Act::Huge,
        Act::Status(204, None),
        Act::Status(302, None),
        Act::Status(404, None),
        Act::Status(500, None),
        Act::Status(503, None),
    ] {
        assert_eq!(StandIn::outage(act).await.retry_after, None);
    }
    let busy = StandIn::outage(Act::Status(429, Some("17"))).await;
    assert_eq!(busy.retry_after, Some(Duration::from_secs(17)));
    let busy = StandIn::outage(Act::Status(503, Some("999999"))).await;
    assert_eq!(busy.retry_after, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_hanging_provider_is_left_at_the_deadline() {
    let it = StandIn::start(Act::Hang).await;
    let outage = it.client(KEY, Duration::from_millis(50)).screen(ACCOUNT).await.unwrap_err();
    assert_eq!(outage, Outage::new("Chainalysis: no answer within 50ms"));
}

#[tokio::test]
async fn messages_tell_operators_what_to_do_and_nothing_else() {
    let it = StandIn::start(Act::Hang).await;
    let client = it.client("wrong", Duration::from_secs(30));
    let outage = client.screen(ACCOUNT).await.unwrap_err();
    insta::assert_snapshot!(outage, @"Chainalysis: the API key is refused, check the configuration (403 Forbidden)");
    assert!(!format!("{client:?}").contains("wrong"));
    let closed = Url::parse("http://127.0.0.1:1").unwrap();
    let client = Chainalysis::new(&closed, &KEY.into(), Duration::from_secs(30)).unwrap();
    assert_eq!(client.screen(ACCOUNT).await, Err(Outage::new("Chainalysis: cannot connect")));
}

#[test]
fn a_key_is_not_sent_in_the_clear() {
    let base = Url::parse("http://public.chainalysis.com").unwrap();
    let refused = Chainalysis::new(&base, &KEY.into(), Duration::from_secs(1));
    assert!(matches!(refused, Err(SetupError::BaseUrl(_))));
}

fn on_mainnet(address: &str) -> String {
    match address.strip_prefix("0x") {
        Some(_) => format!("eip155:1:{address}"),
        None => format!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{address}"),
    }
}

#[tokio::test]
async fn test_addresses_are_rejected_in_sandbox_programmes_only() {
    let screening = Screening::default();
    assert!(!screening.is_configured());
    for address in REJECTED_ADDRESSES {
        let Ok(Verdict::Hit(hit)) = verdict(screening.screen(&on_mainnet(address), true).await) else {
            panic!("{address}")
        };
        assert_eq!(hit.reason_code, "TEST_ADDRESS");
        // Nobody can screen customers of live programmes: none of them is cleared.
        screening.screen(&on_mainnet(address), false).await.unwrap_err();
    }
    assert_eq!(verdict(screening.screen(ACCOUNT, true).await), Ok(Verdict::Clear));
}

#[tokio::test]
async fn more_test_addresses_can_be_configured() {
    let (_, address) = ACCOUNT.rsplit_once(':').unwrap();
    let screening = Screening::new(Sandbox::default().reject(&address.to_lowercase()).unwrap());
    assert!(matches!(verdict(screening.screen(ACCOUNT, true).await), Ok(Verdict::Hit(_))));
    assert_eq!(Sandbox::default().reject(ACCOUNT).unwrap_err(), ACCOUNT);
}

#[tokio::test]
async fn a_simulated_outage_passes_after_some_tries() {
    let screening = Screening::default();
    for address in OUTAGE_ADDRESSES {
        let account = on_mainnet(address);
        for _round in 0..2 {
            for _try in 0..OUTAGE_TRIES {
                screening.screen(&account, true).await.unwrap_err();
            }
            assert_eq!(verdict(screening.screen(&account, true).await), Ok(Verdict::Clear));
        }
    }
}

#[tokio::test]
async fn the_list_is_asked_first_and_chainalysis_of_those_it_clears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ofac.txt");
    std::fs::write(&path, "0x0000000000000000000000000000000000000001").unwrap();
    let it = StandIn::start(Act::Status(503, None)).await;
    let screening = Screening::default()
        .with_lists(Lists::new(vec![ListFile::open(&path).unwrap()]))
        .with_chainalysis(it.client(KEY, Duration::from_secs(30)));
    assert!(screening.is_configured());
    let listed = "eip155:1:0x0000000000000000000000000000000000000001";
    assert!(matches!(verdict(screening.screen(listed, false).await), Ok(Verdict::Hit(_))));
    assert!(it.asked.lock().unwrap().is_empty());
    screening.screen(ACCOUNT, false).await.unwrap_err();
    *it.act.lock().unwrap() = Act::Json(r#"{"identifications":[]}"#);
    let cleared = screening.screen(ACCOUNT, false).await.unwrap();
    assert_eq!(cleared.verdict, Verdict::Clear);
    assert!(cleared.by.starts_with("ofac.txt (sha256 ") && cleared.by.ends_with("; Chainalysis"), "{}", cleared.by);
}
