//! Forged, replayed and reordered callbacks: 1,000 generated sequences against the service and its store.

use std::sync::Arc;

use customerd::api::v1::portal_service_server::PortalService;
use customerd::api::v1::{CallbackHeader, ReceiveKycCallbackRequest};
use customerd::clock::Clock;
use customerd::domain::chain::ChainSet;
use customerd::domain::customer::{Customer, Status};
use customerd::domain::event::Chain;
use customerd::domain::programme::Programme;
use customerd::kyc::Kyc;
use customerd::service::{Api, Settings};
use customerd::signature::Origins;
use customerd::store::customers::{self, Held};
use customerd::store::programmes::{self, NewProgramme};
use customerd::store::{Store, StoreOptions, events};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use crate::sumsub::{self, Signed, StandIn};
use crate::support::START;

/// What a partner can say, from the least to the gravest.
const SAYINGS: usize = 5;

#[derive(Debug, Clone)]
struct Delivery {
    saying: usize,
    at_ms: u32,
    forged: bool,
}

fn sequence() -> impl Strategy<Value = Vec<Delivery>> {
    // Few moments and few sayings: repetitions and ties are common.
    let delivery = (0..SAYINGS, 0..5_u32, prop::bool::weighted(0.2));
    vec(delivery.prop_map(|(saying, at_ms, forged)| Delivery { saying, at_ms, forged }), 1..9)
}

fn body(customer: Uuid, delivery: &Delivery) -> Value {
    let red = |kind| json!({"reviewAnswer": "RED", "reviewRejectType": kind});
    match delivery.saying {
        0 => sumsub::event("applicantCreated", customer, delivery.at_ms),
        1 => sumsub::event("applicantPending", customer, delivery.at_ms),
        2 => sumsub::reviewed(customer, delivery.at_ms, red("RETRY")),
        3 => sumsub::reviewed(customer, delivery.at_ms, json!({"reviewAnswer": "GREEN"})),
        _ => sumsub::reviewed(customer, delivery.at_ms, red("FINAL")),
    }
}

/// Where the authentic ones must lead: told as a story, not by the service's own rule.
fn expected(sequence: &[Delivery]) -> Status {
    let mut newest: Option<(u32, usize)> = None;
    let mut status = Status::Verifying;
    for Delivery { saying, at_ms, .. } in sequence.iter().filter(|delivery| !delivery.forged) {
        if newest.is_some_and(|newest| newest >= (*at_ms, *saying)) {
            continue;
        }
        newest = Some((*at_ms, *saying));
        match saying {
            3 => status = Status::Active,
            4 => return Status::Rejected,
            _ => {}
        }
    }
    status
}

struct Scene {
    api: Api,
    store: Store,
    clock: Clock,
    programme_id: Uuid,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/customerd.db", directory.path().display());
        let (store, clock) = (Store::open(&url, StoreOptions::default()).await.unwrap(), Clock::manual(START, 1));
        let kyc = Arc::new(Kyc::Sumsub(Box::new(StandIn::start().await.client())));
        let origins = Origins::new(["https://customers.test"]).unwrap();
        let (private_callbacks, stopping) = (false, tokio::sync::watch::Sender::new(false).subscribe());
        let (chains, streams) = (ChainSet::default(), 100);
        let settings = Settings { origins, chains, rate: None, kyc, private_callbacks, streams, stopping };
        let api = Api::new(store.clone(), clock.clone(), settings).await.unwrap();
        let programme = Programme { id: clock.id(), name: "Wallet".into(), sandbox: false };
        let mut tx = store.begin().await.unwrap();
        let new = NewProgramme { programme: &programme, api_key: clock.id(), api_secret_hash: "-", at: clock.now() };
        programmes::insert(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        Self { api, store, clock, programme_id: programme.id, _directory: directory }
    }

    /// A customer in verification.
    async fn customer(&self) -> Uuid {
        let id = self.clock.id();
        let customer = Customer {
            id,
            programme_id: self.programme_id,
            external_id: id.to_string(),
            chain_id: format!("eip155:1:{id}"),
            status: Status::Verifying,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
            version: 1,
        };
        let mut tx = self.store.begin().await.unwrap();
        customers::insert(&mut tx, &Held::new(customer, Chain::default(), None)).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn run(&self, sequence: &[Delivery]) {
        let customer = self.customer().await;
        for delivery in sequence {
            let secret = if delivery.forged { "forged" } else { sumsub::WEBHOOK_SECRET };
            let signed = Signed::with(secret, &body(customer, delivery));
            let headers = signed
                .headers
                .iter()
                .map(|(name, value)| CallbackHeader { name: name.as_str().into(), value: value.as_bytes().to_vec() });
            let headers = headers.collect();
            let call = ReceiveKycCallbackRequest { provider: "sumsub".into(), headers, body: signed.body };
            let answer = self.api.receive_kyc_callback(tonic::Request::new(call)).await;
            assert_eq!(answer.err().map(|status| status.code()), delivery.forged.then_some(Code::Unauthenticated));
        }
        let mut reader = self.store.reader().await.unwrap();
        let found = customers::get_owned(&mut reader, self.programme_id, customer).await.unwrap().unwrap();
        assert_eq!(found.status, expected(sequence));
        let trail = events::trail(&mut reader, customer, None, 100).await.unwrap();
        let versions: Vec<i64> = trail.iter().rev().map(|event| event.version).collect();
        assert_eq!(versions, (2..=found.version).collect::<Vec<_>>(), "one event a version, none twice");
    }
}

#[test]
fn no_sequence_of_callbacks_leaves_a_customer_where_no_authentic_decision_put_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::new());
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&sequence(), |sequence| {
        runtime.block_on(scene.run(&sequence));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
