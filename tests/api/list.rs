//! `GET /v1/customers`: pages, filters, bounds.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, House, Partner, account, everywhere};

everywhere![
    pages_lead_through_everything_once,
    new_customers_do_not_disturb_paging,
    filters_select,
    bounds_are_exclusive,
    only_ones_own_are_listed,
    wrong_parameters_are_named,
];

/// The external ids of a page, joined.
fn names(answer: &Answer) -> String {
    let page = answer.json();
    let customers = page["customers"].as_array().unwrap().iter();
    customers.map(|customer| customer["externalId"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

async fn listed(partner: &Partner, query: &str) -> String {
    names(&partner.get(&format!("/v1/customers{query}")).await.is(200))
}

/// Every page from `query` on.
async fn pages(partner: &Partner, query: &str) -> Vec<String> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let answer = partner.get(&format!("/v1/customers?{query}&pageToken={token}")).await.is(200);
        all.push(names(&answer));
        token = answer.json()["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            return all;
        }
    }
}

async fn pages_lead_through_everything_once(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    assert_eq!(wallet.get("/v1/customers").await.is(200).json(), json!({"customers": [], "nextPageToken": ""}));
    // The clock stands: all are of one moment, told apart by their ids alone. Then three of another moment.
    for name in ["a", "b", "c", "d"] {
        wallet.customer(name).await;
    }
    service.wait(Duration::from_micros(1));
    for name in ["e", "f", "g"] {
        wallet.customer(name).await;
    }
    assert_eq!(listed(&wallet, "").await, "g f e d c b a");
    assert_eq!(pages(&wallet, "pageSize=2").await, ["g f", "e d", "c b", "a"]);
    assert_eq!(pages(&wallet, "pageSize=7").await, ["g f e d c b a"]);
    assert_eq!(pages(&wallet, "pageSize=1").await.concat(), "gfedcba");
    assert_eq!(pages(&wallet, "pageSize=1000").await, ["g f e d c b a"]);
}

async fn new_customers_do_not_disturb_paging(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for name in ["a", "b", "c"] {
        wallet.customer(name).await;
    }
    let first = wallet.get("/v1/customers?pageSize=2").await.is(200);
    assert_eq!(names(&first), "c b");
    wallet.customer("d").await;
    let token = first.json()["nextPageToken"].as_str().unwrap().to_owned();
    let second = wallet.get(&format!("/v1/customers?pageSize=2&pageToken={token}")).await.is(200);
    assert_eq!((names(&second).as_str(), &second.json()["nextPageToken"]), ("a", &Value::from("")));
}

async fn filters_select(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for name in ["a", "b & c", "ü"] {
        wallet.customer(name).await;
    }
    assert_eq!(listed(&wallet, "?externalId=a").await, "a");
    assert_eq!(listed(&wallet, "?externalId=b+%26%20c").await, "b & c");
    assert_eq!(listed(&wallet, "?externalId=%C3%BC").await, "ü");
    assert_eq!(listed(&wallet, "?externalId=nobody").await, "");
    assert_eq!(listed(&wallet, &format!("?chainId={}", account("a"))).await, "a");
    let upper = account("a").to_uppercase().replace("EIP155:1:0X", "eip155%3A1%3A0x");
    assert_eq!(listed(&wallet, &format!("?chainId={upper}")).await, "a");
    assert_eq!(listed(&wallet, &format!("?chainId={}&externalId=a", account("ü"))).await, "");
    assert_eq!(listed(&wallet, "?status=initiating").await, "ü b & c a");
    assert_eq!(listed(&wallet, "?status=active").await, "");
    assert_eq!(pages(&wallet, "status=initiating&pageSize=2").await, ["ü b & c", "a"]);
}

async fn bounds_are_exclusive(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for name in ["first", "second", "third"] {
        wallet.customer(name).await;
        service.wait(Duration::from_secs(60));
    }
    // Created at 03:04:05.000006, 03:05:05.000006 and 03:06:05.000006.
    let second = "2026-01-02T03:05:05.000006Z";
    for (query, wanted) in [
        (format!("?createdAfter={second}"), "third"),
        (format!("?createdBefore={second}"), "first"),
        ("?createdAfter=2026-01-02T03:05:05.000005Z".to_owned(), "third second"),
        ("?createdBefore=2026-01-02T03:05:05.000007Z".to_owned(), "second first"),
        ("?createdAfter=2026-01-02T03:04:05.000006Z&createdBefore=2026-01-02T03:06:05.000006Z".to_owned(), "second"),
        (format!("?createdAfter={second}&createdBefore={second}"), ""),
        // What is below a microsecond counts: the second customer came before this.
        ("?createdBefore=2026-01-02T03:05:05.0000061Z".to_owned(), "second first"),
        ("?createdAfter=2026-01-02T03:05:05.000005999Z".to_owned(), "third second"),
        // Another offset, the same moment.
        ("?createdAfter=2026-01-02T04:05:05.000006%2B01:00".to_owned(), "third"),
    ] {
        assert_eq!(listed(&wallet, &query).await, wanted, "{query}");
    }
}

async fn only_ones_own_are_listed(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    for name in ["a", "b", "c"] {
        wallet.customer(name).await;
        rival.customer(&format!("r{name}")).await;
    }
    assert_eq!(listed(&rival, "").await, "rc rb ra");
    // A token is a place in time, not a right: another programme's shows nothing of that programme.
    let token = wallet.get("/v1/customers?pageSize=1").await.json()["nextPageToken"].as_str().unwrap().to_owned();
    assert_eq!(listed(&rival, &format!("?pageToken={token}")).await, "rb ra");
}

async fn wrong_parameters_are_named(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    for (query, field, code) in [
        ("pageSize=0", "pageSize", "OUT_OF_RANGE"),
        ("pageSize=1001", "pageSize", "OUT_OF_RANGE"),
        ("pageSize=-1", "pageSize", "OUT_OF_RANGE"),
        ("pageSize=ten", "pageSize", "INVALID_VALUE"),
        ("pageSize=99999999999", "pageSize", "INVALID_VALUE"),
        ("pageSize=1&pageSize=2", "pageSize", "DUPLICATE_FIELD"),
        ("pageToken=x", "pageToken", "INVALID_VALUE"),
        ("pageToken=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%21", "pageToken", "INVALID_VALUE"),
        // A place outside of all times.
        ("pageToken=gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "pageToken", "INVALID_VALUE"),
        ("externalId=", "externalId", "REQUIRED"),
        ("externalId=a%00b", "externalId", "INVALID_VALUE"),
        ("status=asleep", "status", "INVALID_VALUE"),
        ("status=ACTIVE", "status", "INVALID_VALUE"),
        ("createdAfter=yesterday", "createdAfter", "INVALID_VALUE"),
        ("createdBefore=2026-13-01T00:00:00Z", "createdBefore", "INVALID_VALUE"),
        ("chainId=eip155:1", "chainId", "INVALID_CHAIN_ID"),
        ("order=asc", "order", "UNKNOWN_PARAMETER"),
    ] {
        wallet.get(&format!("/v1/customers?{query}")).await.blames(field, code);
    }
}
