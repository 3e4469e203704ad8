//! `POST /v1/customers` and `GET /v1/customers/{customerId}`.

use serde_json::json;

use crate::support::{House, account, everywhere};

everywhere![
    a_customer_is_created_and_retrieved,
    accounts_are_caip_10,
    only_enabled_chains_are_taken,
    external_ids_are_printable,
    both_fields_are_blamed_at_once,
    chain_id_and_external_id_are_unique,
    another_programmes_customer_is_unknown,
];

const ACCOUNT: &str = "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";

async fn a_customer_is_created_and_retrieved(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let answer = wallet.post("/v1/customers", &json!({"chainId": ACCOUNT, "externalId": "u-1"})).await.is(201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let created = answer.json();
    let id = created["id"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    assert!(created["verificationUrl"].as_str().unwrap().starts_with("https://customers.test/verify/"));
    assert!(created["challenge"].as_str().unwrap().len() > 40);

    let retrieved = wallet.get(&format!("/v1/customers/{id}")).await.is(200).json();
    let wanted = json!({
        "id": id, "externalId": "u-1", "chainId": ACCOUNT, "status": "initiating",
        "createdAt": "2026-01-02T03:04:05.000006Z", "updatedAt": "2026-01-02T03:04:05.000006Z", "version": 1,
    });
    assert_eq!(retrieved, wanted);
    let mut rest = created;
    rest.as_object_mut().unwrap().retain(|name, _| !["challenge", "verificationUrl"].contains(&name.as_str()));
    assert_eq!(rest, wanted);
}

async fn accounts_are_caip_10(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for (number, (sent, stored)) in [
        ("eip155:1:0xab16a96d359ec26a11e2c2b3d8f8b8942d5bfcdb", ACCOUNT),
        (
            "eip155:8453:0xAB16A96D359EC26A11E2C2B3D8F8B8942D5BFCDB",
            "eip155:8453:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb",
        ),
        (
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv",
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"chainId": sent, "externalId": format!("u-{number}")});
        assert_eq!(wallet.post("/v1/customers", &body).await.is(201).json()["chainId"], stored);
    }
    for (sent, code) in [
        ("", "REQUIRED"),
        ("0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "INVALID_CHAIN_ID"),
        ("eip155:1", "INVALID_CHAIN_ID"),
        ("EIP155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "INVALID_CHAIN_ID"),
        ("eip155:01:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "INVALID_CHAIN_ID"),
        ("eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcd", "INVALID_CHAIN_ID"),
        ("eip155:1:ab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "INVALID_CHAIN_ID"),
        // One letter's case against EIP-55.
        ("eip155:1:0xAb16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "INVALID_CHAIN_ID"),
        (" eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "INVALID_CHAIN_ID"),
        ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:0OIl", "INVALID_CHAIN_ID"),
        ("eip155:2:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb", "UNSUPPORTED_CHAIN"),
        ("cosmos:cosmoshub-3:cosmos1t2uflqwqe0fsj0shcfkrvpukewcw40yjj6hdc0", "UNSUPPORTED_CHAIN"),
    ] {
        let body = json!({"chainId": sent, "externalId": "refused"});
        wallet.post("/v1/customers", &body).await.blames("chainId", code);
    }
}

async fn only_enabled_chains_are_taken(house: House) {
    let service = house.start_with(&["--chains", "eip155:10,eip155:137"]).await;
    let wallet = service.partner("Wallet").await;
    let body = |chain: &str| json!({"chainId": ACCOUNT.replace(":1:", chain), "externalId": chain});
    wallet.post("/v1/customers", &body(":10:")).await.is(201);
    wallet.post("/v1/customers", &body(":137:")).await.is(201);
    let refused = wallet.post("/v1/customers", &body(":1:")).await.blames("chainId", "UNSUPPORTED_CHAIN").json();
    let message = refused["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("eip155:1 is not supported; supported are eip155:10, eip155:137"), "{message}");
}

async fn external_ids_are_printable(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let long = "ユ".repeat(128);
    for good in ["u", "user@example.com", "日本 語", "👩\u{200d}🚀", "葛\u{e0100}城市", "\"quoted\\\"", long.as_str()]
    {
        let body = json!({"chainId": account(good), "externalId": good});
        assert_eq!(wallet.post("/v1/customers", &body).await.is(201).json()["externalId"], good);
    }
    let too_long = "u".repeat(129);
    for (bad, code) in [
        ("", "REQUIRED"),
        (" ", "INVALID_VALUE"),
        (" u", "INVALID_VALUE"),
        ("u ", "INVALID_VALUE"),
        ("u\u{3000}", "INVALID_VALUE"),
        ("a\nb", "INVALID_VALUE"),
        ("a\u{0}b", "INVALID_VALUE"),
        ("a\u{202e}b", "INVALID_VALUE"),
        (too_long.as_str(), "TOO_LONG"),
    ] {
        let body = json!({"chainId": account("refused"), "externalId": bad});
        wallet.post("/v1/customers", &body).await.blames("externalId", code);
    }
    let body = json!({"chainId": account("refused"), "externalId": "user\u{2066}\u{202e}"});
    let refused = wallet.post("/v1/customers", &body).await.blames("externalId", "INVALID_VALUE").json();
    let message =
        "Must have printable characters only: character 5 is U+2066, a format character, which does not show.";
    assert_eq!(refused["errors"][0]["message"], message);
}

async fn both_fields_are_blamed_at_once(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let answer = wallet.post("/v1/customers", &json!({})).await;
    insta::assert_snapshot!("create_without_fields", answer.shown());
}

async fn chain_id_and_external_id_are_unique(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let create = async |chain: &str, external_id: &str| {
        let body = json!({"chainId": account(chain), "externalId": external_id});
        wallet.post("/v1/customers", &body).await
    };
    let first = create("a", "u-1").await.is(201).json();
    let second = create("b", "u-2").await.is(201).json();

    let shown = create("a", "u-3").await.shown();
    insta::assert_snapshot!("create_same_chain_id", shown.replace(first["id"].as_str().unwrap(), "FIRST"));
    let same_external = create("c", "u-2").await.refuses(409, "CUSTOMER_EXISTS").json();
    assert_eq!(
        (&same_external["existingId"], &same_external["errors"][0]["field"]),
        (&second["id"], &json!("externalId"))
    );
    let both_of_one = create("a", "u-1").await.refuses(409, "CUSTOMER_EXISTS").json();
    let fields: Vec<_> = both_of_one["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["chainId", "externalId"]);
    let one_of_each = create("a", "u-2").await.refuses(409, "CUSTOMER_EXISTS").json();
    assert_eq!(one_of_each["errors"].as_array().unwrap().len(), 2);
    // Another spelling of the account is the same account.
    let body =
        json!({"chainId": account("a").to_uppercase().replace("EIP155:1:0X", "eip155:1:0x"), "externalId": "u-9"});
    wallet.post("/v1/customers", &body).await.refuses(409, "CUSTOMER_EXISTS");
    // On another chain it is another one, and another programme has its own.
    create("a", "u-3").await.is(409);
    let body = json!({"chainId": account("a").replace(":1:", ":10:"), "externalId": "u-10"});
    wallet.post("/v1/customers", &body).await.is(201);
    rival.post("/v1/customers", &json!({"chainId": account("a"), "externalId": "u-1"})).await.is(201);
}

async fn another_programmes_customer_is_unknown(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let id = wallet.customer("u-1").await["id"].as_str().unwrap().to_owned();
    wallet.get(&format!("/v1/customers/{id}")).await.is(200);
    let theirs = rival.get(&format!("/v1/customers/{id}")).await.refuses(404, "CUSTOMER_NOT_FOUND");
    let unknown = rival.get("/v1/customers/01900000-0000-7000-8000-000000000000").await;
    let same = |answer: &str, id: &str| answer.replace(id, "ID").replace("request-2", "R").replace("request-3", "R");
    assert_eq!(same(theirs.text(), &id), same(unknown.text(), "01900000-0000-7000-8000-000000000000"));
    insta::assert_snapshot!("get_unknown", unknown.shown());
    for no_id in ["x", "01900000-0000-7000-8000-00000000000", &id.replace('-', ""), "%00"] {
        rival.get(&format!("/v1/customers/{no_id}")).await.refuses(404, "CUSTOMER_NOT_FOUND");
    }
}
