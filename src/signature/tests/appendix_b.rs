//! RFC 9421 appendix B.2: the Ed25519 example written out, and all six where the vectors are at hand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::signature::component::Component;
use crate::signature::input::{inputs, signatures};
use crate::signature::{PublicKey, base};

/// The base as built for the only signature of `request`, policy aside; and its bytes.
fn base_and_signature(request: &Request) -> Result<(String, Vec<u8>), Error> {
    let origins = Origins::new(["https://example.com"]).unwrap();
    let message = Message::received(request.head(), &origins)?;
    let input = &inputs(request.headers["signature-input"].as_bytes())?[0];
    let components: Vec<Component> =
        input.components.iter().map(|(name, params)| Component::new(name, params)).collect::<Result<_, _>>()?;
    let base = base::build(&message, &components, &input.serialised())?;
    let (_, signature) = signatures(request.headers["signature"].as_bytes())?.remove(0);
    Ok((base, signature))
}

#[test]
fn b_2_6_ed25519() {
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----";
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----";
    let private = PrivateKey::parse(private).unwrap();
    assert_eq!(private.public_key(), &PublicKey::parse(public).unwrap());
    let mut request = Request::new(Method::POST, "/foo?param=Value&Pet=dog").without("host");
    for (name, value) in [
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-length", "18"),
    ] {
        request = request.with(name, value);
    }
    let recipe = Recipe {
        label: "sig-b26",
        components: &["date", "@method", "@path", "@authority", "content-type", "content-length"],
        params: &[Param::Created(1_618_884_473), Param::KeyId("test-key-ed25519")],
    };
    let origins = Origins::new(["https://example.com"]).unwrap();
    let signed = sign(&Message::received(request.head(), &origins).unwrap(), &private, &recipe).unwrap();
    assert_eq!(
        signed.signature,
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    );
    request.headers.insert("signature-input", signed.signature_input);
    request.headers.insert("signature", signed.signature);
    insta::assert_snapshot!(base_and_signature(&request).unwrap().0, @r#"
    "date": Tue, 20 Apr 2021 02:07:55 GMT
    "@method": POST
    "@path": /foo
    "@authority": example.com
    "content-type": application/json
    "content-length": 18
    "@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"
    "#);
}

#[test]
fn b_2_1_to_b_2_6_from_the_vectors() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/rfc9421");
    let Ok(text) = std::fs::read_to_string(folder.join("rfc9421_appendix_b.json")) else {
        eprintln!("SKIPPED: no RFC 9421 vectors at {}", folder.display());
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let (id, message) = (case["id"].as_str().unwrap(), &case["message"]);
        let expected = case["signature_base"].as_str().unwrap();
        if id == "B.2.4" {
            response(case, expected, &folder);
            continue;
        }
        let url: Uri = message["url"].as_str().unwrap().parse().unwrap();
        let method = message["method"].as_str().unwrap().parse().unwrap();
        let mut request = Request::new(method, url.path_and_query().unwrap().as_str()).without("host");
        for (name, value) in message["headers"].as_object().unwrap() {
            request = request.with(name, value.as_str().unwrap());
        }
        request.body = message["body"].as_str().unwrap().into();
        assert_eq!(crate::signature::digest::check(&request.headers, &request.body), Ok(()));
        let (base, signature) = base_and_signature(&request).unwrap();
        assert_eq!(base, expected, "{id}");
        // B.2.5 is an HMAC: its base counts, its algorithm is not accepted.
        if id != "B.2.5" {
            let pem =
                std::fs::read_to_string(folder.join(format!("{}.pub.pem", case["keyid"].as_str().unwrap()))).unwrap();
            let key = PublicKey::parse(&pem).unwrap();
            assert_eq!(key.algorithm().name(), case["alg"].as_str().unwrap());
            assert!(key.verifies(base.as_bytes(), &signature), "{id}");
            assert!(!key.verifies(&base.as_bytes()[1..], &signature), "{id}");
        }
    }
}

/// B.2.4 signs a response: refused as a request's signature, yet its mathematics hold.
fn response(case: &serde_json::Value, base: &str, folder: &std::path::Path) {
    let headers = &case["message"]["headers"];
    let request = Request::get("/")
        .with("signature-input", headers["signature-input"].as_str().unwrap())
        .with("signature", headers["signature"].as_str().unwrap());
    assert_eq!(code(request.check_at(1_618_884_473)), "SIGNATURE_COMPONENT");
    let key = PublicKey::parse(&std::fs::read_to_string(folder.join("test-key-ecc-p256.pub.pem")).unwrap()).unwrap();
    let text = headers["signature"].as_str().unwrap().split(':').nth(1).unwrap();
    assert!(key.verifies(base.as_bytes(), &STANDARD.decode(text).unwrap()));
}

#[test]
fn the_appendix_private_keys_parse() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/rfc9421");
    if !folder.is_dir() {
        eprintln!("SKIPPED: no RFC 9421 vectors at {}", folder.display());
        return;
    }
    for name in ["test-key-rsa-pss", "test-key-ed25519"] {
        let read = |suffix: &str| std::fs::read_to_string(folder.join(format!("{name}.{suffix}.pem"))).unwrap();
        let (private, public) = (PrivateKey::parse(&read("key")).unwrap(), PublicKey::parse(&read("pub")).unwrap());
        assert_eq!(private.public_key(), &public);
        assert!(public.verifies(b"text", &private.sign(b"text").unwrap()));
    }
}
