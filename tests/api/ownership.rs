//! `GET …/challenge` and `POST …/challenge/sign`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Evm, House, Partner, Service, Solana, b64, everywhere, unb64};

everywhere![
    a_signature_in_every_encoding_proves_ownership,
    a_solana_key_proves_ownership,
    every_refusal_says_what_to_do,
    a_malformed_body_voids_nothing,
    a_wrong_signature_voids_the_challenge_once,
    a_challenge_ends_after_an_hour,
    only_initiating_customers_have_a_challenge,
    two_signatures_at_once_prove_ownership_once,
    others_customers_have_no_challenge,
];

/// The service with nobody who screens: a customer stays where its owner put it.
async fn quiet(house: House) -> (Service, Partner) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    (service, partner)
}

/// A new customer's id and challenge.
async fn create(partner: &Partner, account: &str) -> (String, Vec<u8>) {
    let body = json!({"chainId": account, "externalId": account});
    let customer = partner.post("/v1/customers", &body).await.is(201).json();
    (customer["id"].as_str().unwrap().to_owned(), unb64(&customer["challenge"]))
}

fn signed(challenge: &[u8], signature: &str) -> Value {
    json!({"challenge": b64(challenge), "signature": signature})
}

async fn sign(partner: &Partner, id: &str, challenge: &[u8], signature: &str) -> Answer {
    partner.post(&format!("/v1/customers/{id}/challenge/sign"), &signed(challenge, signature)).await
}

async fn live(partner: &Partner, id: &str) -> Vec<u8> {
    unb64(&partner.get(&format!("/v1/customers/{id}/challenge")).await.is(200).json()["challenge"])
}

async fn status(partner: &Partner, id: &str) -> (String, i64) {
    let customer = partner.get(&format!("/v1/customers/{id}")).await.is(200).json();
    (customer["status"].as_str().unwrap().to_owned(), customer["version"].as_i64().unwrap())
}

async fn a_signature_in_every_encoding_proves_ownership(house: House) {
    let (_service, partner) = quiet(house).await;
    let low_v = |mut bytes: [u8; 65]| {
        bytes[64] -= 27;
        bytes
    };
    let encodings: [fn(&Evm, &[u8]) -> String; 4] = [
        |key, text| key.sign_hex(text),
        |key, text| hex::encode_upper(key.sign(text)),
        |key, text| b64(key.sign(text)),
        |key, text| b64(key.sign_hex(text)),
    ];
    for (number, encode) in (1_u8..).zip(encodings) {
        let key = Evm::new(number);
        let (id, challenge) = create(&partner, &key.account()).await;
        let answer = sign(&partner, &id, &challenge, &encode(&key, &challenge)).await.is(204);
        assert_eq!(answer.text(), "");
        assert_eq!(status(&partner, &id).await, ("screening".to_owned(), 2));
    }
    let key = Evm::new(9);
    let (id, challenge) = create(&partner, &key.account()).await;
    sign(&partner, &id, &challenge, &hex::encode(low_v(key.sign(&challenge)))).await.is(204);
    let events = partner.get(&format!("/v1/customers/{id}/events")).await.is(200).json();
    let event = &events["events"][0];
    let told = ["actor", "cause", "from", "to"].map(|name| event[name].as_str().unwrap());
    assert_eq!(told, ["owner", "ownership_proven", "initiating", "screening"]);
}

async fn a_solana_key_proves_ownership(house: House) {
    let (_service, partner) = quiet(house).await;
    let encodings: [fn(Vec<u8>) -> String; 2] = [|bytes| b64(bytes), |bytes| bs58::encode(bytes).into_string()];
    for (number, encode) in (1_u8..).zip(encodings) {
        let key = Solana::new(number);
        let (id, challenge) = create(&partner, &key.account()).await;
        let text = String::from_utf8(challenge.clone()).unwrap();
        assert!(text.starts_with("customers.test wants you to sign in with your Solana account:\n"), "{text}");
        let other = sign(&partner, &id, &challenge, &encode(Solana::new(7).sign(&challenge))).await;
        other.refuses(400, "CHALLENGE_SIGNATURE_INVALID");
        let challenge = live(&partner, &id).await;
        sign(&partner, &id, &challenge, &encode(key.sign(&challenge))).await.is(204);
        assert_eq!(status(&partner, &id).await, ("screening".to_owned(), 2));
    }
}

async fn every_refusal_says_what_to_do(house: House) {
    let (service, mut partner) = quiet(house).await;
    let (key, other) = (Evm::new(1), Evm::new(2));
    let (id, first) = create(&partner, &key.account()).await;
    let (_, foreign) = create(&partner, &other.account()).await;
    let mut told = Vec::new();
    let mut altered = first.clone();
    altered.push(b'\n');
    let mut high = key.sign(&first);
    // s = n - 1: the upper half.
    high[32..64]
        .copy_from_slice(&hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140").unwrap());
    let tries = [
        ("no fields", Vec::new(), String::new()),
        ("no signature text", first.clone(), "not a signature".to_owned()),
        ("64 bytes", first.clone(), format!("0x{}", hex::encode(&key.sign(&first)[..64]))),
        ("altered", altered.clone(), key.sign_hex(&altered)),
        ("foreign", foreign.clone(), key.sign_hex(&foreign)),
        ("another's signature", first.clone(), other.sign_hex(&first)),
        ("voided", first.clone(), key.sign_hex(&first)),
    ];
    for (name, challenge, signature) in tries {
        told.push((name, sign(&partner, &id, &challenge, &signature).await));
    }
    let second = live(&partner, &id).await;
    assert_ne!(second, first);
    told.push(("high s", sign(&partner, &id, &second, &hex::encode(high)).await));
    let third = live(&partner, &id).await;
    service.wait(Duration::from_secs(3600));
    partner.sign_in().await;
    told.push(("ended", sign(&partner, &id, &third, &key.sign_hex(&third)).await));
    let fourth = live(&partner, &id).await;
    told.push(("replaced", sign(&partner, &id, &third, &key.sign_hex(&third)).await));
    sign(&partner, &id, &fourth, &key.sign_hex(&fourth)).await.is(204);
    told.push(("used", sign(&partner, &id, &fourth, &key.sign_hex(&fourth)).await));
    told.push(("no customer", sign(&partner, "nobody", &fourth, &key.sign_hex(&fourth)).await));
    let shown: Vec<String> = told.iter().map(|(name, answer)| format!("## {name}\n{}\n", answer.shown())).collect();
    insta::assert_snapshot!("challenge_refusals", shown.join("\n").replace(&id, "[customer]"));
}

async fn a_malformed_body_voids_nothing(house: House) {
    let (_service, partner) = quiet(house).await;
    let key = Evm::new(1);
    let (id, challenge) = create(&partner, &key.account()).await;
    let target = format!("/v1/customers/{id}/challenge/sign");
    sign(&partner, &id, &challenge, "0x00").await.blames("signature", "INVALID_VALUE");
    sign(&partner, &id, b"", "0x00").await.blames("challenge", "REQUIRED");
    partner.post(&target, &json!({"challenge": "%%%", "signature": "0x00"})).await.is(400);
    partner.post(&target, &json!({"challenge": b64(&challenge), "signature": "0x00", "more": 1})).await.is(400);
    partner.post(&target, &json!([])).await.is(400);
    assert_eq!(live(&partner, &id).await, challenge);
    // Not kept under the idempotency key either: the right signature may follow under it.
    let once = "11111111-1111-4111-8111-111111111111";
    partner.post(&target, &signed(&challenge, "0x00")).key(once).await.blames("signature", "INVALID_VALUE");
    partner.post(&target, &signed(&challenge, &key.sign_hex(&challenge))).key(once).await.is(204);
}

async fn a_wrong_signature_voids_the_challenge_once(house: House) {
    let (_service, partner) = quiet(house).await;
    let (key, other) = (Evm::new(1), Evm::new(2));
    let (id, challenge) = create(&partner, &key.account()).await;
    let target = format!("/v1/customers/{id}/challenge/sign");
    let wrong = signed(&challenge, &other.sign_hex(&challenge));
    let once = "11111111-1111-4111-8111-111111111111";
    let first = partner.post(&target, &wrong).key(once).await.refuses(400, "CHALLENGE_SIGNATURE_INVALID");
    let second = live(&partner, &id).await;
    assert_ne!(second, challenge);
    let again = partner.post(&target, &wrong).key(once).await;
    assert_eq!((again.status, &again.body), (400, &first.body));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    assert_eq!(live(&partner, &id).await, second);
    let right = signed(&second, &key.sign_hex(&second));
    partner.post(&target, &right).key(once).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    // Success is kept as well.
    let once = "22222222-2222-4222-8222-222222222222";
    partner.post(&target, &right).key(once).await.is(204);
    let again = partner.post(&target, &right).key(once).await.is(204);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(status(&partner, &id).await, ("screening".to_owned(), 2));
}

async fn a_challenge_ends_after_an_hour(house: House) {
    let (service, mut partner) = quiet(house).await;
    let (early, late) = (Evm::new(1), Evm::new(2));
    let (first_id, first) = create(&partner, &early.account()).await;
    let (second_id, second) = create(&partner, &late.account()).await;
    let asked = partner.get(&format!("/v1/customers/{first_id}/challenge")).await.is(200).json();
    assert_eq!(asked["challenge"], b64(&first));
    // The whole second that the text shows.
    assert!(asked["expiresAt"].as_str().unwrap().starts_with("2026-01-02T04:04:05"), "{asked}");
    assert!(String::from_utf8(first.clone()).unwrap().ends_with("\nExpiration Time: 2026-01-02T04:04:05Z"));
    service.wait(Duration::from_secs(3599));
    partner.sign_in().await;
    sign(&partner, &first_id, &first, &early.sign_hex(&first)).await.is(204);
    service.wait(Duration::from_secs(1));
    let answer = sign(&partner, &second_id, &second, &late.sign_hex(&second)).await;
    answer.refuses(400, "CHALLENGE_EXPIRED");
    let fresh = live(&partner, &second_id).await;
    assert_ne!(fresh, second);
    sign(&partner, &second_id, &fresh, &late.sign_hex(&fresh)).await.is(204);
}

async fn only_initiating_customers_have_a_challenge(house: House) {
    let (_service, partner) = quiet(house).await;
    let key = Evm::new(1);
    let (id, challenge) = create(&partner, &key.account()).await;
    sign(&partner, &id, &challenge, &key.sign_hex(&challenge)).await.is(204);
    let answer = partner.get(&format!("/v1/customers/{id}/challenge")).await.refuses(409, "INVALID_STATE_TRANSITION");
    assert_eq!(answer.json()["currentStatus"], "screening");
}

async fn two_signatures_at_once_prove_ownership_once(house: House) {
    let (_service, partner) = quiet(house).await;
    let key = Evm::new(1);
    let (id, challenge) = create(&partner, &key.account()).await;
    let signature = key.sign_hex(&challenge);
    let tries = (0..4).map(|_| sign(&partner, &id, &challenge, &signature));
    let mut statuses: Vec<u16> = futures::future::join_all(tries).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409, 409, 409]);
    assert_eq!(status(&partner, &id).await, ("screening".to_owned(), 2));
}

async fn others_customers_have_no_challenge(house: House) {
    let (service, partner) = quiet(house).await;
    let other = service.partner("Other").await;
    let key = Evm::new(1);
    let (id, challenge) = create(&partner, &key.account()).await;
    other.get(&format!("/v1/customers/{id}/challenge")).await.refuses(404, "CUSTOMER_NOT_FOUND");
    let answer = sign(&other, &id, &challenge, &key.sign_hex(&challenge)).await;
    answer.refuses(404, "CUSTOMER_NOT_FOUND");
    sign(&partner, &id, &challenge, &key.sign_hex(&challenge)).await.is(204);
}
