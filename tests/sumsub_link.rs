//! Asking Sumsub for a link.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/sumsub.rs"]
mod sumsub;

use std::time::Duration;

use customerd::kyc::{KycProvider, Outage, Redirect, Session, Sumsub, SumsubConfig};
use customerd::partner::SetupError;
use sumsub::{Fault, NOW_S, StandIn};
use url::Url;
use uuid::Uuid;

fn session(customer: u128, now_s: i64) -> Session<'static> {
    Session {
        customer_id: Uuid::from_u128(customer),
        token: "token",
        return_url: "https://c.example/v/token?back=1",
        now_s,
    }
}

async fn outage(it: &StandIn, change: impl FnOnce(&mut SumsubConfig)) -> Outage {
    let mut config = it.config();
    change(&mut config);
    Sumsub::new(config).unwrap().start_or_resume(session(1, NOW_S)).await.unwrap_err()
}

async fn answered(status: u16, body: &str) -> Outage {
    let it = StandIn::start().await;
    it.seen.lock().unwrap().fault = Some(Fault::Answer(status, &[], body.to_owned()));
    outage(&it, |_| ()).await
}

#[tokio::test]
async fn a_customer_is_one_applicant_however_often_the_link_is_opened() {
    let it = StandIn::start().await;
    let client = it.client();
    let mut links = vec![];
    for customer in [1, 1, 2] {
        links.push(client.start_or_resume(session(customer, NOW_S)).await.unwrap());
    }
    let link = |end: &str| Redirect { url: format!("https://in.sumsub.example/websdk/p/applicant-{end}") };
    assert_eq!(links, [link("1-1"), link("1-2"), link("2-3")]);
    assert_eq!(it.seen.lock().unwrap().applicants.len(), 2);
}

#[tokio::test]
async fn the_request_is_as_documented() {
    let it = StandIn::start().await;
    it.client().start_or_resume(session(1, NOW_S)).await.unwrap();
    let seen = it.seen.lock().unwrap();
    let (headers, body) = &seen.requests[0];
    insta::assert_snapshot!(body, @r#"{"levelName":"basic-kyc-level","userId":"00000000-0000-0000-0000-000000000001","ttlInSecs":1800,"redirect":{"successUrl":"https://c.example/v/token?back=1","rejectUrl":"https://c.example/v/token?back=1"}}"#);
    assert_eq!(headers["x-app-access-ts"], "1700000000");
    // Computed with Python's hmac module.
    assert_eq!(headers["x-app-access-sig"], "d8a75cd31308db00a4bc8a7dd8f309c15e54e9851d9d3b2160216a055aa36f58");
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn the_clock_may_be_off_by_a_minute() {
    let it = StandIn::start().await;
    let client = it.client();
    for now_s in [NOW_S - 60, NOW_S + 60] {
        client.start_or_resume(session(1, now_s)).await.unwrap();
    }
    let outage = client.start_or_resume(session(1, NOW_S + 61)).await.unwrap_err();
    insta::assert_snapshot!(outage, @"Sumsub refused a link, check the app token, its secret and this machine's clock (401 Unauthorized, errorName app-token-timestamp-out-of-range, errorCode 4007, correlationId req-63f92830-4d68-4eee-98d5-875d53a12258)");
}

#[tokio::test]
async fn wrong_credentials_and_levels_are_named_to_the_operator() {
    let it = StandIn::start().await;
    insta::assert_snapshot!(outage(&it, |config| config.secret = "wrong".into()).await, @"Sumsub refused a link, check the app token, its secret and this machine's clock (401 Unauthorized, errorName app-token-signature-mismatch, errorCode 4003, correlationId req-63f92830-4d68-4eee-98d5-875d53a12258)");
    insta::assert_snapshot!(outage(&it, |config| config.level = "none".into()).await, @"Sumsub refused a link, check the level's name (404 Not Found, errorName level-not-found, errorCode 1002, correlationId req-63f92830-4d68-4eee-98d5-875d53a12258)");
}

#[tokio::test]
async fn nothing_unchecked_from_an_answer_gets_into_a_message() {
    let sly = r#"{"description":"Jane Doe","errorName":"a\nb","correlationId":"Jane Doe","errorCode":7}"#;
    insta::assert_snapshot!(answered(500, sly).await, @"Sumsub refused a link (500 Internal Server Error, errorCode 7)");
    insta::assert_snapshot!(answered(502, "<html>").await, @"Sumsub refused a link (502 Bad Gateway)");
}

#[tokio::test]
async fn only_a_web_address_is_a_link() {
    for body in [
        "",
        "{}",
        r#"{"url":""}"#,
        r#"{"url":"/relative"}"#,
        r#"{"url":"javascript:alert(1)"}"#,
        r#"{"url":"data:text/html,x"}"#,
        r#"{"url":"http://in.sumsub.example/x"}"#,
    ] {
        assert_eq!(answered(200, body).await, Outage::new("Sumsub: the answer holds no https link (200 OK)"), "{body}");
    }
    let long = format!(r#"{{"url":"https://in.sumsub.example/{}"}}"#, "x".repeat(70_000));
    assert_eq!(answered(200, &long).await, Outage::new("Sumsub: answer longer than 65536 bytes"));
    // A redirect is not followed: our signature is for one address.
    insta::assert_snapshot!(answered(302, "").await, @"Sumsub refused a link (302 Found)");
}

#[tokio::test]
async fn limits_and_silence_are_outages() {
    let it = StandIn::start().await;
    it.seen.lock().unwrap().fault = Some(Fault::Answer(429, &[("retry-after", "30")], String::new()));
    assert_eq!(outage(&it, |_| ()).await.retry_after, Some(Duration::from_secs(30)));
    it.seen.lock().unwrap().fault = Some(Fault::Hang);
    let silence = outage(&it, |config| config.deadline = Duration::from_millis(50)).await;
    assert_eq!(silence, Outage::new("Sumsub: no answer within 50ms"));
}

#[tokio::test]
async fn unfit_settings_are_refused_and_secrets_are_not_shown() {
    let it = StandIn::start().await;
    let refused = |change: fn(&mut SumsubConfig)| {
        let mut config = it.config();
        change(&mut config);
        Sumsub::new(config).unwrap_err()
    };
    assert!(matches!(refused(|c| c.webhook_secret = "".into()), SetupError::Empty(_)));
    assert!(matches!(refused(|c| c.app_token = "a\nb".into()), SetupError::Credential(_)));
    assert!(matches!(refused(|c| c.base = Url::parse("http://api.sumsub.com").unwrap()), SetupError::BaseUrl(_)));
    let shown = format!("{:?} {:?}", it.client(), it.config());
    for secret in [sumsub::SECRET, sumsub::WEBHOOK_SECRET, sumsub::APP_TOKEN] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
