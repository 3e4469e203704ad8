use proptest::prelude::*;
use proptest::sample::subsequence;
use std::sync::LazyLock;

use super::*;
use crate::signature::input::signatures;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(Algorithm::Ed25519).unwrap());

const COMPONENTS: [&str; 12] = [
    "@method",
    "@target-uri",
    "@authority",
    "@path",
    "@query",
    "@scheme",
    "@request-target",
    "content-digest",
    "idempotency-key",
    "content-type",
    "x-note",
    "\"@query-param\";name=\"a\"",
];

fn params() -> impl Strategy<Value = Vec<Param<'static>>> {
    let required = vec![Param::Created(NOW), Param::KeyId(KEY_ID)];
    let optional = vec![
        Param::Expires(NOW + 5),
        Param::Alg(Algorithm::Ed25519),
        Param::Nonce("nonce \\ \" ~"),
        Param::Tag("t"),
        Param::Other("*x.y-z_0", ""),
        Param::Other("b", "v"),
    ];
    subsequence(optional, 0..=6).prop_flat_map(move |chosen| Just([required.clone(), chosen].concat()).prop_shuffle())
}

fn components() -> impl Strategy<Value = Vec<&'static str>> {
    let required = ["@method", "@target-uri", "content-digest", "idempotency-key"];
    subsequence(COMPONENTS.to_vec(), 0..=12)
        .prop_map(move |mut chosen| {
            chosen.extend(required.into_iter().filter(|name| !chosen.contains(name)).collect::<Vec<_>>());
            chosen
        })
        .prop_shuffle()
}

fn request(notes: &[String]) -> Request {
    let mut request = Request::post();
    request.uri = "/v1/customers?a=x%20y&b".parse().unwrap();
    notes.iter().fold(request, |request, note| request.with("x-note", note))
}

proptest! {
    #[test]
    fn what_is_signed_verifies_whatever_the_order(
        params in params(), components in components(), notes in prop::collection::vec("[ -~]{0,12}", 1..4),
        label in "[a-z*][a-z0-9_.*-]{0,8}",
    ) {
        let recipe = Recipe { label: &label, components: &components, params: &params };
        let request = request(&notes).signed(&KEY, &recipe);
        prop_assert_eq!(request.accepted_by(&KEY), Ok(()));
        let evidence = request.check().unwrap();
        prop_assert_eq!(Evidence::from_bytes(&evidence.to_bytes()).unwrap(), evidence);
    }

    #[test]
    fn any_flipped_bit_of_a_covered_part_fails(part in 0..7usize, at in any::<prop::sample::Index>(), bit in 0..7u8) {
        let recipe = Recipe { components: &COMPONENTS, ..POST };
        let mut request = request(&["note".into()]).signed(&KEY, &recipe);
        let flip = |text: &[u8]| {
            let mut bytes = text.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes
        };
        let names = ["content-digest", "idempotency-key", "content-type", "x-note", "signature-input", "signature"];
        if let Some(name) = names.get(part) {
            let changed = HeaderValue::from_bytes(&flip(request.headers[*name].as_bytes()));
            prop_assume!(changed.is_ok());
            let changed = changed.unwrap();
            // White space at the ends is no part of a value.
            prop_assume!(changed.as_bytes().trim_ascii() == changed.as_bytes());
            // The last character of base64 has bits that mean nothing.
            prop_assume!(*name != "signature" || signatures(changed.as_bytes()) != signatures(request.headers["signature"].as_bytes()));
            request.headers.insert(*name, changed);
        } else {
            let changed = String::from_utf8(flip(request.uri.to_string().as_bytes())).unwrap().parse::<Uri>();
            prop_assume!(changed.is_ok());
            request.uri = changed.unwrap();
            prop_assume!(request.uri.authority().is_none());
        }
        prop_assert!(request.accepted_by(&KEY).is_err());
    }

    #[test]
    fn a_changed_body_fails(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut request = Request::post().signed(&KEY, &POST);
        let at = at.index(request.body.len());
        request.body[at] ^= 1 << bit;
        prop_assert_eq!(request.accepted_by(&KEY), Err(Error::DigestMismatch("sha-256", request.body.len())));
    }

    #[test]
    fn no_header_text_panics(input in "[ -~]{0,80}", signature in "[ -~]{0,40}") {
        let _ = Request::get("/").with("signature-input", &input).with("signature", &signature).check();
        let near = Request::get("/").claimed(&format!("(\"@method\" {input});created=1;keyid=\"k\"")).check();
        prop_assert!(near.is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Evidence::from_bytes(&bytes);
        prop_assert!(crate::signature::PublicKey::from_spki_der(&bytes).is_err());
        prop_assert!(PrivateKey::from_pkcs8_der(&bytes).is_err());
    }
}
