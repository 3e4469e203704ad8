//! A KYC partner's decisions, each an authentic callback, against a bare loop that makes the same changes: the decision kept,
//! the customer moved.

use std::sync::Arc;
use std::time::Instant;

use customerd::api::v1::portal_service_server::PortalService as _;
use customerd::api::v1::{CallbackHeader, ReceiveKycCallbackRequest};
use customerd::domain::chain::ChainSet;
use customerd::domain::customer::{Move, Status};
use customerd::domain::event::Origin;
use customerd::domain::kyc::{KycState, KycStatus};
use customerd::kyc::Kyc;
use customerd::lifecycle::{Step, moves};
use customerd::service::{Api, Settings};
use customerd::signature::Origins;
use customerd::store::customers;
use customerd::store::verifications::{self, Verification};
use serde_json::json;
use uuid::Uuid;

use super::sumsub::{self, Signed, StandIn};
use super::table::median;
use super::{Bench, CALLERS, CUSTOMERS, ROUNDS};

/// Decisions a second: of the service, of the bare loop, of every round; and the median of each round's ratio.
pub async fn rates(bench: &Arc<Bench>) -> (Vec<f64>, Vec<f64>, f64) {
    let api = Arc::new(api(bench).await);
    let (mut ours, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let ids = bench.fill(Status::Verifying, false).await;
        let floor = rate(ids, |id| bare(Arc::clone(bench), id)).await;
        let ids = bench.fill(Status::Verifying, false).await;
        let rate = rate(ids, |id| decided(Arc::clone(&api), id)).await;
        // The first round fills caches.
        if round > 0 {
            ours.push(rate);
            floors.push(floor);
            ratios.push(rate / floor);
        }
    }
    (ours, floors, median(ratios))
}

async fn api(bench: &Bench) -> Api {
    let kyc = Arc::new(Kyc::Sumsub(Box::new(StandIn::start().await.client())));
    let settings = Settings {
        origins: Origins::new(["https://customers.test"]).unwrap(),
        chains: ChainSet::default(),
        rate: None,
        kyc,
        private_callbacks: false,
        streams: 100,
        stopping: tokio::sync::watch::Sender::new(false).subscribe(),
    };
    Api::new(bench.store.clone(), bench.clock.clone(), settings).await.unwrap()
}

async fn rate<F: Future<Output = ()> + Send + 'static>(ids: Vec<Uuid>, work: impl Fn(Uuid) -> F) -> f64 {
    let begun = Instant::now();
    let callers: Vec<_> = ids
        .chunks(CUSTOMERS.div_ceil(CALLERS))
        .map(|ids| {
            let works: Vec<F> = ids.iter().map(|id| work(*id)).collect();
            tokio::spawn(async move {
                for work in works {
                    work.await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    CUSTOMERS as f64 / begun.elapsed().as_secs_f64()
}

async fn decided(api: Arc<Api>, customer: Uuid) {
    let signed = Signed::new(&sumsub::reviewed(customer, 500, json!({"reviewAnswer": "GREEN"})));
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| CallbackHeader {
        name: name.as_str().into(),
        value: value.as_bytes().to_vec(),
    };
    let headers = signed.headers.iter().map(header).collect();
    let call = ReceiveKycCallbackRequest { provider: "sumsub".into(), headers, body: signed.body };
    api.receive_kyc_callback(tonic::Request::new(call)).await.unwrap();
}

async fn bare(bench: Arc<Bench>, id: Uuid) {
    let mut tx = bench.store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, id).await.unwrap().unwrap();
    let state = KycState { status: KycStatus::Approved, decided_at_ms: Some(500), ..KycState::default() };
    let verification = Verification { state, provider: Some("bench".into()), updated_at: bench.clock.now() };
    verifications::put(&mut tx, id, &verification).await.unwrap();
    let step = Step { by: Move::Approve, reason: None, origin: &Origin::internal("kyc") };
    moves::make(&mut tx, &mut held, step, &bench.clock).await.unwrap();
    tx.commit().await.unwrap();
}
