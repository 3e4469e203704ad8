//! One test for each bug that references.md §3 lists from elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;

use super::*;
use crate::signature::digest;

#[test]
fn unknown_keyid_does_not_pass() {
    let key = key();
    let request = Request::get("/v1/customers")
        .signed(&key, &Recipe { params: &[Param::Created(NOW), Param::KeyId("other")], ..GET });
    assert_eq!(request.accepted_by(&key), Err(Error::KeyUnknown("other".into())));
}

#[test]
fn missing_keyid_does_not_panic() {
    let request = Request::get("/v1/customers").claimed("(\"@method\" \"@target-uri\");created=1800000000");
    assert_eq!(request.check(), Err(Error::Parameter { label: "sig".into(), parameter: "keyid" }));
}

#[test]
fn digest_with_only_unknown_algorithms_does_not_pass() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_DIGEST, HeaderValue::from_static("md5=:1B2M2Y8AsgTpgAmY7PhCfg==:, unixsum=:AAA=:"));
    assert_eq!(digest::check(&headers, b"body"), Err(Error::DigestUnsupported));
    headers.insert(CONTENT_DIGEST, HeaderValue::from_static(""));
    assert_eq!(digest::check(&headers, b"body"), Err(Error::DigestUnsupported));
}

#[test]
fn empty_coverage_does_not_pass() {
    let request = Request::get("/v1/customers").claimed("();created=1800000000;keyid=\"key-1\"");
    assert_eq!(code(request.check()), "SIGNATURE_COVERAGE");
}

#[test]
fn content_digest_of_the_related_request_is_not_content_digest() {
    for parameter in [";req", ";bs", ";tr", ";sf", ";key=\"sha-256\"", ";req=?0", ";unheard-of"] {
        let request = Request::post().claimed(&format!(
            "(\"@method\" \"@target-uri\" \"content-digest\"{parameter} \"idempotency-key\");created=1800000000;keyid=\"key-1\""
        ));
        assert_eq!(code(request.check()), "SIGNATURE_COMPONENT", "{parameter}");
    }
}

#[test]
fn parameters_stay_in_the_order_received() {
    // The orders of npm http-message-signatures and of Go offblocks/httpsig, and one with unknown parameters.
    let alg = Param::Alg(Algorithm::EcdsaP384Sha384);
    let orders: [(&[Param<'_>], &str); 3] = [
        (
            &[Param::KeyId(KEY_ID), alg, Param::Created(NOW), Param::Expires(NOW + 60)],
            "keyid=\"key-1\";alg=\"ecdsa-p384-sha384\";created=1800000000;expires=1800000060",
        ),
        (
            &[
                Param::Created(NOW),
                Param::Expires(NOW + 60),
                Param::KeyId(KEY_ID),
                alg,
                Param::Nonce("n"),
                Param::Tag("t"),
            ],
            "created=1800000000;expires=1800000060;keyid=\"key-1\";alg=\"ecdsa-p384-sha384\";nonce=\"n\";tag=\"t\"",
        ),
        (
            &[Param::Other("zebra", "z\\\"z"), Param::KeyId(KEY_ID), Param::Other("ape", ""), Param::Created(NOW)],
            "zebra=\"z\\\\\\\"z\";keyid=\"key-1\";ape=\"\";created=1800000000",
        ),
    ];
    let key = key();
    for (params, written) in orders {
        let request = Request::get("/v1/customers").signed(&key, &Recipe { params, ..GET });
        assert!(request.base().ends_with(&format!("\"@signature-params\": (\"@method\" \"@target-uri\");{written}")));
        assert_eq!(request.accepted_by(&key), Ok(()));
    }
}

#[test]
fn duplicate_labels_are_refused() {
    let good = "(\"@method\" \"@target-uri\");created=1800000000;keyid=\"key-1\"";
    let twice_on_one_line = Request::get("/").claimed(&format!("{good}, sig={good}"));
    assert_eq!(code(twice_on_one_line.check()), "SIGNATURE_MALFORMED");
    let twice_on_two_lines = Request::get("/").claimed(good).with("signature-input", &format!("sig={good}"));
    assert_eq!(code(twice_on_two_lines.check()), "SIGNATURE_MALFORMED");
    let two_signatures = Request::get("/").claimed(good).with("signature", "sig=:BBBB:");
    assert_eq!(code(two_signatures.check()), "SIGNATURE_MALFORMED");
    let two_parameters = Request::get("/").claimed(&format!("{good};created=1800000001"));
    assert_eq!(code(two_parameters.check()), "SIGNATURE_MALFORMED");
}

#[test]
fn duplicate_components_are_refused() {
    let request =
        Request::get("/").claimed("(\"@method\" \"@target-uri\" \"@method\");created=1800000000;keyid=\"key-1\"");
    assert_eq!(
        request.check(),
        Err(Error::Malformed("Signature-Input: the component \"@method\" is covered twice".into()))
    );
    // The same name with another parameter is another component.
    let request = Request::get("/?a=1&b=2").claimed(
        "(\"@method\" \"@target-uri\" \"@query-param\";name=\"a\" \"@query-param\";name=\"b\");created=1800000000;keyid=\"key-1\"",
    );
    assert!(request.base().contains("\"@query-param\";name=\"a\": 1\n\"@query-param\";name=\"b\": 2\n"));
}

#[test]
fn duplicate_singleton_headers_are_refused() {
    let key = key();
    let second = Request::post().signed(&key, &POST).with("content-digest", "sha-256=:AAAA:");
    assert_eq!(
        digest::check(&second.headers, &second.body),
        Err(Error::DigestMalformed("the header is sent twice".into()))
    );
    assert_eq!(code(second.check()), "SIGNATURE_COMPONENT");
    let second = Request::post().signed(&key, &POST).with("idempotency-key", "8e03978e-40d5-43e8-bc93-6894a57f9325");
    assert_eq!(code(second.check()), "SIGNATURE_COMPONENT");
    for name in ["authorization", "content-type", "content-length", "date"] {
        let input = format!("(\"@method\" \"@target-uri\" \"{name}\");created=1800000000;keyid=\"key-1\"");
        let request = Request::get("/").with(name, "1").claimed(&input);
        assert!(request.check().is_ok(), "{name}");
        assert_eq!(code(request.with(name, "2").check()), "SIGNATURE_COMPONENT", "{name}");
    }
}

#[test]
fn alg_that_disagrees_with_the_key_is_refused() {
    let key = key();
    let params = &[Param::Created(NOW), Param::KeyId(KEY_ID), Param::Alg(Algorithm::Ed25519)];
    let request = Request::get("/").signed(&key, &Recipe { params, ..GET });
    assert_eq!(
        request.accepted_by(&key),
        Err(Error::Algorithm("alg is ed25519, but the key \"key-1\" is for ecdsa-p384-sha384".into()))
    );
    for alg in ["hmac-sha256", "rsa-v1_5-sha256", "none", "ECDSA-P384-SHA384"] {
        let input = format!("(\"@method\" \"@target-uri\");created=1800000000;keyid=\"key-1\";alg=\"{alg}\"");
        assert_eq!(code(Request::get("/").claimed(&input).check()), "SIGNATURE_ALGORITHM", "{alg}");
    }
}

/// The order of P-384's group, big-endian.
const N: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

#[test]
fn a_second_form_of_an_ecdsa_signature_is_the_same_nonce() {
    let key = key();
    let params = &[Param::Created(NOW), Param::KeyId(KEY_ID), Param::Nonce("once")];
    let request = Request::get("/").signed(&key, &Recipe { params, ..GET });
    let first = request.check().unwrap();
    let mut other = first.candidates()[0].signature.clone();
    let mut borrow = 0;
    for (s, n) in other[48..].iter_mut().rev().zip(hex::decode(N).unwrap().iter().rev()) {
        let difference = i16::from(*n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = difference.rem_euclid(256) as u8;
    }
    let text = format!("sig=:{}:", STANDARD.encode(&other));
    let malleated = request.without("signature").with("signature", &text);
    // Both bytes verify: only the nonce says that they are one signature.
    assert_eq!(malleated.accepted_by(&key), Ok(()));
    let second = malleated.check().unwrap();
    assert_ne!(first.candidates()[0].signature, second.candidates()[0].signature);
    assert_eq!(second.candidates()[0].nonce(), Some("once"));
}

#[tokio::test]
async fn a_nested_router_needs_the_original_uri() {
    use axum::Router;
    use axum::extract::OriginalUri;
    use axum::routing::get;
    use tower::ServiceExt as _;

    async fn path(OriginalUri(original): OriginalUri, request: axum::extract::Request) -> String {
        let (parts, ()) = request.map(drop).into_parts();
        let origins = origins();
        let input = HeaderValue::from_static("sig=(\"@method\" \"@target-uri\");created=1800000000;keyid=\"k\"");
        let mut headers = parts.headers.clone();
        headers.insert("signature-input", input);
        headers.insert("signature", HeaderValue::from_static("sig=:AA==:"));
        let base = |uri: &Uri| {
            let head = Head { uri, headers: &headers, ..Head::from(&parts) };
            let message = Message::received(head, &origins).unwrap();
            check(&message, Policy::for_request(&Method::GET, false), NOW).unwrap().candidates()[0].redacted_base()
        };
        let target = |base: String| base.lines().nth(1).unwrap().to_owned();
        format!("{}\n{}", target(base(&original)), target(base(&parts.uri)))
    }
    let app: Router = Router::new().nest("/v1", Router::new().route("/customers", get(path)));
    let request = http::Request::get("/v1/customers?a=b").header("host", "api.example.com");
    let response = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
    assert_eq!(
        body,
        "\"@target-uri\": https://api.example.com/v1/customers?a=b\n\"@target-uri\": https://api.example.com/customers?a=b"
    );
}

#[test]
fn http_2_names_the_authority_in_the_target_and_http_1_in_host() {
    let recipe = Recipe { components: &["@method", "@authority", "@path", "host"], ..GET };
    let key = key();
    let one = Request::get("/v1/customers").signed(&key, &recipe);
    let mut two = Request::get("https://API.example.com:443/v1/customers").without("host");
    two.version = Version::HTTP_2;
    let claim = "(\"@method\" \"@authority\" \"@path\");created=1800000000;keyid=\"key-1\"";
    assert_eq!(two.claimed(claim).base(), Request::get("/v1/customers").claimed(claim).base());
    // A proxy or library that turns HTTP/1.1 into HTTP/2 drops Host for :authority; what was signed still verifies.
    let mut converted = Request { uri: "https://api.example.com/v1/customers".parse().unwrap(), ..one }.without("host");
    converted.version = Version::HTTP_2;
    assert_eq!(converted.accepted_by(&key), Ok(()));
    let disagreeing = converted.with("host", "evil.example");
    assert_eq!(code(disagreeing.check()), "SIGNATURE_COMPONENT");
}

#[test]
fn authority_of_an_origin_form_request_is_not_empty() {
    let request = Request::get("/v1/customers")
        .claimed("(\"@method\" \"@authority\" \"@path\");created=1800000000;keyid=\"key-1\"");
    assert!(request.base().contains("\"@authority\": api.example.com\n"));
}

#[test]
fn an_absent_covered_header_is_not_an_empty_one() {
    let input = "(\"@method\" \"@target-uri\" \"x-note\");created=1800000000;keyid=\"key-1\"";
    assert_eq!(
        Request::get("/").claimed(input).check(),
        Err(Error::component("\"x-note\"", "the request has no such header"))
    );
    assert!(Request::get("/").with("x-note", "").claimed(input).base().contains("\"x-note\": \n"));
}

#[test]
fn small_order_ed25519_keys_are_refused() {
    use crate::signature::{KeyError, PublicKey};
    let points = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        // Not canonical: y = p, p + 1, 2^255 - 1.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        let spki = hex::decode(format!("302a300506032b6570032100{point}")).unwrap();
        assert_eq!(PublicKey::from_spki_der(&spki).unwrap_err(), KeyError::WeakPoint, "{point}");
    }
}
