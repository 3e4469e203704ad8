//! The simulator: sandbox programmes only.

use serde_json::json;

use crate::support::{Evm, House, Partner, everywhere, unb64};

everywhere![the_simulator_plays_the_outside_world, a_live_programme_has_no_simulator];

/// A customer whose owner has signed.
async fn screening(partner: &Partner, number: u8) -> String {
    let key = Evm::new(number);
    let body = json!({"chainId": key.account(), "externalId": key.account()});
    let customer = partner.post("/v1/customers", &body).await.is(201).json();
    let id = customer["id"].as_str().unwrap().to_owned();
    let signature = key.sign_hex(&unb64(&customer["challenge"]));
    let body = json!({"challenge": customer["challenge"], "signature": signature});
    partner.post(&format!("/v1/customers/{id}/challenge/sign"), &body).await.is(204);
    id
}

async fn trail(partner: &Partner, id: &str) -> Vec<String> {
    let events = partner.get(&format!("/v1/customers/{id}/events")).await.is(200).json();
    let line = |event: &serde_json::Value| {
        ["actor", "cause", "to"].map(|name| event[name].as_str().unwrap().to_owned()).join(" ")
    };
    events["events"].as_array().unwrap().iter().map(line).collect()
}

async fn the_simulator_plays_the_outside_world(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.sandbox_partner("Wallet").await;
    let fresh = partner.customer("u-1").await["id"].as_str().unwrap().to_owned();
    for name in ["verify", "reject"] {
        let target = format!("/v1/simulator/customers/{fresh}/{name}");
        let answer = partner.patch(&target).await.refuses(409, "INVALID_STATE_TRANSITION");
        assert_eq!(answer.json()["currentStatus"], "initiating");
        let target = format!("/v1/simulator/customers/00000000-0000-0000-0000-000000000000/{name}");
        partner.patch(&target).await.refuses(404, "CUSTOMER_NOT_FOUND");
    }
    let id = screening(&partner, 1).await;
    let target = format!("/v1/simulator/customers/{id}/verify");
    let once = "11111111-1111-4111-8111-111111111111";
    let answer = partner.patch(&target).key(once).await.is(202);
    assert_eq!(answer.text(), "");
    let again = partner.patch(&target).key(once).await.is(202);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    partner.patch(&target).await.refuses(409, "INVALID_STATE_TRANSITION");
    partner.patch(&format!("/v1/simulator/customers/{id}/reject")).await.is(202);
    let expected = [
        "simulator rejected: identity rejected",
        "simulator kyc_approved active",
        "simulator screening_clear verifying",
        "owner ownership_proven screening",
        "programme created initiating",
    ];
    assert_eq!(trail(&partner, &id).await, expected);
    let id = screening(&partner, 2).await;
    partner.patch(&format!("/v1/simulator/customers/{id}/reject")).await.is(202);
    assert_eq!(trail(&partner, &id).await[0], "simulator rejected: identity rejected");
}

async fn a_live_programme_has_no_simulator(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let id = screening(&partner, 1).await;
    for name in ["verify", "reject"] {
        partner.patch(&format!("/v1/simulator/customers/{id}/{name}")).await.refuses(403, "SANDBOX_ONLY");
    }
    assert_eq!(trail(&partner, &id).await.len(), 2);
}
