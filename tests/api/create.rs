//! `POST /v1/customers`.

use serde_json::json;

use crate::support::{House, everywhere};

everywhere![a_customer_is_created];

const ACCOUNT: &str = "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";

async fn a_customer_is_created(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let answer = wallet.post("/v1/customers", &json!({"chainId": ACCOUNT, "externalId": "u-1"})).await.is(201);
    let mut customer = answer.json();
    let challenge = customer["challenge"].take();
    let link = customer["verificationUrl"].take();
    assert!(challenge.as_str().is_some_and(|text| text.len() > 20), "{challenge}");
    assert!(link.as_str().is_some_and(|link| link.starts_with("https://customers.test/verify/")), "{link}");
    let id = customer["id"].as_str().unwrap().to_owned();
    let wanted = json!({
        "id": id, "externalId": "u-1", "chainId": ACCOUNT, "status": "initiating",
        "createdAt": "2026-01-02T03:04:05.000006Z", "updatedAt": "2026-01-02T03:04:05.000006Z", "version": 1,
        "challenge": null, "verificationUrl": null,
    });
    assert_eq!(customer, wanted);
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
}
