//! Who sends wrong secrets, however many and from however many connections, stops nobody who has the right one.

use customerd::api::v1::CreateTokenRequest;
use customerd::api::v1::auth_service_client::AuthServiceClient;
use customerd::app::create_programme;
use futures::StreamExt as _;
use tonic::Code;

use crate::process::Place;
use crate::support::{House, Partner, Service, everywhere};

everywhere![
    of_parallel_guesses_no_more_are_checked_than_of_others,
    guesses_over_grpc_are_counted_too,
    the_owner_is_not_locked_out,
    all_nodes_of_a_partner_may_sign_in_at_once,
    strangers_with_random_keys_make_nobody_fail,
];

const WRONG: &str = "a-secret-of-more-than-32-visible-characters";

/// Status codes of so many guesses at once.
async fn guess(partner: &Partner, api_key: &str, count: usize) -> Vec<u16> {
    let guesses = (0..count).map(|_| partner.ask_token(api_key, WRONG));
    futures::stream::iter(guesses).buffer_unordered(count).map(|answer| answer.status).collect().await
}

fn counted(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|it| **it == status).count()
}

async fn of_parallel_guesses_no_more_are_checked_than_of_others(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let unknown = "5f6e6c1e-8f6f-4a33-9d1c-0f6b2f1f3a55";
    for api_key in [wallet.api_key.as_str(), unknown] {
        let statuses = guess(&wallet, api_key, 60).await;
        // On a busy machine one that is checked may be late: 503.
        let checked = counted(&statuses, 401) + counted(&statuses, 503);
        assert_eq!((checked, counted(&statuses, 429)), (5, 55), "{api_key}: {statuses:?}");
    }
    service.stop().await;
}

async fn guesses_over_grpc_are_counted_too(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let client = AuthServiceClient::new(service.channel().await);
    let guesses = (0..20).map(|_| {
        let request = CreateTokenRequest { api_key: wallet.api_key.clone(), api_secret: WRONG.into() };
        let mut client = client.clone();
        async move { client.create_token(request).await.unwrap_err().code() }
    });
    let codes = futures::future::join_all(guesses).await;
    assert!(!codes.contains(&Code::Ok));
    let refused = codes.iter().filter(|code| **code == Code::ResourceExhausted).count();
    assert_eq!((codes.len() - refused, refused), (5, 15), "{codes:?}");
    drop(client);
    service.stop().await;
}

async fn the_owner_is_not_locked_out(house: House) {
    let service = house.start().await;
    // Has signed in already, as every partner has that is at work.
    let wallet = service.partner("Wallet").await;
    let statuses = guess(&wallet, &wallet.api_key, 20).await;
    assert_eq!(counted(&statuses, 429), 15);
    for _ in 0..10 {
        wallet.ask_token(&wallet.api_key, &wallet.api_secret).await.is(200);
        wallet.ask_token(&wallet.api_key, WRONG).await.refuses(429, "AUTHENTICATION_THROTTLED");
    }
    service.stop().await;
}

/// None of them is known to be right when they come.
async fn all_nodes_of_a_partner_may_sign_in_at_once(house: House) {
    let service = house.start().await;
    let addresses = (String::new(), String::new());
    let profile = create_programme(&service.store, &service.clock, ("Wallet", true), addresses).await.unwrap();
    let wallet = Partner::new(service.http, service.clock.clone(), &profile);
    let calls = (0..30).map(|_| wallet.ask_token(&wallet.api_key, &wallet.api_secret));
    for answer in futures::future::join_all(calls).await {
        answer.is(200);
    }
    service.stop().await;
}

async fn strangers_with_random_keys_make_nobody_fail(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let flood = flood(&service, &wallet, 40);
    let bystanders = async {
        // None of them is known to this node: each secret is checked in full.
        for number in 0..5 {
            service.partner(&format!("Bystander {number}")).await;
        }
    };
    let ((), statuses) = futures::join!(bystanders, flood);
    assert_eq!(counted(&statuses, 401) + counted(&statuses, 503), 40, "{statuses:?}");
    service.stop().await;
}

/// So many callers at once, each with a key of its own that is nobody's.
async fn flood(service: &Service, partner: &Partner, count: usize) -> Vec<u16> {
    let keys: Vec<String> = (0..count).map(|_| service.clock.id().to_string()).collect();
    let calls = keys.iter().map(|key| async { partner.ask_token(key, WRONG).await.status });
    futures::future::join_all(calls).await
}

/// Each check needs a buffer of 19 MiB. There are two at most, whoever calls: a hundred at once, most of them with a secret that
/// was right a moment ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checked_secrets_leave_no_memory_behind() {
    let place = Place::sqlite();
    let server = place.serve(&[]);
    let idle = server.memory();
    let partner = place.partner().await;
    let keys: Vec<Option<String>> =
        (0..1000).map(|number| (number % 5 == 0).then(|| partner.clock.id().to_string())).collect();
    let partner = &partner;
    let calls = keys.iter().map(|unknown| async move {
        match unknown {
            Some(key) => partner.ask_token(key, WRONG).await.status,
            None => partner.ask_token(&partner.api_key, &partner.api_secret).await.status,
        }
    });
    let statuses: Vec<u16> = futures::stream::iter(calls).buffer_unordered(100).collect().await;
    // On a busy machine some may be late: 503.
    let (right, wrong, late) = (counted(&statuses, 200), counted(&statuses, 401), counted(&statuses, 503));
    assert!(right <= 800 && wrong <= 200 && right + wrong + late == 1000, "{statuses:?}");
    assert!(late < 250, "{late} were late");
    let grown = server.memory().saturating_sub(idle);
    assert!(grown <= 45, "{grown} MiB more than before");
    assert_eq!(server.stop(), Some(0));
}
