//! Query parameters.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Talk;

#[tokio::test]
async fn every_kind() {
    let mut talk = Talk::new();
    for query in [
        "ratio=0.5&single=NaN&small=4294967295&big=18446744073709551615&flag=true&raw=_-8&pause=-1.5s&mask=fooBar,b&wrapped=-5&numbers=1&numbers=2e1&maybe=&type=-3",
        "&ratio=-Infinity&&",
        "maybe=a+b%20c%2B&",
    ] {
        talk.ask(&format!("GET /v1/scalars/-9223372036854775808/blue?{query}")).await;
    }
    talk.ask("GET /v1/books?pageSize=5&page_token=t&genre=fiction&tags=a&tags=b&createdAfter=2026-01-01T00:00:00Z&filter.minReads=9&filter.genres=fiction&filter.genres=non_fiction&lent=false&descending=title").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn refusals() {
    let mut talk = Talk::new();
    for query in [
        "pageZize=5",
        "pageSize=5&pageSize=6",
        "pageSize=5&page_size=6",
        "pageSize=",
        "pageSize",
        "pageSize=5.5",
        "pageSize=2147483648",
        "pageSize=+5",
        "genre=FICTION",
        "genre=unspecified",
        "genre=1",
        "createdAfter=2026-01-01T00:00:00+01:00",
        "lent=yes",
        "ascending=a&descending=b",
        "filter=x",
        "filter.minReads=x",
        "filter.unknown=x",
        "tags=%",
        "%zz=1",
        "tags=%ff",
    ] {
        talk.ask(&format!("GET /v1/books?{query}")).await;
    }
    talk.ask("GET /v1/books/count?x=1").await;
    talk.ask("POST /v1/shelves/s/books?title=x").await;
    insta::assert_snapshot!(talk.text);
}
