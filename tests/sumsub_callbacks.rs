//! Which callbacks of Sumsub are believed, and what they mean.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/sumsub.rs"]
mod sumsub;

use axum::http::HeaderMap;
use customerd::domain::kyc::{KycState, KycStatus, Outcome, Reason};
use customerd::kyc::{CALLBACK_MAX, Callback, Decision, KycProvider, Refused, Sumsub};
use serde_json::{Value, json};
use sumsub::{Signed, StandIn, event, reviewed};
use uuid::Uuid;

const CUSTOMER: Uuid = Uuid::from_u128(7);

async fn provider() -> Sumsub {
    StandIn::start().await.client()
}

fn read(provider: &Sumsub, body: &Value) -> Result<Option<Callback>, Refused> {
    let Signed { headers, body } = Signed::new(body);
    provider.parse_callback(&headers, &body)
}

fn decision(provider: &Sumsub, body: &Value) -> Decision {
    read(provider, body).unwrap().unwrap().decision
}

/// The digests of this text under the stand-in's webhook secret, computed with Python's hmac module.
const TEXT: &str = r#"{"type":"applicantTagsChanged"}"#;
const SHA1: &str = "a3ab19f7d4c41c311324a68fc619fa160d357925";
const SHA256: &str = "e8fb2509576fd76ed06758c5d72f63ae26312b75fa7d29c1d08b316d38a07481";
const SHA512: &str = "a80ebc8873e86837adbbd71d61a111e9948957050dda9eebf83d33f0f8a6994b27ca4a97b56abb4fad387c6bc254e237569a4df6d09f60b546cbce9f75994480";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[tokio::test]
async fn digests_of_sha_256_and_sha_512_are_believed() {
    let provider = provider().await;
    for (algorithm, digest) in [("HMAC_SHA256_HEX", SHA256), ("HMAC_SHA512_HEX", SHA512)] {
        let headers = headers(&[("x-payload-digest-alg", algorithm), ("x-payload-digest", digest)]);
        assert_eq!(provider.parse_callback(&headers, TEXT.as_bytes()), Ok(None));
        let altered = TEXT.replace("Tags", "Tag");
        assert_eq!(provider.parse_callback(&headers, altered.as_bytes()), Err(Refused::Forged));
    }
}

#[tokio::test]
async fn nothing_else_is_believed() {
    let provider = provider().await;
    let refused =
        |pairs: &[(&'static str, &str)]| provider.parse_callback(&headers(pairs), TEXT.as_bytes()).unwrap_err();
    let (alg, dig) = ("x-payload-digest-alg", "x-payload-digest");
    assert_eq!(refused(&[]), Refused::Digest);
    assert_eq!(refused(&[(dig, SHA256)]), Refused::Digest);
    assert_eq!(refused(&[(alg, "HMAC_SHA256_HEX")]), Refused::Digest);
    assert_eq!(refused(&[(alg, "HMAC_SHA1_HEX"), (dig, SHA1)]), Refused::Digest);
    assert_eq!(refused(&[(alg, "NONE"), (dig, SHA256)]), Refused::Digest);
    assert_eq!(refused(&[(alg, "HMAC_SHA256_HEX"), (dig, "not hex")]), Refused::Digest);
    assert_eq!(refused(&[(alg, "HMAC_SHA256_HEX"), (dig, SHA256), (dig, SHA256)]), Refused::Digest);
    assert_eq!(refused(&[(alg, "HMAC_SHA256_HEX"), (dig, "")]), Refused::Forged);
    assert_eq!(refused(&[(alg, "HMAC_SHA256_HEX"), (dig, &SHA256[..62])]), Refused::Forged);
    assert_eq!(refused(&[(alg, "HMAC_SHA256_HEX"), (dig, SHA512)]), Refused::Forged);
    let forged = Signed::with("guessed", &reviewed(CUSTOMER, 1, json!({"reviewAnswer": "GREEN"})));
    assert_eq!(provider.parse_callback(&forged.headers, &forged.body), Err(Refused::Forged));
}

#[tokio::test]
async fn a_body_is_verified_before_it_is_read() {
    let provider = provider().await;
    let none = HeaderMap::new();
    assert_eq!(provider.parse_callback(&none, b"{"), Err(Refused::Digest));
    let garbage = Signed { body: b"{".to_vec(), ..Signed::new(&json!({})) };
    assert_eq!(provider.parse_callback(&garbage.headers, &garbage.body), Err(Refused::Forged));
}

#[tokio::test]
async fn authentic_nonsense_is_refused_without_repeating_it() {
    let provider = provider().await;
    let refused = |body: &Value| read(&provider, body).unwrap_err().to_string();
    insta::assert_snapshot!(refused(&json!([])), @"the callback is malformed: not the documented JSON");
    let mut body = event("applicantPending", CUSTOMER, 1);
    body["createdAtMs"] = "yesterday".into();
    insta::assert_snapshot!(refused(&body), @"the callback is malformed: createdAtMs is no time");
    // Who is named is asked first: what is about nobody of ours is acknowledged.
    body["externalUserId"] = Value::Null;
    assert_eq!(read(&provider, &body), Ok(None));
    body.as_object_mut().unwrap().remove("externalUserId");
    assert_eq!(read(&provider, &body), Ok(None));
    let long = json!({ "type": "applicantPending", "padding": "x".repeat(CALLBACK_MAX) });
    insta::assert_snapshot!(refused(&long), @"the callback is malformed: longer than 64 KiB");
}

#[tokio::test]
async fn each_type_has_its_meaning() {
    let provider = provider().await;
    let status = |kind: &str| {
        let callback = read(&provider, &event(kind, CUSTOMER, 1)).unwrap();
        callback.map_or("nothing", |callback| callback.decision.status().as_str())
    };
    let kinds = [
        "applicantCreated",
        "applicantPending",
        "applicantPrechecked",
        "applicantOnHold",
        "applicantAwaitingUser",
        "applicantAwaitingService",
        "applicantReset",
        "applicantReviewed",
        "applicantWorkflowCompleted",
        "applicantWorkflowFailed",
        "applicantActionPending",
        "applicantActionReviewed",
        "applicantActionOnHold",
        "applicantPersonalInfoChanged",
        "applicantTagsChanged",
        "applicantLevelChanged",
        "applicantActivated",
        "applicantDeactivated",
        "applicantDeleted",
        "videoIdentStatusChanged",
        "videoIdentCompositionCompleted",
        "applicantOfTheFuture",
    ];
    let table = kinds.map(|kind| format!("{kind}: {}", status(kind))).join("\n");
    insta::assert_snapshot!(table, @r"
    applicantCreated: in_progress
    applicantPending: in_review
    applicantPrechecked: in_review
    applicantOnHold: in_review
    applicantAwaitingUser: needs_information
    applicantAwaitingService: in_review
    applicantReset: in_progress
    applicantReviewed: in_review
    applicantWorkflowCompleted: in_review
    applicantWorkflowFailed: in_review
    applicantActionPending: nothing
    applicantActionReviewed: nothing
    applicantActionOnHold: nothing
    applicantPersonalInfoChanged: nothing
    applicantTagsChanged: nothing
    applicantLevelChanged: nothing
    applicantActivated: nothing
    applicantDeactivated: nothing
    applicantDeleted: nothing
    videoIdentStatusChanged: nothing
    videoIdentCompositionCompleted: nothing
    applicantOfTheFuture: nothing
    ");
}

#[tokio::test]
async fn a_review_passes_only_when_it_is_green() {
    let provider = provider().await;
    let status = |result: Value| decision(&provider, &reviewed(CUSTOMER, 1, result)).status();
    assert_eq!(status(json!({"reviewAnswer": "GREEN"})), KycStatus::Approved);
    assert_eq!(status(json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL"})), KycStatus::Rejected);
    assert_eq!(status(json!({"reviewAnswer": "RED", "reviewRejectType": "RETRY"})), KycStatus::NeedsInformation);
    assert_eq!(status(json!({"reviewAnswer": "RED"})), KycStatus::NeedsInformation);
    for open in [json!(null), json!({}), json!({"reviewAnswer": "YELLOW"}), json!({"reviewAnswer": "green"})] {
        assert_eq!(status(open), KycStatus::InReview);
    }
}

#[tokio::test]
async fn a_callback_carries_what_is_needed_and_no_more() {
    let provider = provider().await;
    let callback = read(
        &provider,
        &reviewed(
            CUSTOMER,
            321,
            json!({
                "reviewAnswer": "RED",
                "reviewRejectType": "RETRY",
                "rejectLabels": ["UNSATISFACTORY_PHOTOS", "FORGERY"],
                "moderationComment": "Please send a colour photo.",
                "clientComment": "Looks like Jane Doe's cousin",
            }),
        ),
    );
    insta::assert_debug_snapshot!(callback.unwrap().unwrap(), @r#"
    Callback {
        provider: "sumsub",
        event_key: "sumsub:a2fe25150e11f2152ffc12ecdee8df4c",
        customer_id: 00000000-0000-0000-0000-000000000007,
        occurred_at_ms: 1700000000321,
        decision: NeedsInformation(
            [
                Reason {
                    code: "DOCUMENT_UNREADABLE",
                    message: "The picture of the document is not clear enough. Please send a sharp, well-lit one.",
                },
                Reason {
                    code: "MORE_INFORMATION_REQUIRED",
                    message: "More information is needed. Please open the verification again to see what.",
                },
                Reason {
                    code: "REVIEWER_COMMENT",
                    message: "Please send a colour photo.",
                },
            ],
        ),
        test_mode: false,
    }
    "#);
}

#[tokio::test]
async fn another_level_proves_nothing_but_may_condemn() {
    let provider = provider().await;
    let other = |result: Value| {
        let mut body = reviewed(CUSTOMER, 1, result);
        body["levelName"] = "phone-only".into();
        read(&provider, &body).unwrap().map(|callback| callback.decision.status())
    };
    assert_eq!(other(json!({"reviewAnswer": "GREEN"})), None);
    assert_eq!(other(json!({"reviewAnswer": "RED", "reviewRejectType": "RETRY"})), None);
    assert_eq!(other(json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL"})), Some(KycStatus::Rejected));
}

#[tokio::test]
async fn applicants_that_are_not_ours_are_acknowledged() {
    let provider = provider().await;
    let mut body = event("applicantPending", CUSTOMER, 1);
    body["externalUserId"] = "made-in-the-dashboard".into();
    assert_eq!(read(&provider, &body), Ok(None));
}

#[tokio::test]
async fn a_retry_of_a_delivery_is_the_same_event() {
    let provider = provider().await;
    let key = |body: &Value| read(&provider, body).unwrap().unwrap().event_key;
    let green = reviewed(CUSTOMER, 1, json!({"reviewAnswer": "GREEN"}));
    let mut again = green.clone();
    again["correlationId"] = "req-of-the-second-delivery".into();
    assert_eq!(key(&green), key(&again));
    assert_eq!(key(&green).len(), 39);
    assert_ne!(key(&green), key(&reviewed(CUSTOMER, 2, json!({"reviewAnswer": "GREEN"}))));
    assert_ne!(key(&green), key(&reviewed(CUSTOMER, 1, json!({"reviewAnswer": "RED"}))));
}

#[tokio::test]
async fn a_story_out_of_order_ends_as_in_order() {
    let provider = provider().await;
    let mut state = KycState::default().opened();
    let mut told = vec![];
    for body in [
        reviewed(CUSTOMER, 400, json!({"reviewAnswer": "GREEN"})),
        reviewed(CUSTOMER, 200, json!({"reviewAnswer": "RED", "reviewRejectType": "RETRY"})),
        reviewed(CUSTOMER, 400, json!({"reviewAnswer": "GREEN"})),
        event("applicantPending", CUSTOMER, 300),
        event("applicantCreated", CUSTOMER, 100),
        reviewed(
            CUSTOMER,
            500,
            json!({"reviewAnswer": "RED", "reviewRejectType": "FINAL", "rejectLabels": ["FORGERY"]}),
        ),
        reviewed(CUSTOMER, 600, json!({"reviewAnswer": "GREEN"})),
    ] {
        told.push(match state.apply(&read(&provider, &body).unwrap().unwrap()) {
            Outcome::Ignored(why) => format!("{why:?}"),
            Outcome::Changed(next) => {
                state = next;
                state.status.as_str().to_owned()
            }
        });
    }
    assert_eq!(told, ["approved", "Older", "Duplicate", "Older", "Older", "rejected", "Final"]);
    assert_eq!(state.reasons, [Reason::new("VERIFICATION_DECLINED", "The verification could not be approved.")]);
}
