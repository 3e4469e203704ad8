//! Every page, byte for byte but for the style sheet.

use super::*;

const TOKEN_PATH: &str = "/v/h5Y0b7XJxk2";

fn sentences(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

async fn html(response: Response) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body in memory");
    let html = String::from_utf8(body.to_vec()).expect("UTF-8");
    assert!(html.contains(STYLE), "the hash in the policy is that of the style sheet");
    html.replace(STYLE, "…")
}

/// The status and the page.
async fn shown(response: Response) -> String {
    format!("{}\n\n{}", response.status(), html(response).await)
}

macro_rules! snapshot {
    ($name:literal, $response:expr) => {
        insta::assert_snapshot!($name, shown($response).await)
    };
}

#[tokio::test]
async fn each_state_of_a_verification_has_its_page() {
    use VerificationView::*;
    let reasons = sentences(&["The document has expired. Please use a valid one.", "<b>Bobby</b> & \"Tables\""]);
    snapshot!("challenge_unsigned", verification_page(&ChallengeUnsigned));
    snapshot!("screening", verification_page(&Screening { again: TOKEN_PATH }));
    snapshot!("in_review", verification_page(&InReview));
    snapshot!("needs_information", verification_page(&NeedsInformation { reasons: &reasons, resume: TOKEN_PATH }));
    snapshot!("approved", verification_page(&Approved));
    snapshot!("rejected", verification_page(&Rejected { reasons: &reasons }));
    snapshot!("rejected_without_reasons", verification_page(&Rejected { reasons: &[] }));
    snapshot!("unknown_link", verification_page(&UnknownLink));
    snapshot!("not_open", verification_page(&NotOpen));
    snapshot!("unavailable", verification_page(&Unavailable { again: TOKEN_PATH, retry_after_s: 60 }));
}

#[tokio::test]
async fn the_portal_shows_the_account_masked_and_posts_to_itself() {
    let view = PortalView {
        action: "/kyc/sandbox/h5Y0b7XJxk2",
        account: "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb",
    };
    snapshot!("portal", portal_page(&view));
    snapshot!("done_approved", done_page(DoneView::Approved, TOKEN_PATH));
    snapshot!("done_more_information", done_page(DoneView::MoreInformation, TOKEN_PATH));
    snapshot!("done_declined", done_page(DoneView::Declined, TOKEN_PATH));
}

#[tokio::test]
async fn errors_have_pages() {
    let reference = ErrorView { status: StatusCode::INTERNAL_SERVER_ERROR, request_id: Some("0199-<x>") };
    snapshot!("error_500", error_page(&reference));
    for status in [400, 404, 405, 429, 503] {
        let status = StatusCode::from_u16(status).expect("a status");
        let response = error_page(&ErrorView::new(status));
        assert_eq!(response.status(), status);
        assert!(html(response).await.contains("<h1>"));
    }
}

#[test]
fn every_answer_is_guarded() {
    let all = [
        verification_page(&VerificationView::UnknownLink),
        portal_page(&PortalView { action: "/", account: "" }),
        done_page(DoneView::Declined, "/"),
        error_page(&ErrorView::new(StatusCode::NOT_FOUND)),
        redirect("https://in.sumsub.example/websdk/p/1"),
    ];
    for response in all {
        for (name, value) in guards().iter() {
            assert_eq!(response.headers().get(name), Some(value));
        }
    }
    let headers: Vec<String> = guards().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    let headers = headers.join("\n");
    let (before, hash) = headers.split_once("sha256-").expect("the style sheet's hash");
    let (_, after) = hash.split_once('\'').expect("a closing quote");
    // The hash changes with the style sheet.
    insta::assert_snapshot!("headers", format!("{before}sha256-…'{after}"));
}

#[test]
fn the_browser_is_sent_on() {
    let response = redirect("https://in.sumsub.example/websdk/p/1");
    assert_eq!(
        (response.status(), &response.headers()["location"]),
        (StatusCode::FOUND, &HeaderValue::from_static("https://in.sumsub.example/websdk/p/1"))
    );
    assert_eq!(see_other("/v/x").status(), StatusCode::SEE_OTHER);
    assert_eq!(redirect("https://h.example/\r\nSet-Cookie: a=b").status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        verification_page(&VerificationView::Unavailable { again: "/", retry_after_s: 60 }).headers()["retry-after"],
        "60"
    );
}

#[test]
fn an_account_is_masked() {
    assert_eq!(mask_account("eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb"), "0xab16…fcdb on eip155:1");
    assert_eq!(
        mask_account("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv"),
        "7S3P…AaKv on solana:5eykt4UsF…"
    );
    assert_eq!(mask_account("short"), "…");
    assert_eq!(mask_account(""), "…");
}

#[test]
fn pages_load_nothing() {
    for forbidden in ["url(", "@import", "expression(", "</style"] {
        assert!(!STYLE.contains(forbidden) && !reference::STYLE.contains(forbidden), "{forbidden}");
    }
}

#[tokio::test]
async fn the_reference_shows_what_the_document_says() {
    let document = r##"{
        "info": {"title": "x", "version": "1.2.3", "description": "See `code` & <b>."},
        "tags": [{"name": "ThingService", "description": "Things."}],
        "paths": {"/v1/things/{id}": {"put": {
            "operationId": "putThing", "tags": ["ThingService"], "description": "Puts `it`.",
            "security": [{"bearer": [], "signature": []}],
            "parameters": [
                {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "Which."},
                {"name": "Idempotency-Key", "in": "header", "required": true, "schema": {"type": "string"}}
            ],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/PutThingRequest"}}}},
            "responses": {
                "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
                "404": {}, "default": {}
            }
        }}},
        "components": {"schemas": {
            "PutThingRequest": {"properties": {"size": {"type": "integer"}}, "required": ["size"]},
            "Thing": {"description": "A thing.", "properties": {
                "at": {"type": "string", "format": "date-time"},
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Kind"}}
            }},
            "Kind": {"description": "A kind.\n- `a`: The first.\n- `b`: The second.", "enum": ["a", "b"]}
        }}
    }"##;
    let response = reference_page(document);
    assert_eq!(response.headers()["cache-control"], "max-age=300");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains(&policy(reference::STYLE)));
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let html = String::from_utf8(body.to_vec()).unwrap().replace(reference::STYLE, "…");
    let (before, errors) = html.split_once("<h2 id=\"errors\">").unwrap();
    assert!(errors.contains("SIGNATURE_INVALID"));
    insta::assert_snapshot!("reference", before);
}
