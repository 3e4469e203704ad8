//! Who sends wrong secrets, however many and from however many connections, stops nobody who has the right one.

use std::time::Duration;

use customerd::api::v1::CreateTokenRequest;
use customerd::api::v1::auth_service_client::AuthServiceClient;
use customerd::app::create_programme;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tonic::Code;

use crate::process::Place;
use crate::support::{House, Partner, Service, everywhere};

everywhere![
    of_parallel_guesses_no_more_are_checked_than_of_others,
    guesses_over_grpc_are_counted_too,
    the_owner_is_not_locked_out,
    the_owner_is_not_locked_out_of_a_node_that_does_not_know_it,
    guesses_that_wait_are_counted_too,
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

/// A partner that has never signed in.
async fn stranger(service: &Service, name: &str) -> Partner {
    let addresses = (String::new(), String::new());
    let profile = create_programme(&service.store, &service.clock, (name, true), addresses).await.unwrap();
    Partner::new(service.http, service.clock.clone(), &profile)
}

/// Lets time pass, a second after another, while these wait for their turn. Less than a request may take: on a busy machine the
/// secrets are still being checked when all turns have come.
async fn while_time_passes<T>(service: &Service, done: impl Future<Output = T>) -> T {
    let mut done = std::pin::pin!(done);
    for _ in 0..24 {
        if let Ok(done) = tokio::time::timeout(Duration::from_millis(200), &mut done).await {
            return done;
        }
        service.wait(Duration::from_secs(1));
    }
    done.await
}

/// Everybody has one address: it may stand for many.
async fn the_owner_is_not_locked_out_of_a_node_that_does_not_know_it(house: House) {
    let service = house.start().await;
    let wallet = stranger(&service, "Wallet").await;
    for number in 0..5 {
        wallet.ask_token(&wallet.api_key, &format!("{WRONG}-{number}")).await.refuses(401, "CREDENTIALS_INVALID");
    }
    // A node that goes on with an old secret takes nobody's turn.
    for _ in 0..40 {
        let stale = wallet.ask_token(&wallet.api_key, &format!("{WRONG}-0")).await;
        assert_eq!(stale.refuses(429, "AUTHENTICATION_THROTTLED").header("retry-after"), Some("10"));
    }
    wallet.ask_token(&wallet.api_key, &wallet.api_secret).await.is(200);

    // Behind others that wait for their turn, too: five are checked, one of those that wait at once, nine may not wait.
    let other = stranger(&service, "Other").await;
    let mut guesses = different_guesses(&other, 30);
    let mut statuses: Vec<u16> = guesses.by_ref().take(15).collect().await;
    service.wait(Duration::from_secs(2));
    let owner = other.ask_token(&other.api_key, &other.api_secret);
    let all = futures::future::join(guesses.collect::<Vec<_>>(), owner);
    let (rest, owner) = while_time_passes(&service, all).await;
    owner.is(200);
    statuses.extend(rest);
    let checked = counted(&statuses, 401) + counted(&statuses, 503);
    assert_eq!((checked, counted(&statuses, 429)), (5, 25), "{statuses:?}");
    service.stop().await;
}

/// Guesses of so many secrets at once; their status codes as they come.
fn different_guesses(partner: &Partner, count: usize) -> FuturesUnordered<impl Future<Output = u16>> {
    let guess = |number| async move { partner.ask_token(&partner.api_key, &format!("{WRONG}-{number}")).await.status };
    (100..100 + count).map(guess).collect()
}

async fn guesses_that_wait_are_counted_too(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut guesses = different_guesses(&wallet, 60);
    let mut statuses: Vec<u16> = guesses.by_ref().take(45).collect().await;
    statuses.extend(while_time_passes(&service, guesses.collect::<Vec<_>>()).await);
    // On a busy machine one that is checked may be late: 503.
    let checked = counted(&statuses, 401) + counted(&statuses, 503);
    assert_eq!((checked, counted(&statuses, 429)), (5, 55), "{statuses:?}");
    service.stop().await;
}

/// None of them is known to be right when they come.
async fn all_nodes_of_a_partner_may_sign_in_at_once(house: House) {
    let service = house.start().await;
    let wallet = stranger(&service, "Wallet").await;
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

/// Each check needs a buffer of 19 MiB. There are two at most, for all callers: a hundred at once, most of them with a secret that
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
