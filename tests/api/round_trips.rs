//! How often a call asks PostgreSQL, once its caller is known.

use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{CreateCustomerRequest, GetCustomerRequest, ListCustomersRequest};
use customerd::domain::Timestamp;
use customerd::domain::customer::Move;
use customerd::domain::delivery::{Attempt, Pace};
use customerd::store::deliveries::{self, Attempted, Lease, RECORDED, Scan};
use customerd::store::{Change, Mode, Tx};
use customerd::worker::{Queue as _, ScreeningQueue};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::screening::listing;
use crate::support::accounts::{self, physical_card, virtual_card};
use crate::support::{House, Partner, Proxy, Service, account};

/// The service without its worker, behind the proxy, and a partner.
async fn house(name: &str) -> Option<(Service, Proxy, Partner)> {
    let proxy = Proxy::before(&crate::postgres::database().await?).await;
    let house = House::on(proxy.url.clone(), tempfile::tempdir().unwrap(), crate::support::START);
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner(name).await;
    Some((service, proxy, partner))
}

fn account_order() -> Value {
    json!({"type": "card_account", "currencies": ["EUR"]})
}

/// A customer with an account, each active.
async fn funded(service: &Service, partner: &Partner, name: &str) -> (Uuid, Uuid) {
    let customer = service.active_customer(partner, name).await;
    (customer, service.active_account(partner, customer).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_call_of_a_known_caller_costs() {
    let Some((service, proxy, partner)) = house("Counted").await else { return };
    // Each call is made once to warm up: its statements are prepared on the connection that was used last.
    let mut counted: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut costs = |call: &'static str| {
        let trips = proxy.trips();
        match counted.iter_mut().find(|(known, _)| *known == call) {
            Some((_, costs)) => costs.push(trips),
            None => counted.push((call, vec![trips])),
        }
    };
    for round in 0..3 {
        let (customer, account_id) = funded(&service, &partner, &format!("u-{round}")).await;
        let childless = service.active_customer(&partner, &format!("childless-{round}")).await;
        let alone = service.active_account(&partner, customer).await;
        let card = service.active_card(&partner, account_id, &physical_card()).await;
        proxy.trips();
        partner.customer(&format!("created-{round}")).await;
        costs("create a customer");
        partner.post(&format!("/v1/customers/{customer}/accounts"), &account_order()).await.is(201);
        costs("create an account");
        partner.post(&format!("/v1/accounts/{account_id}/cards"), &virtual_card()).await.is(201);
        costs("create a card");
        partner.get("/v1/customers").await.is(200);
        costs("list customers");
        partner.get(&format!("/v1/customers/{customer}/accounts")).await.is(200);
        costs("list accounts");
        partner.get(&format!("/v1/accounts/{account_id}/cards")).await.is(200);
        costs("list cards");
        partner.get(&format!("/v1/customers/{customer}")).await.is(200);
        costs("get a customer");
        partner.get(&format!("/v1/accounts/{account_id}")).await.is(200);
        costs("get an account");
        partner.get(&format!("/v1/cards/{card}")).await.is(200);
        costs("get a card");
        partner.patch(&format!("/v1/customers/{childless}/deactivate")).await.is(200);
        costs("deactivate a customer without accounts");
        partner.patch(&format!("/v1/accounts/{alone}/deactivate")).await.is(200);
        costs("deactivate an account without cards");
        partner.patch(&format!("/v1/cards/{card}/deactivate")).await.is(200);
        costs("deactivate a card");
        partner.patch(&format!("/v1/customers/{customer}/deactivate")).await.is(200);
        costs("deactivate a customer with two accounts and a card");
    }
    let wanted = [
        ("create a customer", 1),
        ("create an account", 2),
        ("create a card", 2),
        ("list customers", 1),
        ("list accounts", 1),
        ("list cards", 1),
        ("get a customer", 1),
        ("get an account", 1),
        ("get a card", 1),
        ("deactivate a customer without accounts", 2),
        ("deactivate an account without cards", 2),
        ("deactivate a card", 2),
        ("deactivate a customer with two accounts and a card", 4),
    ];
    let costs: Vec<_> = counted.iter().map(|(call, costs)| (*call, costs.last().copied().unwrap())).collect();
    assert_eq!(costs, wanted, "{counted:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_costs_no_more() {
    let Some((service, proxy, partner)) = house("Counted").await else { return };
    let operator = service.operator("support").await;
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let id = partner.customer("u-0").await["id"].as_str().unwrap().to_owned();
    let mut counted = Vec::new();
    for round in 0..3 {
        proxy.trips();
        let get = GetCustomerRequest { customer_id: id.clone() };
        customers.get_customer(operator.rpc(partner.programme_id, get)).await.unwrap();
        let got = proxy.trips();
        customers.list_customers(operator.rpc(partner.programme_id, ListCustomersRequest::default())).await.unwrap();
        let listed = proxy.trips();
        let body =
            CreateCustomerRequest { chain_id: account(&format!("o-{round}")), external_id: format!("o-{round}") };
        let mut create = operator.rpc(partner.programme_id, body);
        create.metadata_mut().insert("idempotency-key", service.clock.id().to_string().parse().unwrap());
        customers.create_customer(create).await.unwrap();
        counted.push((got, listed, proxy.trips()));
    }
    assert_eq!(counted.last(), Some(&(1, 1, 1)), "{counted:?}");
    service.stop().await;
}

/// Many attempts that were recorded together.
struct Recorded(Vec<Attempted>);

impl Change for Recorded {
    type Out = ();
    type Error = customerd::store::Error;

    fn mode(&self) -> Mode {
        Mode::Optimistic
    }

    async fn apply(&self, tx: &mut Tx) -> Result<(), Self::Error> {
        deliveries::record(tx, &self.0.iter().collect::<Vec<_>>())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_claims_tasks_in_two_and_records_attempts_in_one() {
    let Some((service, proxy, partner)) = house("Counted").await else { return };
    let node = service.node().await;
    let body = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated"]});
    let webhook = partner.put("/v1/webhooks", &body).await.is(200).json()["id"].as_str().unwrap().parse().unwrap();
    let queue = ScreeningQueue::new(service.store.clone(), service.clock.clone(), listing("0x00"));
    let mut counted = Vec::new();
    for round in 0..3 {
        for number in 0..RECORDED.div_ceil(2) {
            let id = accounts::id(&partner.customer(&format!("u-{round}-{number}")).await);
            service.move_customer(id, &[Move::ProveOwnership]).await;
        }
        proxy.trips();
        let claimed = queue.claim(node, service.clock.now(), 128).await.unwrap();
        let claim = proxy.trips();
        assert_eq!(claimed.items.len(), 128);

        let leases = vec![webhook];
        let mut tx = service.store.begin().await.unwrap();
        let leased = deliveries::lease(&mut tx, node, &leases).await.unwrap();
        tx.commit().await.unwrap();
        let lease = leased.first().copied().unwrap_or(Lease { webhook_id: webhook, node, epoch: 1 });
        let after = (Timestamp::EPOCH, Uuid::nil());
        let scan = Scan { webhook_id: webhook, fifo: false, after, limit: i64::try_from(RECORDED).unwrap() };
        let now = service.clock.now();
        let due = deliveries::due(&mut service.store.reader().await.unwrap(), scan, now).await.unwrap();
        let attempted = due.into_iter().map(|due| {
            let mut delivery = due.delivery;
            let due = delivery.next_attempt_at.unwrap();
            let attempt = Attempt { at: now, status: Some(204), latency_ms: 1, error: None, response: None };
            delivery.settle(attempt, Pace::default());
            Attempted { delivery, due, at: now, lease }
        });
        let recorded = Recorded(attempted.collect());
        assert_eq!(recorded.0.len(), RECORDED);
        proxy.trips();
        service.store.transact(&recorded).await.unwrap();
        counted.push((claim, proxy.trips()));
        let open = deliveries::open(&mut service.store.reader().await.unwrap()).await.unwrap();
        assert_eq!(open, (0, 0), "all are recorded");
    }
    assert_eq!(counted.last(), Some(&(2, 1)), "{counted:?}");
    service.stop().await;
}
