//! What is long is answered alike whether the front has its backend in its own process or reaches it in gRPC's headers.

use serde_json::{Value, json};

use crate::support::{Call, House, everywhere};

everywhere![a_signature_may_cover_a_whole_header_list, the_first_of_many_errors_are_named];

/// With a long header that the signature covers.
fn long<'a>(call: Call<'a>, value: &str) -> Call<'a> {
    call.header("x-long", value).signing(|s| s.cover("x-long"))
}

async fn a_signature_may_cover_a_whole_header_list(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let value = "y".repeat(14_000);
    long(wallet.get("/v1/customers"), &value).await.is(200);
    let invalid = long(wallet.get("/v1/customers"), &value).signing(|s| s.bend = |_| vec![1; 96]).await;
    let base = invalid.refuses(401, "SIGNATURE_INVALID").json()["signatureBase"].to_string();
    assert!(base.contains(&value), "{}", base.len());
    // Twice as much is more than anybody has to say.
    let twice = long(wallet.get("/v1/customers"), &value).also_signing(|s| s.cover("x-long"));
    twice.await.refuses(401, "SIGNATURE_MALFORMED");
    let query = "y".repeat(7_000);
    wallet.get(&format!("/v1/customers?externalId={query}")).await.blames("externalId", "TOO_LONG");
}

async fn the_first_of_many_errors_are_named(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let types: Vec<Value> = (0..3000).map(|_| json!("no such type")).collect();
    let body = json!({"callbackUrl": "https://example.com/hook", "types": types});
    let answer = wallet.put("/v1/webhooks", &body).await.refuses(400, "VALIDATION_FAILED").json();
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!((errors.len(), errors[31]["field"].as_str()), (32, Some("types[31]")));
}
