//! `/v1/auth/signing`: the keys that verify a programme's signatures.

use std::future::IntoFuture as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use customerd::signature::{Algorithm, PrivateKey};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::{House, everywhere, public_pem};

everywhere![
    keys_live_side_by_side_until_deleted,
    the_first_key_needs_only_the_bearer,
    a_lost_answer_to_the_first_key_can_be_had_again,
    only_one_of_many_first_keys_is_the_first,
    every_algorithm_signs,
    key_texts_are_checked,
    keys_belong_to_one_programme,
];

async fn keys_live_side_by_side_until_deleted(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let (first_key, first_id) = (wallet.key.clone(), wallet.key_id.clone());
    wallet.take_key(Algorithm::Ed25519).await;
    let (second_key, second_id) = (wallet.key.clone(), wallet.key_id.clone());
    let listed = wallet.get("/v1/auth/signing").await.is(200).json();
    let at = "2026-01-02T03:04:05.000006Z";
    let wanted = json!({"keys": [
        {"keyId": second_id, "algorithm": "ed25519", "createdAt": at},
        {"keyId": first_id, "algorithm": "ecdsa-p384-sha384", "createdAt": at},
    ]});
    assert_eq!(listed, wanted);
    let same = json!({"publicKey": public_pem(&second_key)});
    wallet.put("/v1/auth/signing", &same).await.refuses(409, "SIGNING_KEY_EXISTS");

    (wallet.key, wallet.key_id) = (first_key, first_id.clone());
    wallet.get("/v1/customers").await.is(200);
    wallet.delete(&format!("/v1/auth/signing/{second_id}")).await.is(204);
    wallet.delete(&format!("/v1/auth/signing/{second_id}")).await.refuses(404, "SIGNING_KEY_NOT_FOUND");
    let (key, id) = (second_key.clone(), second_id.clone());
    let by_dead_key = wallet.get("/v1/customers").signing(move |s| {
        s.key = key;
        s.text("keyid", &id);
    });
    by_dead_key.await.refuses(401, "KEY_UNKNOWN");
    // A key that went may come back, under a new id.
    wallet.put("/v1/auth/signing", &same).await.is(200);
    assert_eq!(wallet.get("/v1/auth/signing").await.json()["keys"].as_array().unwrap().len(), 2);
}

async fn the_first_key_needs_only_the_bearer(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let key = PrivateKey::generate(Algorithm::EcdsaP256Sha256).unwrap();
    let body = json!({"publicKey": public_pem(&key)});
    wallet.put("/v1/auth/signing", &body).unsigned().await.refuses(401, "SIGNATURE_MISSING");
    wallet.delete("/v1/auth/signing").await.is(204);
    // Without keys nothing can be signed, and the unsigned way is open for this one call.
    wallet.get("/v1/customers").await.refuses(401, "KEY_UNKNOWN");
    wallet.get("/v1/customers").unsigned().await.refuses(401, "SIGNATURE_MISSING");
    wallet.delete("/v1/auth/signing").unsigned().await.refuses(401, "SIGNATURE_MISSING");
    wallet.put("/v1/auth/signing", &body).unsigned().bearer("x").await.refuses(401, "UNAUTHENTICATED");
    wallet
        .put("/v1/auth/signing", &body)
        .unsigned()
        .without("idempotency-key")
        .await
        .refuses(400, "IDEMPOTENCY_KEY_INVALID");
    wallet.put("/v1/auth/signing", &body).unsigned().without("content-digest").await.refuses(400, "DIGEST_MISSING");
    wallet.put("/v1/auth/signing", &body).without("signature").await.refuses(401, "SIGNATURE_MISSING");
    wallet.put("/v1/auth/signing", &body).await.refuses(401, "KEY_UNKNOWN");
    let answer = wallet.put("/v1/auth/signing", &body).unsigned().await.is(200).json();
    assert_eq!(answer["algorithm"], "ecdsa-p256-sha256");
    (wallet.key, wallet.key_id) = (key.into(), answer["keyId"].as_str().unwrap().to_owned());
    wallet.get("/v1/customers").await.is(200);
    // The door is shut again.
    let another = json!({"publicKey": public_pem(&PrivateKey::generate(Algorithm::Ed25519).unwrap())});
    wallet.put("/v1/auth/signing", &another).unsigned().await.refuses(401, "SIGNATURE_MISSING");
    wallet.put("/v1/auth/signing", &another).await.is(200);
}

async fn a_lost_answer_to_the_first_key_can_be_had_again(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    wallet.delete("/v1/auth/signing").await.is(204);
    let [one, other] =
        [(); 2].map(|()| json!({"publicKey": public_pem(&PrivateKey::generate(Algorithm::Ed25519).unwrap())}));
    let key = "5e8fbc8d-2b1f-4a52-8df4-6a1a3c1f0a01";
    let put = |body| wallet.put("/v1/auth/signing", body).unsigned();
    let first = put(&one).key(key).await.is(200);
    // Without its key's id the partner cannot sign: the retry is the one way to learn it.
    let again = put(&one).key(key).await.is(200);
    assert_eq!((again.text(), again.header("idempotent-replayed")), (first.text(), Some("true")));
    put(&other).key(key).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    put(&one).await.refuses(401, "SIGNATURE_MISSING");
    put(&other).await.refuses(401, "SIGNATURE_MISSING");
    // Once the answer is forgotten, the door is shut for the retry too.
    service.wait(Duration::from_secs(3600));
    wallet.sign_in().await;
    for body in [&one, &other] {
        wallet.put("/v1/auth/signing", body).unsigned().key(key).await.refuses(401, "SIGNATURE_MISSING");
    }
}

async fn only_one_of_many_first_keys_is_the_first(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    wallet.delete("/v1/auth/signing").await.is(204);
    let keys: Vec<_> = (0..8).map(|_| PrivateKey::generate(Algorithm::Ed25519).unwrap()).collect();
    let puts = keys.iter().map(|key| {
        let body = json!({"publicKey": public_pem(key)});
        wallet.put("/v1/auth/signing", &body).unsigned().into_future()
    });
    let answers = futures::future::join_all(puts).await;
    let taken: Vec<_> = (0..).zip(&answers).filter(|(_, answer)| answer.status == 200).collect();
    assert_eq!(taken.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!([401, 409].contains(&answer.status), "{answer:?}");
    }
    let (which, answer) = taken[0];
    wallet.key_id = answer.json()["keyId"].as_str().unwrap().to_owned();
    wallet.key = keys.into_iter().nth(which).unwrap().into();
    assert_eq!(wallet.get("/v1/auth/signing").await.is(200).json()["keys"].as_array().unwrap().len(), 1);
}

async fn every_algorithm_signs(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    for algorithm in Algorithm::ALL {
        wallet.take_key(algorithm).await;
        wallet.get("/v1/customers?pageSize=1").await.is(200);
        wallet.get("/v1/customers?pageSize=1").signing(|s| s.by_path(true)).await.is(200);
        wallet.get("/v1/customers").signing(|s| s.text("alg", algorithm.name())).http2().await.is(200);
        wallet.customer(algorithm.name()).await;
        // A byte changed is another signature, and an empty or doubled one is none.
        let bend: [fn(Vec<u8>) -> Vec<u8>; 4] = [
            |mut signature| {
                signature[20] ^= 1;
                signature
            },
            |_| Vec::new(),
            |signature| [signature.clone(), signature].concat(),
            |signature| vec![0; signature.len()],
        ];
        for bend in bend {
            wallet.get("/v1/customers").signing(|s| s.bend = bend).await.refuses(401, "SIGNATURE_INVALID");
        }
    }
}

async fn key_texts_are_checked(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let put = async |text: &str| wallet.put("/v1/auth/signing", &json!({"publicKey": text})).await;
    let key = PrivateKey::generate(Algorithm::RsaPssSha512).unwrap();
    put(&STANDARD.encode(public_pem(&key))).await.is(200);
    put("").await.blames("publicKey", "REQUIRED");
    let private = key.to_pem();
    let answer = put(private.expose_secret()).await.blames("publicKey", "INVALID_PUBLIC_KEY");
    assert!(answer.text().contains("compromised") && !answer.text().contains("MII"));
    let pem = public_pem(&PrivateKey::generate(Algorithm::EcdsaP384Sha384).unwrap());
    let small_order = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0, 1][..], &[0; 31]].concat();
    let small_order =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(small_order));
    for bad in ["x", "AAAA", &pem[..pem.len() / 2], &pem.replace("PUBLIC KEY", "CERTIFICATE"), &small_order] {
        put(bad).await.blames("publicKey", "INVALID_PUBLIC_KEY");
    }
}

async fn keys_belong_to_one_programme(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let (key, id) = (wallet.key.clone(), wallet.key_id.clone());
    let with_their_key = rival.get("/v1/customers").signing(|s| {
        s.key = key;
        s.text("keyid", &id);
    });
    with_their_key.await.refuses(401, "KEY_UNKNOWN");
    rival.delete(&format!("/v1/auth/signing/{id}")).await.refuses(404, "SIGNING_KEY_NOT_FOUND");
    wallet.delete("/v1/auth/signing/%00").await.refuses(404, "SIGNING_KEY_NOT_FOUND");
    // The same public key under two programmes is two keys, each with its own id.
    let body = json!({"publicKey": public_pem(&wallet.key)});
    assert_ne!(rival.put("/v1/auth/signing", &body).await.is(200).json()["keyId"], id);
}
