//! What a signature must be, and the code of every refusal.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::{Call, House, ORIGIN, Signing, everywhere, sha256};

everywhere![
    coverage,
    parameters,
    the_window,
    components,
    malformed_headers,
    what_does_not_verify,
    the_base_is_shown_without_the_bearer,
    digests,
    nonces_are_used_once,
    one_good_signature_is_enough,
    what_is_signed_is_what_is_done,
];

type Edit = fn(&mut Signing);

fn now() -> i64 {
    1_767_323_045
}

async fn coverage(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let cases: [(&str, Edit); 7] = [
        ("@method", |s| s.omit("@method")),
        ("@target-uri", |s| s.omit("@target-uri")),
        ("content-digest", |s| s.omit("content-digest")),
        ("idempotency-key", |s| s.omit("idempotency-key")),
        ("@method", |s| s.components.clear()),
        ("@authority", |s| {
            s.by_path(false);
            s.omit("@authority");
        }),
        ("@path", |s| {
            s.by_path(false);
            s.omit("@path");
        }),
    ];
    for (missing, edit) in cases {
        let body = json!({"chainId": "x", "externalId": "x"});
        let answer = wallet.post("/v1/customers", &body).signing(edit).await.refuses(401, "SIGNATURE_COVERAGE");
        assert!(answer.json()["detail"].as_str().unwrap().contains(missing), "{answer:?}");
    }
    let query = wallet.get("/v1/customers?pageSize=1").signing(|s| s.by_path(false)).await;
    assert!(query.refuses(401, "SIGNATURE_COVERAGE").json()["detail"].as_str().unwrap().contains("@query"));
    // Without a query `@query` need not be covered, but may.
    wallet.get("/v1/customers").signing(|s| s.by_path(false)).await.is(200);
    wallet.get("/v1/customers").signing(|s| s.by_path(true)).await.is(200);
    wallet.get("/v1/customers?").signing(|s| s.by_path(true)).await.is(200);
}

async fn parameters(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let cases: [(&str, Edit); 12] = [
        ("SIGNATURE_PARAMETER", |s| s.omit("created")),
        ("SIGNATURE_PARAMETER", |s| s.omit("keyid")),
        ("KEY_UNKNOWN", |s| s.text("keyid", "nobody's")),
        ("KEY_UNKNOWN", |s| s.text("keyid", "01900000-0000-7000-8000-000000000000")),
        ("SIGNATURE_ALGORITHM", |s| s.text("alg", "hmac-sha256")),
        ("SIGNATURE_ALGORITHM", |s| s.text("alg", "ed25519")),
        ("SIGNATURE_ALGORITHM", |s| s.text("alg", "ECDSA-P384-SHA384")),
        ("SIGNATURE_MALFORMED", |s| s.param("created", "\"1767323045\"")),
        ("SIGNATURE_MALFORMED", |s| s.param("created", "1767323045.0")),
        ("SIGNATURE_MALFORMED", |s| s.param("keyid", "nobody")),
        ("SIGNATURE_MALFORMED", |s| s.text("keyid", "")),
        ("SIGNATURE_MALFORMED", |s| s.params.extend([s.params[0].clone()])),
    ];
    for (code, edit) in cases {
        wallet.get("/v1/customers").signing(edit).await.refuses(401, code);
    }
    // Any order, the right alg, and parameters that nobody knows.
    let fine: [Edit; 3] = [
        |s| s.params.reverse(),
        |s| s.text("alg", "ecdsa-p384-sha384"),
        |s| {
            s.text("tag", "app");
            s.param("x-own", "?0");
            s.label = "any-label_1*".to_owned();
        },
    ];
    for edit in fine {
        wallet.get("/v1/customers").signing(edit).await.is(200);
    }
}

async fn the_window(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let get = async |created: i64, expires: Option<i64>| {
        let call = wallet.get("/v1/customers").signing(move |s| {
            s.param("created", now() + created);
            expires.into_iter().for_each(|expires| s.param("expires", now() + expires));
        });
        call.await
    };
    for (created, expires) in [(-300, None), (30, None), (0, Some(0)), (-300, Some(1)), (0, Some(100_000))] {
        get(created, expires).await.is(200);
    }
    get(-301, None).await.refuses(401, "SIGNATURE_EXPIRED");
    get(-301, Some(1000)).await.refuses(401, "SIGNATURE_EXPIRED");
    get(-10, Some(-1)).await.refuses(401, "SIGNATURE_EXPIRED");
    get(31, None).await.refuses(401, "SIGNATURE_NOT_YET_VALID");
    get(-now() - 5, None).await.refuses(401, "SIGNATURE_EXPIRED");
    get(999_999_999_999_999 - now(), None).await.refuses(401, "SIGNATURE_NOT_YET_VALID");
}

async fn components(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for component in [
        "@status",
        "@signature-params",
        "@nothing",
        "x-absent",
        "Content-Type",
        "\"content-digest\";req",
        "\"@method\";req",
        "\"content-type\";sf",
        "\"content-type\";bs",
        "\"content-digest\";key=\"sha-256\"",
        "\"content-type\";tr",
        "@query-param",
    ] {
        let call = wallet.post("/v1/customers", &json!({"a": 1})).signing(|s| s.cover(component));
        let answer = call.await.refuses(401, "SIGNATURE_COMPONENT");
        let name = component.replace('"', "\\\"");
        assert!(answer.text().contains(&name), "{component}: {answer:?}");
    }
    // `content-digest;req` does not stand for `content-digest`.
    let call = wallet.post("/v1/customers", &json!({"a": 1})).signing(|s| {
        s.omit("content-digest");
        s.cover("\"content-digest\";req");
    });
    call.await.refuses(401, "SIGNATURE_COMPONENT");
    let everything: Edit = |s| {
        ["@scheme", "@authority", "@path", "@request-target", "@query", "date", "x-twice", "x-empty"]
            .into_iter()
            .for_each(|component| s.cover(component))
    };
    let call = wallet.get("/v1/customers?pageSize=1").header("date", "Fri, 02 Jan 2026 03:04:05 GMT");
    let call = call.header("x-twice", "a").header("x-twice", "  b ").header("x-empty", "");
    call.signing(everything).await.is(200);
}

async fn malformed_headers(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let get = || wallet.get("/v1/customers");
    for missing in ["signature", "signature-input"] {
        get().without(missing).await.refuses(401, "SIGNATURE_MISSING");
    }
    let ours = format!("(\"@method\" \"@target-uri\");created={};keyid=\"{}\"", now(), wallet.key_id);
    for (name, nothing) in [("signature-input", ""), ("signature-input", " ")] {
        get().header(name, nothing).await.refuses(401, "SIGNATURE_MISSING");
    }
    for input in [
        "(".to_owned(),
        "sig1".to_owned(),
        "sig1=\"@method\"".to_owned(),
        "sig1=(@method)".to_owned(),
        format!("sig2={ours}"),
        format!("SIG1={ours}"),
        format!("sig1={ours}, sig1={ours}"),
        format!("sig1={};", ours),
        ours.replacen("sig1", "", 1),
        format!("sig1={}", ours.replace("\"@method\"", "\"@method\" \"@method\"")),
        format!("sig1={}", ours.replace("\"@method\"", "@method")),
    ] {
        let answer = get().header("signature-input", &input).await;
        answer.refuses(401, "SIGNATURE_MALFORMED");
    }
    for signature in ["", "sig1", "sig1=abc", "sig1=\"abc\"", "sig1=:a b:", "sig2=:AAAA:", "sig1=:AAAA:, sig1=:AAAA:"] {
        get().header("signature", signature).await.refuses(401, "SIGNATURE_MALFORMED");
    }
}

async fn what_does_not_verify(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let lies: [(&str, &str); 6] = [
        ("@method", "POST"),
        ("@target-uri", "https://customers.test/v1/customers?pageSize=2"),
        ("@target-uri", "http://customers.test/v1/customers?pageSize=1"),
        ("@target-uri", "https://evil.test/v1/customers?pageSize=1"),
        ("@target-uri", "/v1/customers?pageSize=1"),
        ("@method", "get"),
    ];
    for (component, lie) in lies {
        let call = wallet.get("/v1/customers?pageSize=1");
        let call = call.signing(move |s| s.lies.push((component.to_owned(), lie.to_owned())));
        call.await.refuses(401, "SIGNATURE_INVALID");
    }
    // Headers that a client can set do not move the service's name.
    for (name, value) in [("host", "evil.test"), ("x-forwarded-host", "evil.test"), ("x-forwarded-proto", "http")] {
        wallet.get("/v1/customers").header(name, value).await.is(200);
        let signed_for_evil = wallet.get("/v1/customers").header(name, value).signing(|s| {
            s.lies.push(("@target-uri".to_owned(), "http://evil.test/v1/customers".to_owned()));
        });
        signed_for_evil.await.refuses(401, "SIGNATURE_INVALID");
    }
    // DER instead of r‖s says what is wrong.
    let der: Edit = |s| {
        s.bend = |signature| {
            let integer = |bytes: &[u8]| {
                let bytes = [&[0; 1], bytes].concat();
                [&[2, bytes.len() as u8][..], &bytes].concat()
            };
            let both = [integer(&signature[..48]), integer(&signature[48..])].concat();
            [&[0x30, both.len() as u8][..], &both].concat()
        };
    };
    let answer = wallet.get("/v1/customers").signing(der).await.refuses(401, "SIGNATURE_INVALID");
    assert!(answer.json()["detail"].as_str().unwrap().contains("DER"), "{answer:?}");
}

async fn the_base_is_shown_without_the_bearer(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let call = wallet.post("/v1/customers", &json!({"chainId": "x"})).signing(|s| {
        s.cover("authorization");
        s.lies.push(("@method".to_owned(), "GET".to_owned()));
    });
    let answer = call.await.refuses(401, "SIGNATURE_INVALID");
    assert!(!answer.text().contains(&wallet.token));
    insta::assert_snapshot!("signature_base", answer.shown());
    // Nobody is shown a base who has not shown a bearer, nor for a key that is not theirs.
    let bend: Edit = |s| s.bend = |_| vec![0; 96];
    let answer = wallet.get("/v1/customers").bearer("x").signing(bend).await.refuses(401, "UNAUTHENTICATED");
    assert!(!answer.text().contains("signatureBase"));
    let answer = wallet.get("/v1/customers").signing(|s| s.text("keyid", "x")).await.refuses(401, "KEY_UNKNOWN");
    assert!(!answer.text().contains("signatureBase"));
}

async fn digests(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let body = json!({"chainId": "x"});
    let bytes = body.to_string().into_bytes();
    let right = sha256(&bytes);
    let wrong = sha256(b"another body");
    let sha512 = format!("sha-512=:{}:", STANDARD.encode(<sha2::Sha512 as sha2::Digest>::digest(&bytes)));
    let post = |digest: &str| wallet.post("/v1/customers", &body).header("content-digest", digest);
    for good in [right.clone(), sha512.clone(), format!("{right}, {sha512}"), format!("md5=:AAAA:, {right}")] {
        post(&good).await.refuses(400, "VALIDATION_FAILED");
    }
    for bad in [wrong.clone(), format!("{right}, sha-512=:AAAA:"), format!("{wrong}, {sha512}")] {
        post(&bad).await.refuses(401, "DIGEST_MISMATCH");
    }
    for unsupported in ["md5=:AAAA:", "sha=:AAAA:", "SHA-256"] {
        let answer = post(unsupported).await;
        assert!([400, 401].contains(&answer.status), "{answer:?}");
        assert!(answer.text().contains("\"DIGEST_"), "{answer:?}");
    }
    post("md5=:AAAA:").await.refuses(401, "DIGEST_UNSUPPORTED");
    post("").await.refuses(401, "DIGEST_UNSUPPORTED");
    for malformed in ["x", "sha-256=abc", "sha-256=\"abc\"", &format!("{right}, {right}")] {
        post(malformed).await.refuses(400, "DIGEST_MISSING");
    }
    let twice = wallet.post("/v1/customers", &body).header("content-digest", &right).header("content-digest", &right);
    twice.await.refuses(400, "DIGEST_MISSING");
    // A digest of nothing may be sent, and must be right.
    wallet.get("/v1/customers").header("content-digest", &sha256(b"")).await.is(200);
    wallet.get("/v1/customers").header("content-digest", &wrong).await.refuses(401, "DIGEST_MISMATCH");
}

async fn nonces_are_used_once(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let rival = service.partner("Rival").await;
    fn with<'a>(call: Call<'a>, nonce: &'a str) -> Call<'a> {
        call.signing(move |s| s.text("nonce", nonce))
    }
    // A nonce under a signature that does not verify is not used up.
    let broken = with(wallet.get("/v1/customers"), "n-1").signing(|s| s.bend = |_| vec![1; 96]);
    broken.await.refuses(401, "SIGNATURE_INVALID");
    with(wallet.get("/v1/customers"), "n-1").await.is(200);
    with(wallet.get("/v1/customers"), "n-1").await.refuses(401, "SIGNATURE_REPLAYED");
    with(wallet.get("/v1/customers"), "n-2").await.is(200);
    with(rival.get("/v1/customers"), "n-1").await.is(200);
    // (r, n − s) is a valid signature too wherever (r, s) is: it is the nonce that counts.
    let twin = with(wallet.get("/v1/customers"), "n-2").signing(|s| s.bend = negated);
    twin.await.refuses(401, "SIGNATURE_REPLAYED");
    with(wallet.get("/v1/customers"), "n-3").signing(|s| s.bend = negated).await.is(200);
    // A key of its own, a memory of its own.
    wallet.take_key(customerd::signature::Algorithm::Ed25519).await;
    with(wallet.get("/v1/customers"), "n-1").await.is(200);
    // The retry of a modifying call is signed anew, under the same idempotency key.
    let key = "9b3c2d1e-0000-4000-8000-000000000001";
    let body = json!({"chainId": "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "externalId": "u-1"});
    let first = with(wallet.post("/v1/customers", &body).key(key), "n-4").await.is(201);
    with(wallet.post("/v1/customers", &body).key(key), "n-4").await.refuses(401, "SIGNATURE_REPLAYED");
    assert_eq!(with(wallet.post("/v1/customers", &body).key(key), "n-5").await.is(201).body, first.body);
    // After the window no signature with the old nonce could pass any more; a new one may use it.
    let created_ahead = |s: &mut Signing| s.param("created", now() + 30);
    with(wallet.get("/v1/customers"), "n-6").signing(created_ahead).await.is(200);
    service.wait(Duration::from_millis(330_900));
    with(wallet.get("/v1/customers"), "n-6").signing(created_ahead).await.refuses(401, "SIGNATURE_REPLAYED");
    service.wait(Duration::from_millis(200));
    with(wallet.get("/v1/customers"), "n-6").signing(created_ahead).await.refuses(401, "SIGNATURE_EXPIRED");
    with(wallet.get("/v1/customers"), "n-6").await.is(200);
    with(wallet.get("/v1/customers"), "n-6").await.refuses(401, "SIGNATURE_REPLAYED");
}

/// The other valid signature of the same message: s replaced by the order of P-384 minus s.
fn negated(signature: Vec<u8>) -> Vec<u8> {
    const ORDER: &str =
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    let (r, s) = signature.split_at(48);
    let mut difference = hex::decode(ORDER).unwrap();
    let mut borrow = 0;
    for (digit, subtrahend) in difference.iter_mut().zip(s).rev() {
        let value = i16::from(*digit) - i16::from(*subtrahend) - borrow;
        borrow = i16::from(value < 0);
        *digit = value.rem_euclid(256) as u8;
    }
    [r, &difference].concat()
}

async fn one_good_signature_is_enough(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let bad: [Edit; 4] = [
        |s| s.bend = |_| vec![7; 96],
        |s| s.text("keyid", "another service's"),
        |s| s.components.clear(),
        |s| s.param("created", 1),
    ];
    for edit in bad {
        let answer = wallet.get("/v1/customers").signing(edit).also_signing(|_| {}).await;
        answer.is(200);
        wallet.get("/v1/customers").also_signing(edit).await.is(200);
        let refused = wallet.get("/v1/customers").signing(edit).also_signing(edit).await;
        assert_eq!(refused.status, 401);
    }
    // Of several that fail, the one that got furthest is reported.
    let answer = wallet.get("/v1/customers").signing(bad[2]).also_signing(bad[0]).also_signing(bad[1]).await;
    answer.refuses(401, "SIGNATURE_INVALID");
    let mut many = wallet.get("/v1/customers");
    for _ in 0..8 {
        many = many.also_signing(|_| {});
    }
    many.await.refuses(401, "SIGNATURE_MALFORMED");
}

async fn what_is_signed_is_what_is_done(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    // Percent-encoding, dots and empty queries are signed as sent.
    wallet.get("/v1/customers?externalId=%41%2f").await.is(200);
    wallet.get("/v1/customers?externalId=a%20b&status=active").http2().await.is(200);
    wallet.get("/v1/customers/%41").await.refuses(404, "CUSTOMER_NOT_FOUND");
    wallet.get("/v1/customers/%41").signing(|s| s.by_path(false)).http2().await.refuses(404, "CUSTOMER_NOT_FOUND");
    // Absolute form, as to a proxy.
    let raw =
        wallet.get("/v1/customers").signing(|s| s.lies.push(("@target-uri".into(), format!("{ORIGIN}/v1/customers"))));
    raw.await.is(200);
    // HEAD is signed as HEAD.
    wallet.call("HEAD", "/v1/customers").await.is(200);
    let as_get = wallet.call("HEAD", "/v1/customers").signing(|s| s.lies.push(("@method".into(), "GET".into())));
    assert_eq!(as_get.await.status, 401);
}
