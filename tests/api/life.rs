//! Sleeping, waking, rejecting; the audit trail.

use std::future::IntoFuture as _;

use customerd::api::v1::RejectCustomerRequest;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::domain::customer::{Move, Status};
use customerd::domain::event::Origin;
use customerd::lifecycle::{Step, moves};
use customerd::store::audit::{self, Found, Read};
use customerd::store::{Connection, customers};
use serde_json::json;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::{House, Partner, Service, everywhere};

everywhere![
    every_move_from_every_state,
    only_operators_reject,
    the_trail_is_paged_and_chained,
    others_customers_do_not_move,
    the_audit_finds_what_was_altered,
    moves_at_once_leave_no_gap,
];

/// A customer that screening and identity verification brought to a status.
async fn customer(service: &Service, partner: &Partner, status: Status) -> Uuid {
    let created = partner.customer(&format!("u-{}", service.clock.nonce(16))).await;
    let id = created["id"].as_str().unwrap().parse().unwrap();
    let moves: &[Move] = match status {
        Status::Initiating => &[],
        Status::Screening => &[Move::ProveOwnership],
        Status::Verifying => &[Move::ProveOwnership, Move::Clear],
        Status::Active => &[Move::ProveOwnership, Move::Clear, Move::Approve],
        Status::Inactive => &[Move::ProveOwnership, Move::Clear, Move::Approve, Move::Deactivate],
        Status::Rejected => &[Move::ProveOwnership, Move::Reject],
    };
    let mut tx = service.store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, id).await.unwrap().unwrap();
    for by in moves {
        let origin = Origin::internal("test");
        let step = Step { by: *by, reason: None, origin: &origin };
        moves::make(&mut tx, &mut held, step, &service.clock).await.unwrap();
    }
    tx.commit().await.unwrap();
    id
}

/// Status, move, and the status after or 409: the contract's picture, for the moves that a caller can make.
const TABLE: &str = "\
initiating deactivated 409
initiating activated 409
initiating rejected 409
screening deactivated 409
screening activated 409
screening rejected rejected
verifying deactivated 409
verifying activated 409
verifying rejected rejected
active deactivated inactive
active activated 409
active rejected rejected
inactive deactivated 409
inactive activated active
inactive rejected rejected
rejected deactivated 409
rejected activated 409
rejected rejected 409
";

async fn every_move_from_every_state(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let operator = service.operator("ops").await;
    let mut rpc = CustomerServiceClient::new(service.channel().await);
    let mut table = String::new();
    for status in Status::ALL {
        for by in [Move::Deactivate, Move::Activate, Move::Reject] {
            let id = customer(&service, &partner, status).await;
            let before = partner.get(&format!("/v1/customers/{id}")).await.is(200);
            let done = match by {
                Move::Reject => {
                    let request = RejectCustomerRequest { customer_id: id.to_string(), reason: "Fraud.".into() };
                    match rpc.reject_customer(operator.rpc(partner.programme_id, request)).await {
                        Ok(_) => Ok(()),
                        Err(refused) => Err(refused.get_details_error_info().unwrap().reason),
                    }
                }
                by => {
                    let name = if by == Move::Activate { "activate" } else { "deactivate" };
                    let answer = partner.patch(&format!("/v1/customers/{id}/{name}")).await;
                    let after = partner.get(&format!("/v1/customers/{id}")).await.is(200);
                    match answer.status {
                        200 => {
                            assert_eq!(answer.body, after.body);
                            Ok(())
                        }
                        409 => {
                            assert_eq!(answer.json()["currentStatus"], status.as_str());
                            Err(answer.json()["code"].as_str().unwrap().to_owned())
                        }
                        other => panic!("{other}: {answer:?}"),
                    }
                }
            };
            let after = partner.get(&format!("/v1/customers/{id}")).await.is(200);
            let grown = after.json()["version"].as_i64().unwrap() - before.json()["version"].as_i64().unwrap();
            match done {
                Ok(()) => assert_eq!(grown, 1),
                Err(code) => {
                    assert_eq!((code.as_str(), &after.body), ("INVALID_STATE_TRANSITION", &before.body));
                }
            }
            let moved = if grown == 1 { after.json()["status"].as_str().unwrap().to_owned() } else { "409".to_owned() };
            table.push_str(&format!("{status} {} {moved}\n", by.as_str()));
        }
    }
    assert_eq!(table, TABLE);
}

async fn only_operators_reject(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let operator = service.operator("ops").await;
    let id = customer(&service, &partner, Status::Active).await;
    let mut rpc = CustomerServiceClient::new(service.channel().await);
    let request = |reason: &str| RejectCustomerRequest { customer_id: id.to_string(), reason: reason.into() };
    let refused = rpc.reject_customer(partner.rpc(request("Fraud."))).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "OPERATOR_ONLY");
    for bad in ["", " x", "a\nb", &"x".repeat(257)] {
        let refused = rpc.reject_customer(operator.rpc(partner.programme_id, request(bad))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{bad}");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "reason", "{bad}");
    }
    let rejected =
        rpc.reject_customer(operator.rpc(partner.programme_id, request("Fraud."))).await.unwrap().into_inner();
    assert_eq!((rejected.status().as_str_name(), rejected.version), ("CUSTOMER_STATUS_REJECTED", 5));
    let events = partner.get(&format!("/v1/customers/{id}/events")).await.is(200).json();
    let told = ["actor", "cause", "from", "to"].map(|name| events["events"][0][name].as_str().unwrap().to_owned());
    assert_eq!(told, ["operator", "rejected: other", "active", "rejected"]);
}

async fn the_trail_is_paged_and_chained(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let id = customer(&service, &partner, Status::Active).await;
    partner.patch(&format!("/v1/customers/{id}/deactivate")).await.is(200);
    let whole = partner.get(&format!("/v1/customers/{id}/events")).await.is(200).json();
    assert_eq!(whole["nextPageToken"], "");
    let whole = whole["events"].as_array().unwrap();
    let versions: Vec<i64> = whole.iter().map(|event| event["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [5, 4, 3, 2, 1]);
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let target = format!("/v1/customers/{id}/events?pageSize=2&pageToken={token}");
        let page = partner.get(&target).await.is(200).json();
        paged.extend(page["events"].as_array().unwrap().clone());
        token = page["nextPageToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(&paged, whole);
    for pair in whole.windows(2) {
        assert_eq!(pair[0]["previousHash"], pair[1]["hash"]);
    }
    let first = whole.last().unwrap();
    assert_eq!(first["previousHash"], "0".repeat(64));
    assert_eq!((&first["cause"], &first["actor"], first.get("from")), (&json!("created"), &json!("programme"), None));
    let newest = &whole[0];
    assert_eq!(newest["entityId"], id.to_string());
    let told = ["type", "entityType", "actor", "cause", "from", "to"].map(|name| newest[name].as_str().unwrap());
    assert_eq!(told, ["customer.updated", "customer", "programme", "deactivated", "active", "inactive"]);
    partner.get(&format!("/v1/customers/{id}/events?pageToken=AAAA")).await.blames("pageToken", "INVALID_VALUE");
    partner.get(&format!("/v1/customers/{id}/events?pageSize=0")).await.blames("pageSize", "OUT_OF_RANGE");
}

async fn others_customers_do_not_move(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let (partner, other) = (service.partner("Wallet").await, service.partner("Other").await);
    let id = customer(&service, &partner, Status::Active).await;
    let before = partner.get(&format!("/v1/customers/{id}")).await.is(200);
    for (theirs, nobodys) in [(id.to_string(), Uuid::nil().to_string())] {
        let strange =
            other.patch(&format!("/v1/customers/{theirs}/deactivate")).await.refuses(404, "CUSTOMER_NOT_FOUND");
        let absent =
            other.patch(&format!("/v1/customers/{nobodys}/deactivate")).await.refuses(404, "CUSTOMER_NOT_FOUND");
        assert_eq!(strange.json()["detail"], absent.json()["detail"]);
        other.get(&format!("/v1/customers/{theirs}/events")).await.refuses(404, "CUSTOMER_NOT_FOUND");
    }
    assert_eq!(partner.get(&format!("/v1/customers/{id}")).await.body, before.body);
    // The answer for a customer that does not exist is kept under the key.
    let once = "11111111-1111-4111-8111-111111111111";
    let target = format!("/v1/customers/{}/activate", Uuid::nil());
    let first = other.patch(&target).key(once).await.refuses(404, "CUSTOMER_NOT_FOUND");
    let again = other.patch(&target).key(once).await;
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, Some("true")));
}

async fn the_audit_finds_what_was_altered(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let good = customer(&service, &partner, Status::Active).await;
    let bad = customer(&service, &partner, Status::Verifying).await;
    assert_eq!(faults(&service).await, (Vec::new(), Read { customers: 2, events: 7 }));
    alter(&service, "UPDATE events SET actor = 'nobody' WHERE seq = 2 AND customer_id = $1", bad).await;
    alter(&service, "UPDATE customers SET status = 'rejected' WHERE id = $1", good).await;
    let (found, read) = faults(&service).await;
    assert_eq!(read, Read { customers: 2, events: 7 });
    let events = partner.get(&format!("/v1/customers/{bad}/events")).await.is(200).json();
    let event = events["events"][1]["eventId"].as_str().unwrap().to_owned();
    let mut expected = [
        format!("customer {good}: customer {good} is rejected, version 4; its events say active, version 4"),
        format!("customer {bad}: event {event} at place 2: its hash is not that of its content: it was altered"),
    ];
    expected.sort();
    assert_eq!(found, expected);
    alter(&service, "DELETE FROM customers WHERE id = $1", good).await;
    let (found, _) = faults(&service).await;
    assert!(found.contains(&format!("customer {good}: it has events, but does not exist")), "{found:?}");
}

async fn faults(service: &Service) -> (Vec<String>, Read) {
    let mut faults = Vec::new();
    let read = audit::verify(&service.store, |found| {
        if let Found::Fault(fault) = found {
            faults.push(fault.to_string());
        }
    });
    let read = read.await.unwrap();
    faults.sort();
    (faults, read)
}

async fn alter(service: &Service, sql: &'static str, id: Uuid) {
    let mut tx = service.store.begin().await.unwrap();
    assert_eq!(tx.query(sql).bind(id).execute().await.unwrap(), 1);
    tx.commit().await.unwrap();
}

/// Many calls for one customer: each that is answered 200 is one event, and the audit finds the trail whole.
async fn moves_at_once_leave_no_gap(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let id = customer(&service, &partner, Status::Active).await;
    let targets = [format!("/v1/customers/{id}/deactivate"), format!("/v1/customers/{id}/activate")];
    let calls = (0..12).map(|number| partner.patch(&targets[number % 2]).into_future());
    let answers = futures::future::join_all(calls).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!(done + refused, 12, "{answers:?}");
    assert!(done >= 1);
    let now = partner.get(&format!("/v1/customers/{id}")).await.is(200).json();
    assert_eq!(now["version"].as_u64().unwrap(), 4 + done as u64);
    assert_eq!(faults(&service).await, (Vec::new(), Read { customers: 1, events: 4 + done as u64 }));
}
