use super::*;
use crate::signature::PublicKey;

#[test]
fn evidence_survives_the_wire_and_verifies_on_the_far_side() {
    let key = key();
    let params = &[
        Param::Created(NOW),
        Param::Expires(NOW + 10),
        Param::KeyId(KEY_ID),
        Param::Nonce("n-1"),
        Param::Alg(Algorithm::EcdsaP384Sha384),
    ];
    let evidence = Request::post().signed(&key, &Recipe { params, ..POST }).check().unwrap();
    let read = Evidence::from_bytes(&evidence.to_bytes()).unwrap();
    assert_eq!(read, evidence);
    let candidate = read.verify(NOW, |_| Some(key.public_key())).unwrap();
    assert_eq!(
        (
            candidate.label(),
            candidate.key_id(),
            candidate.nonce(),
            candidate.created(),
            candidate.expires(),
            candidate.algorithm()
        ),
        ("sig", KEY_ID, Some("n-1"), NOW, Some(NOW + 10), Some(Algorithm::EcdsaP384Sha384))
    );
    // Its clock is its own.
    let later = read.verify(NOW + 11, |_| Some(key.public_key())).unwrap_err();
    assert_eq!((later.error.code(), later.signature_base), ("SIGNATURE_EXPIRED", None));
}

#[test]
fn other_bytes_are_no_evidence() {
    for bytes in [&b""[..], b"\x00", b"garbage", &[0x0a, 0x02, 0x1a, 0x00]] {
        assert_eq!(code(Evidence::from_bytes(bytes)), "SIGNATURE_MALFORMED", "{bytes:?}");
    }
}

#[test]
fn any_label_and_one_good_signature_among_several_suffice() {
    let (key, other) = (key(), PrivateKey::generate(Algorithm::Ed25519).unwrap());
    let request = Request::post()
        .signed(&other, &Recipe { label: "first", components: &["@method"], ..POST })
        .signed(&other, &Recipe { label: "second", ..POST })
        .signed(&key, &Recipe { label: "*third.-_9", ..POST });
    let evidence = request.check().unwrap();
    assert_eq!(evidence.candidates().iter().map(|c| c.label()).collect::<Vec<_>>(), ["second", "*third.-_9"]);
    assert_eq!(evidence.verify(NOW, |_| Some(key.public_key())).unwrap().label(), "*third.-_9");
}

#[test]
fn the_failure_that_got_furthest_is_told_with_its_base() {
    let (key, other) = (key(), PrivateKey::generate(Algorithm::Ed25519).unwrap());
    let foreign = Recipe { label: "a", params: &[Param::Created(NOW), Param::KeyId("foreign")], ..GET };
    let request = Request::get("/v1/customers").signed(&other, &foreign).signed(&key, &Recipe { label: "b", ..GET });
    let wrong: PublicKey = self::key().public_key().clone();
    let evidence = request.check().unwrap();
    let failure = evidence.verify(NOW, |id| (id == KEY_ID).then_some(&wrong)).unwrap_err();
    assert_eq!(failure.error.code(), "SIGNATURE_INVALID");
    assert_eq!(
        failure.signature_base.as_deref(),
        Some(
            "\"@method\": GET\n\"@target-uri\": https://api.example.com/v1/customers\n\"@signature-params\": (\"@method\" \"@target-uri\");created=1800000000;keyid=\"key-1\""
        )
    );
    let unknown = evidence.verify(NOW, |_| None).unwrap_err();
    assert_eq!((unknown.error, unknown.signature_base), (Error::KeyUnknown("foreign".into()), None));
}
