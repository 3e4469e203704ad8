//! Accounts: created, signed for by the owner, deployed by another service.

use std::time::Duration;

use customerd::api::v1::account_service_client::AccountServiceClient;
use customerd::api::v1::{ClaimDeploymentsRequest, CompleteDeploymentRequest, FailDeploymentRequest};
use customerd::domain::account::{Factory, Move, SANDBOX_FACTORY};
use customerd::domain::customer;
use customerd::worker::{Queue as _, SandboxDeployments};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::accounts::{id, trail};
use crate::support::{Evm, House, Partner, Service, b64, everywhere, unb64};

everywhere![
    an_account_is_created_and_shown,
    the_owner_signs_and_nobody_else,
    only_active_customers_get_accounts,
    every_fault_of_a_creation_is_named,
    a_deployment_is_claimed_and_reported,
    a_failed_deployment_is_final,
    only_operators_deploy,
    the_worker_deploys_sandbox_accounts,
    every_move_of_an_account,
    accounts_are_listed_newest_first,
];

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

async fn quiet(house: House) -> (Service, Partner) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    (service, partner)
}

fn factory() -> Factory {
    SANDBOX_FACTORY.parse().unwrap()
}

fn order() -> Value {
    json!({"type": "card_account", "currencies": ["EUR"]})
}

async fn create(partner: &Partner, customer_id: Uuid) -> Value {
    partner.post(&format!("/v1/customers/{customer_id}/accounts"), &order()).await.is(201).json()
}

async fn status(partner: &Partner, account_id: Uuid) -> (String, i64) {
    let account = partner.get(&format!("/v1/accounts/{account_id}")).await.is(200).json();
    (account["status"].as_str().unwrap().to_owned(), account["version"].as_i64().unwrap())
}

async fn an_account_is_created_and_shown(house: House) {
    let (service, partner) = quiet(house).await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    let mut created = create(&partner, customer_id).await;
    let challenge = unb64(&created["challenge"].take());
    assert!(String::from_utf8(challenge.clone()).unwrap().contains("to open a card account"));
    created.as_object_mut().unwrap().remove("challenge");
    let account_id = id(&created);
    let at = "2026-01-02T03:04:05.000006Z";
    let wanted = json!({
        "id": account_id, "customerId": customer_id, "type": "card_account", "currencies": ["EUR"],
        "status": "initiating", "createdAt": at, "updatedAt": at, "version": 1,
    });
    assert_eq!(created, wanted);
    assert_eq!(partner.get(&format!("/v1/accounts/{account_id}")).await.is(200).json(), wanted);
    let live = partner.get(&format!("/v1/accounts/{account_id}/challenge")).await.is(200).json();
    assert_eq!(live["challenge"], b64(&challenge));
    assert!(live["expiresAt"].as_str().unwrap().starts_with("2026-01-02T04:04:05"), "{live}");
    let other = service.partner("Other").await;
    for target in [format!("/v1/accounts/{account_id}"), format!("/v1/accounts/{account_id}/challenge")] {
        other.get(&target).await.refuses(404, "ACCOUNT_NOT_FOUND");
    }
    assert_eq!(trail(&partner, customer_id).await.last().unwrap(), "account [created] - > initiating v1");
}

async fn the_owner_signs_and_nobody_else(house: House) {
    let (service, partner) = quiet(house).await;
    let (key, thief) = (Evm::new(3), Evm::new(4));
    let body = json!({"chainId": key.account(), "externalId": "u-1"});
    let customer_id = id(&partner.post("/v1/customers", &body).await.is(201).json());
    let moves = [customer::Move::ProveOwnership, customer::Move::Clear, customer::Move::Approve];
    service.move_customer(customer_id, &moves).await;
    let created = create(&partner, customer_id).await;
    let (account_id, first) = (id(&created), unb64(&created["challenge"]));
    let target = format!("/v1/accounts/{account_id}/challenge/sign");
    let signed = |owner: Uuid, text: &[u8], key: &Evm| json!({"ownerId": owner, "challenge": b64(text), "signature": key.sign_hex(text)});
    let missing = partner.post(&target, &json!({"challenge": b64(&first)})).await.refuses(400, "VALIDATION_FAILED");
    let fields: Vec<_> = missing.json()["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["ownerId", "signature"]);
    let nobody: Uuid = NOBODY.parse().unwrap();
    partner.post(&target, &signed(nobody, &first, &key)).await.refuses(400, "OWNER_MISMATCH");
    let altered = [&first[..], b"\n"].concat();
    partner.post(&target, &signed(customer_id, &altered, &key)).await.refuses(400, "CHALLENGE_MISMATCH");
    // Neither voided it.
    partner.post(&target, &signed(customer_id, &first, &thief)).await.refuses(400, "CHALLENGE_SIGNATURE_INVALID");
    let challenge = format!("/v1/accounts/{account_id}/challenge");
    let second = unb64(&partner.get(&challenge).await.is(200).json()["challenge"]);
    assert_ne!(second, first);
    partner.post(&target, &signed(customer_id, &first, &key)).await.refuses(400, "CHALLENGE_MISMATCH");
    service.wait(Duration::from_secs(3601));
    let mut partner = partner;
    partner.sign_in().await;
    partner.post(&target, &signed(customer_id, &second, &key)).await.refuses(400, "CHALLENGE_EXPIRED");
    let third = unb64(&partner.get(&challenge).await.is(200).json()["challenge"]);
    assert_ne!(third, second);
    partner.post(&target, &signed(customer_id, &third, &key)).await.is(204);
    assert_eq!(status(&partner, account_id).await, ("pending".to_owned(), 2));
    partner.post(&target, &signed(customer_id, &third, &key)).await.refuses(409, "INVALID_STATE_TRANSITION");
    partner.get(&challenge).await.refuses(409, "INVALID_STATE_TRANSITION");
    let gone = partner.post(&format!("/v1/accounts/{NOBODY}/challenge/sign"), &signed(customer_id, &third, &key)).await;
    gone.refuses(404, "ACCOUNT_NOT_FOUND");
    assert_eq!(trail(&partner, customer_id).await.last().unwrap(), "account [owner_signed] initiating > pending v2");
}

async fn only_active_customers_get_accounts(house: House) {
    let (service, partner) = quiet(house).await;
    use customer::Move;
    let lives: [(&str, &[Move]); 5] = [
        ("initiating", &[]),
        ("screening", &[Move::ProveOwnership]),
        ("verifying", &[Move::ProveOwnership, Move::Clear]),
        ("inactive", &[Move::ProveOwnership, Move::Clear, Move::Approve, Move::Deactivate]),
        ("rejected", &[Move::ProveOwnership, Move::Reject]),
    ];
    for (status, moves) in lives {
        let customer_id = id(&partner.customer(status).await);
        service.move_customer(customer_id, moves).await;
        let target = format!("/v1/customers/{customer_id}/accounts");
        let answer = partner.post(&target, &order()).await.refuses(409, "INVALID_STATE_TRANSITION");
        assert_eq!(answer.json()["currentStatus"], status);
        assert_eq!(partner.get(&target).await.is(200).json(), json!({"accounts": [], "nextPageToken": ""}));
    }
    for id in [NOBODY, "nonsense"] {
        let target = format!("/v1/customers/{id}/accounts");
        partner.post(&target, &order()).await.refuses(404, "CUSTOMER_NOT_FOUND");
        partner.get(&target).await.refuses(404, "CUSTOMER_NOT_FOUND");
    }
    let (other, own) = (service.partner("Other").await, service.active_customer(&partner, "own").await);
    other.post(&format!("/v1/customers/{own}/accounts"), &order()).await.refuses(404, "CUSTOMER_NOT_FOUND");
}

async fn every_fault_of_a_creation_is_named(house: House) {
    let (service, partner) = quiet(house).await;
    let target = format!("/v1/customers/{}/accounts", service.active_customer(&partner, "u-1").await);
    let faults = [
        (json!({"currencies": ["EUR"]}), "type", "REQUIRED"),
        (json!({"type": "card_account"}), "currencies", "REQUIRED"),
        (json!({"type": "card_account", "currencies": ["eur"]}), "currencies[0]", "INVALID_CURRENCY"),
        (json!({"type": "card_account", "currencies": ["EUR", "USD"]}), "currencies[1]", "TOO_MANY"),
    ];
    for (body, field, code) in faults {
        partner.post(&target, &body).await.blames(field, code);
    }
    partner.post(&target, &json!({"type": "savings", "currencies": ["EUR"]})).await.is(400);
    partner.post(&target, &order()).unsigned().await.refuses(401, "SIGNATURE_MISSING");
    partner.post(&target, &order()).without("idempotency-key").await.refuses(400, "IDEMPOTENCY_KEY_INVALID");
}

async fn pending(service: &Service, partner: &Partner, customer_id: Uuid) -> Uuid {
    let account_id = id(&create(partner, customer_id).await);
    service.move_account(account_id, &[Move::Sign]).await;
    account_id
}

async fn a_deployment_is_claimed_and_reported(house: House) {
    let (service, partner) = quiet(house).await;
    let operator = service.operator("deployer").await;
    let mut rpc = AccountServiceClient::new(service.channel().await);
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = pending(&service, &partner, customer_id).await;
    let claim = |rpc: &mut AccountServiceClient<_>| {
        let mut rpc = rpc.clone();
        let request = operator.rpc_of_all(ClaimDeploymentsRequest { limit: None, lease: None });
        async move { rpc.claim_deployments(request).await.unwrap().into_inner().deployments }
    };
    let first = claim(&mut rpc).await.remove(0);
    assert_eq!(first.account.clone().unwrap().id, account_id.to_string());
    assert!(first.owner_chain_id.starts_with("eip155:1:0x"), "{}", first.owner_chain_id);
    assert_eq!(claim(&mut rpc).await, []);
    service.wait(Duration::from_secs(60));
    let second = claim(&mut rpc).await.remove(0);
    let place = factory().chain_id(account_id, &second.owner_chain_id);
    let report = |lease: &str, chain_id: &str| {
        operator.rpc_of_all(CompleteDeploymentRequest {
            account_id: account_id.to_string(),
            lease_id: lease.to_owned(),
            chain_id: chain_id.to_owned(),
        })
    };
    let code = |status: tonic::Status| status.get_details_error_info().unwrap().reason;
    let lost = rpc.complete_deployment(report(&first.lease_id, &place)).await.unwrap_err();
    assert_eq!((lost.code(), code(lost)), (Code::FailedPrecondition, "LEASE_LOST".to_owned()));
    let wrong = rpc.complete_deployment(report(&second.lease_id, "eip155:5:0x00")).await.unwrap_err();
    assert_eq!(wrong.get_details_bad_request().unwrap().field_violations[0].field, "chainId");
    let done = rpc.complete_deployment(report(&second.lease_id, &place)).await.unwrap().into_inner();
    assert_eq!((done.chain_id.as_deref(), done.version), (Some(place.as_str()), 3));
    let again = rpc.complete_deployment(report(&second.lease_id, &place)).await.unwrap_err();
    assert_eq!(code(again), "INVALID_STATE_TRANSITION");
    let account = partner.get(&format!("/v1/accounts/{account_id}")).await.is(200).json();
    assert_eq!((account["status"].as_str(), account["chainId"].as_str()), (Some("active"), Some(place.as_str())));
    let found = partner.get(&format!("/v1/accounts?chainId={place}")).await.is(200).json();
    assert_eq!(found["accounts"].as_array().unwrap().len(), 1);
}

async fn a_failed_deployment_is_final(house: House) {
    let (service, partner) = quiet(house).await;
    let operator = service.operator("deployer").await;
    let mut rpc = AccountServiceClient::new(service.channel().await);
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = pending(&service, &partner, customer_id).await;
    let closed = pending(&service, &partner, customer_id).await;
    partner.delete(&format!("/v1/accounts/{closed}")).await.is(200);
    let claim = ClaimDeploymentsRequest { limit: Some(100), lease: None };
    let claimed = rpc.claim_deployments(operator.rpc_of_all(claim)).await.unwrap().into_inner().deployments;
    assert_eq!(claimed.len(), 1, "a closed account is not to be deployed any more");
    let fail = |reason: &str| {
        operator.rpc_of_all(FailDeploymentRequest {
            account_id: account_id.to_string(),
            lease_id: claimed[0].lease_id.clone(),
            reason: reason.to_owned(),
        })
    };
    for reason in ["", "4111 1111 1111 1111"] {
        assert_eq!(rpc.fail_deployment(fail(reason)).await.unwrap_err().code(), Code::InvalidArgument);
    }
    rpc.fail_deployment(fail("out of gas")).await.unwrap();
    assert_eq!(status(&partner, account_id).await, ("failed".to_owned(), 3));
    let last = trail(&partner, customer_id).await.pop().unwrap();
    assert_eq!(last, "account [deployment_failed] pending > failed v3");
    partner.delete(&format!("/v1/accounts/{account_id}")).await.refuses(409, "INVALID_STATE_TRANSITION");
}

async fn only_operators_deploy(house: House) {
    let (service, partner) = quiet(house).await;
    let operator = service.operator("deployer").await;
    let mut rpc = AccountServiceClient::new(service.channel().await);
    let refused = rpc.claim_deployments(partner.rpc(ClaimDeploymentsRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for limit in [0, 101] {
        let claim = ClaimDeploymentsRequest { limit: Some(limit), lease: None };
        let refused = rpc.claim_deployments(operator.rpc_of_all(claim)).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "limit");
    }
    for seconds in [0, 3601, -1] {
        let lease = Some(prost_types::Duration { seconds, nanos: 0 });
        let claim = ClaimDeploymentsRequest { limit: None, lease };
        let refused = rpc.claim_deployments(operator.rpc_of_all(claim)).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "lease");
    }
}

async fn the_worker_deploys_sandbox_accounts(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.sandbox_partner("Sandbox").await;
    let operator = service.operator("deployer").await;
    let mut rpc = AccountServiceClient::new(service.channel().await);
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = pending(&service, &partner, customer_id).await;
    let asleep = pending(&service, &partner, customer_id).await;
    let claim = operator.rpc_of_all(ClaimDeploymentsRequest::default());
    assert_eq!(rpc.claim_deployments(claim).await.unwrap().into_inner().deployments, []);
    let queue = SandboxDeployments::new(service.store.clone(), service.clock.clone(), factory());
    let mut outcomes = Vec::new();
    for limit in [1, 10] {
        for item in queue.claim(service.node().await, service.clock.now(), limit).await.unwrap().items {
            let done = queue.perform(&item).await;
            outcomes.push(queue.settle(item, Some(done)).await.unwrap());
        }
        if limit == 1 {
            partner.patch(&format!("/v1/customers/{customer_id}/deactivate")).await.is(200);
        }
    }
    assert_eq!(outcomes, ["deployed", "deployed"]);
    let first = partner.get(&format!("/v1/accounts/{account_id}")).await.is(200).json();
    let owner = partner.get(&format!("/v1/customers/{customer_id}")).await.is(200).json();
    let place = factory().chain_id(account_id, owner["chainId"].as_str().unwrap());
    assert_eq!((first["status"].as_str(), first["chainId"].as_str()), (Some("inactive"), Some(place.as_str())));
    assert_eq!(status(&partner, asleep).await, ("inactive".to_owned(), 3));
    partner.patch(&format!("/v1/customers/{customer_id}/activate")).await.is(200);
    assert_eq!(status(&partner, account_id).await, ("active".to_owned(), 5));
    assert_eq!(status(&partner, asleep).await, ("active".to_owned(), 4));
}

async fn every_move_of_an_account(house: House) {
    let (service, partner) = quiet(house).await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    let lives: [(&str, &[Move]); 6] = [
        ("initiating", &[]),
        ("pending", &[Move::Sign]),
        ("active", &[Move::Sign, Move::Deploy]),
        ("inactive", &[Move::Sign, Move::Deploy, Move::Deactivate]),
        ("closed", &[Move::Close]),
        ("failed", &[Move::Sign, Move::Fail]),
    ];
    let mut table = Vec::new();
    for (from, moves) in lives {
        for by in ["activate", "deactivate", "close"] {
            let account_id = id(&create(&partner, customer_id).await);
            service.move_account(account_id, moves).await;
            let target = format!("/v1/accounts/{account_id}");
            let answer = match by {
                "close" => partner.delete(&target).await,
                _ => partner.patch(&format!("{target}/{by}")).await,
            };
            if answer.status == 200 {
                table.push(format!("{from} {by} {}", answer.json()["status"].as_str().unwrap()));
            } else {
                let answer = answer.refuses(409, "INVALID_STATE_TRANSITION");
                assert_eq!(answer.json()["currentStatus"], from);
                assert_eq!(status(&partner, account_id).await.1, 1 + moves.len() as i64);
            }
        }
    }
    let wanted = [
        "initiating close closed",
        "pending close closed",
        "active deactivate inactive",
        "active close closed",
        "inactive activate active",
        "inactive close closed",
    ];
    assert_eq!(table, wanted);
    for (method, suffix) in [("PATCH", "/activate"), ("PATCH", "/deactivate"), ("DELETE", "")] {
        let gone = partner.call(method, &format!("/v1/accounts/{NOBODY}{suffix}")).await;
        gone.refuses(404, "ACCOUNT_NOT_FOUND");
    }
}

async fn accounts_are_listed_newest_first(house: House) {
    let (service, partner) = quiet(house).await;
    let (one, two) = (service.active_customer(&partner, "u-1").await, service.active_customer(&partner, "u-2").await);
    let mut made = Vec::new();
    for customer_id in [one, two, one, one] {
        service.wait(Duration::from_secs(1));
        made.push(id(&create(&partner, customer_id).await).to_string());
    }
    made.reverse();
    let ids = |page: &Value| -> Vec<String> {
        page["accounts"].as_array().unwrap().iter().map(|account| account["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&partner.get("/v1/accounts").await.is(200).json()), made);
    let of_one = format!("/v1/customers/{one}/accounts?pageSize=2");
    let page = partner.get(&of_one).await.is(200).json();
    assert_eq!(ids(&page), made[..2]);
    let token = page["nextPageToken"].as_str().unwrap();
    let page = partner.get(&format!("{of_one}&pageToken={token}")).await.is(200).json();
    assert_eq!((ids(&page), page["nextPageToken"].as_str()), (vec![made[3].clone()], Some("")));
    service.move_account(made[0].parse().unwrap(), &[Move::Sign]).await;
    assert_eq!(ids(&partner.get("/v1/accounts?status=pending").await.is(200).json()), made[..1]);
    let between = "/v1/accounts?createdAfter=2026-01-02T03:04:06.000006Z&createdBefore=2026-01-02T03:04:08.000006Z";
    assert_eq!(ids(&partner.get(between).await.is(200).json()), made[2..3]);
    partner.get("/v1/accounts?pageSize=0").await.blames("pageSize", "OUT_OF_RANGE");
    partner.get("/v1/accounts?pageToken=x").await.blames("pageToken", "INVALID_VALUE");
    assert_eq!(ids(&service.partner("Other").await.get("/v1/accounts").await.is(200).json()), Vec::<String>::new());
}
