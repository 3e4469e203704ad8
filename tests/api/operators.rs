//! Operators: what their roles let them do, how their tokens end, and what is recorded of them.

use std::time::Duration;

use customerd::api::access::{Callers, RPCS};
use customerd::api::v1::account_service_client::AccountServiceClient;
use customerd::api::v1::admin_service_client::AdminServiceClient;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::*;
use customerd::domain::account;
use customerd::domain::customer::Move;
use customerd::domain::operator::Role as OperatorRole;
use customerd::kyc::{Choice, Sandbox};
use customerd::lifecycle::verification;
use customerd::store::customers;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::accounts::id;
use crate::support::{House, Operator, Service, account, everywhere};

everywhere![
    every_role_calls_what_the_table_says,
    tokens_end_at_once,
    an_operator_names_its_programmes_alone,
    a_disabled_programme_is_read_and_enabled,
    acts_are_recorded_once,
    operators_decide_about_identities,
];

pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Calls an RPC with an empty message; the code of its error.
async fn call(channel: &Channel, rpc: &str, request: Request<()>) -> String {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{rpc}")).unwrap();
    // A call that is not a stream looks like a short one to the caller of streams.
    match grpc.server_streaming(request, path, ProstCodec::<(), ()>::default()).await {
        Ok(_) => "OK".to_owned(),
        Err(status) => reason(&status),
    }
}

async fn every_role_calls_what_the_table_says(house: House) {
    let service = house.start().await;
    // Operators delete the credentials of one; the other keeps its token.
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let channel = service.channel().await;
    let mut operators = Vec::new();
    for role in OperatorRole::ALL {
        let limit = [wallet.programme_id];
        let programmes = if role == OperatorRole::Service { &limit[..] } else { &[] };
        operators.push((role, service.operator_as(role.as_str(), role, programmes).await));
    }
    let mut table = String::new();
    for rpc in RPCS {
        let mut allowed = Vec::new();
        if matches!(rpc.callers, Callers::Operator | Callers::OperatorOfAll) {
            assert_eq!(call(&channel, rpc.name, rival.rpc(())).await, "OPERATOR_ONLY", "{}", rpc.name);
        }
        for (role, operator) in &operators {
            let refused = call(&channel, rpc.name, operator.rpc(wallet.programme_id, ())).await;
            if refused != "ROLE_FORBIDDEN" {
                assert!(rpc.callers == Callers::Anybody || refused != "UNAUTHENTICATED", "{} {role}", rpc.name);
                allowed.push(role.as_str());
            }
        }
        table.push_str(&format!("{}: {}\n", rpc.name.trim_start_matches("customerd.v1."), allowed.join(" ")));
    }
    insta::assert_snapshot!("roles", table);

    // The error names the roles that may call.
    let (_, viewer) = &operators[1];
    let create = CreateCustomerRequest { chain_id: account("a"), external_id: "u-1".to_owned() };
    let mut customers = CustomerServiceClient::new(channel);
    let refused = customers.create_customer(viewer.rpc(wallet.programme_id, create)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "The operator's role is viewer, and CreateCustomer is for the roles service, admin.");
}

pub fn create(name: &str, role: Role, programmes: &[Uuid], days: Option<u64>) -> CreateOperatorRequest {
    CreateOperatorRequest {
        name: name.to_owned(),
        role: role.into(),
        programmes: programmes.iter().map(ToString::to_string).collect(),
        expires: days.map(|days| prost_types::Duration { seconds: days as i64 * 86_400, nanos: 0 }),
    }
}

async fn tokens_end_at_once(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let desk = service.operator("desk").await;
    let mut admin = AdminServiceClient::new(service.channel().await);
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let made = admin.create_operator(desk.rpc_of_all(create("clerk", Role::Viewer, &[], Some(90)))).await.unwrap();
    let first = Operator { token: made.into_inner().token };
    let mut list = async |operator: &Operator| {
        let request = operator.rpc(wallet.programme_id, ListCustomersRequest::default());
        customers
            .list_customers(request)
            .await
            .map(|_| ())
            .map_err(|status| (status.code(), status.message().to_owned()))
    };
    let dead = |detail: &str| Err((Code::Unauthenticated, detail.to_owned()));
    let (unknown, ended) =
        ("The operator token is not one of ours.", "The operator token has expired, or its operator was revoked.");
    assert_eq!(list(&first).await, Ok(()));

    // A new token: the old one is nobody's, and the new one has its own ninety days.
    service.wait(Duration::from_secs(80 * 86_400));
    let rotate = || RotateOperatorRequest { name: "clerk".to_owned() };
    let rotated = admin.rotate_operator(desk.rpc_of_all(rotate())).await.unwrap().into_inner();
    let second = Operator { token: rotated.token };
    assert_eq!(list(&first).await, dead(unknown));
    assert_eq!(list(&second).await, Ok(()));
    service.wait(Duration::from_secs(90 * 86_400 - 1));
    assert_eq!(list(&second).await, Ok(()));
    service.wait(Duration::from_secs(1));
    assert_eq!(list(&second).await, dead(ended));
    let rotated = admin.rotate_operator(desk.rpc_of_all(rotate())).await.unwrap().into_inner();
    let third = Operator { token: rotated.token };
    assert_eq!(list(&third).await, Ok(()));

    let revoke = || RevokeOperatorRequest { name: "clerk".to_owned() };
    let revoked = admin.revoke_operator(desk.rpc_of_all(revoke())).await.unwrap().into_inner();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(list(&third).await, dead(ended));
    for status in [
        admin.revoke_operator(desk.rpc_of_all(revoke())).await.unwrap_err(),
        admin.rotate_operator(desk.rpc_of_all(rotate())).await.unwrap_err(),
    ] {
        assert_eq!((status.code(), reason(&status)), (Code::FailedPrecondition, "INVALID_STATE_TRANSITION".to_owned()));
    }
    // The name stays its own.
    let again = admin.create_operator(desk.rpc_of_all(create("clerk", Role::Viewer, &[], None))).await.unwrap_err();
    assert_eq!(reason(&again), "OPERATOR_EXISTS");
    let nobody = RotateOperatorRequest { name: "nobody".to_owned() };
    assert_eq!(reason(&admin.rotate_operator(desk.rpc_of_all(nobody)).await.unwrap_err()), "OPERATOR_NOT_FOUND");
    let listed = admin.list_operators(desk.rpc_of_all(ListOperatorsRequest {})).await.unwrap().into_inner().operators;
    assert_eq!(listed.iter().map(|operator| operator.name.as_str()).collect::<Vec<_>>(), ["desk", "clerk"]);
    assert_eq!(listed[1], revoked);
    for (wrong, field) in [
        (create("x", Role::Unspecified, &[], None), "role"),
        (create("x", Role::Service, &[], None), "programmes"),
        (create("x", Role::Admin, &[wallet.programme_id], None), "programmes"),
        (create("x", Role::Viewer, &[Uuid::nil()], None), "programmes"),
        (create("", Role::Viewer, &[], None), "name"),
        (create("x", Role::Viewer, &[], Some(0)), "expires"),
    ] {
        let status = admin.create_operator(desk.rpc_of_all(wrong)).await.unwrap_err();
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, field);
    }
}

/// An account that waits for its deployment.
pub async fn pending(service: &Service, partner: &crate::support::Partner, name: &str) -> Uuid {
    let customer = service.active_customer(partner, name).await;
    let body = serde_json::json!({"type": "card_account", "currencies": ["EUR"]});
    let made = partner.post(&format!("/v1/customers/{customer}/accounts"), &body).await.is(201).json();
    service.move_account(id(&made), &[account::Move::Sign]).await;
    id(&made)
}

async fn an_operator_names_its_programmes_alone(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let ledger = service.operator_as("ledger", OperatorRole::Service, &[wallet.programme_id]).await;
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let mut list = async |programme_id: Uuid| {
        let answer = customers.list_customers(ledger.rpc(programme_id, ListCustomersRequest::default())).await;
        answer.map(|_| ()).map_err(|status| (status.code(), status.message().to_owned(), reason(&status)))
    };
    assert_eq!(list(wallet.programme_id).await, Ok(()));
    let refused = list(rival.programme_id).await;
    assert_eq!(refused.as_ref().unwrap_err().2, "PROGRAMME_NOT_FOUND");
    assert_eq!(refused, list(Uuid::nil()).await, "another's answers as an unknown one does");

    // Work of all programmes is that of its own.
    let (ours, theirs) = (pending(&service, &wallet, "ours").await, pending(&service, &rival, "theirs").await);
    let narrow = service.operator_as("narrow", OperatorRole::Fulfilment, &[wallet.programme_id]).await;
    let wide = service.operator_as("wide", OperatorRole::Fulfilment, &[]).await;
    let mut accounts = AccountServiceClient::new(service.channel().await);
    let claim = ClaimDeploymentsRequest::default;
    let mut claimed = async |operator: &Operator| {
        let answer = accounts.claim_deployments(operator.rpc_of_all(claim())).await.unwrap().into_inner();
        let leases = answer.deployments.into_iter().map(|it| (it.account.unwrap().id, it.lease_id));
        leases.collect::<Vec<_>>()
    };
    let first = claimed(&narrow).await;
    assert_eq!(first.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [ours.to_string()]);
    let second = claimed(&wide).await;
    assert_eq!(second.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [theirs.to_string()]);
    let fail = FailDeploymentRequest {
        account_id: theirs.to_string(),
        lease_id: second[0].1.clone(),
        reason: "not mine".to_owned(),
    };
    let refused = accounts.fail_deployment(narrow.rpc_of_all(fail.clone())).await.unwrap_err();
    assert_eq!(reason(&refused), "ACCOUNT_NOT_FOUND");
    accounts.fail_deployment(wide.rpc_of_all(fail)).await.unwrap();
}

async fn a_disabled_programme_is_read_and_enabled(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let desk = service.operator("desk").await;
    let waiting = pending(&service, &wallet, "waiting").await;
    let customer_id =
        wallet.get("/v1/customers").await.is(200).json()["customers"][0]["id"].as_str().unwrap().to_owned();
    let (mut admin, mut customers) =
        (AdminServiceClient::new(service.channel().await), CustomerServiceClient::new(service.channel().await));
    let programme_id = wallet.programme_id.to_string();
    let disable = || desk.rpc_of_all(DisableProgrammeRequest { programme_id: programme_id.clone() });
    let disabled = admin.disable_programme(disable()).await.unwrap().into_inner();
    assert!(disabled.disabled && disabled.name == "Wallet");
    assert_eq!(reason(&admin.disable_programme(disable()).await.unwrap_err()), "INVALID_STATE_TRANSITION");
    wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");

    let get = GetCustomerRequest { customer_id: customer_id.clone() };
    customers.get_customer(desk.rpc(wallet.programme_id, get)).await.unwrap();
    let deactivate = || DeactivateCustomerRequest { customer_id: customer_id.clone() };
    let refused = customers.deactivate_customer(desk.rpc(wallet.programme_id, deactivate())).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "INVALID_STATE_TRANSITION".to_owned()));
    let mut accounts = AccountServiceClient::new(service.channel().await);
    let claim = desk.rpc_of_all(ClaimDeploymentsRequest::default());
    assert_eq!(accounts.claim_deployments(claim).await.unwrap().into_inner().deployments, []);
    let reject = RejectCustomerRequest { customer_id: customer_id.clone(), reason: "fraud".to_owned() };
    customers.reject_customer(desk.rpc(wallet.programme_id, reject)).await.unwrap();

    let enable = || desk.rpc_of_all(EnableProgrammeRequest { programme_id: programme_id.clone() });
    assert!(!admin.enable_programme(enable()).await.unwrap().into_inner().disabled);
    assert_eq!(reason(&admin.enable_programme(enable()).await.unwrap_err()), "INVALID_STATE_TRANSITION");
    wallet.get("/v1/customers").await.refuses(401, "UNAUTHENTICATED");
    wallet.sign_in().await;
    assert_eq!(wallet.get(&format!("/v1/accounts/{waiting}")).await.is(200).json()["status"], "closed");
    let nobody = DisableProgrammeRequest { programme_id: Uuid::nil().to_string() };
    assert_eq!(reason(&admin.disable_programme(desk.rpc_of_all(nobody)).await.unwrap_err()), "PROGRAMME_NOT_FOUND");
}

/// Every act, oldest first, a line each, with the ids of the story named.
async fn acts(service: &Service, desk: &Operator, page_size: i32, names: &[(&str, String)]) -> String {
    let mut admin = AdminServiceClient::new(service.channel().await);
    let (mut lines, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListActsRequest { page_size: Some(page_size), page_token, since: None };
        let page = admin.list_acts(desk.rpc_of_all(request)).await.unwrap().into_inner();
        for act in page.acts {
            let parts = [
                Some(act.actor),
                Some(act.act),
                Some(act.target_type),
                act.target_id,
                act.programme_id.map(|id| format!("for {id}")),
                act.reason.map(|reason| format!("because {reason:?}")),
                act.client.map(|client| format!("from {client}")),
                act.request_id.map(|id| if Uuid::try_parse(&id).is_ok() { "[request]".to_owned() } else { id }),
                Some(act.outcome),
            ];
            lines.push(parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    lines.reverse();
    names.iter().fold(lines.join("\n"), |text, (name, id)| text.replace(id, &format!("[{name}]")))
}

async fn acts_are_recorded_once(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let desk = service.operator("desk").await;
    let viewer = service.operator_as("viewer", OperatorRole::Viewer, &[]).await;
    let programme_id = wallet.programme_id;
    let (mut admin, mut customers) =
        (AdminServiceClient::new(service.channel().await), CustomerServiceClient::new(service.channel().await));
    let mut accounts = AccountServiceClient::new(service.channel().await);
    admin.create_operator(desk.rpc_of_all(create("clerk", Role::Compliance, &[], None))).await.unwrap();

    // Made once, and again under its key: one act.
    let keyed = || {
        let create = CreateCustomerRequest { chain_id: account("a"), external_id: "u-1".to_owned() };
        let mut request = desk.rpc(programme_id, create);
        request.metadata_mut().insert("idempotency-key", "9b3c2d1e-0000-4000-8000-00000000000a".parse().unwrap());
        request.metadata_mut().insert("x-request-id", "my-own".parse().unwrap());
        request
    };
    let customer_id = customers.create_customer(keyed()).await.unwrap().into_inner().id;
    assert_eq!(customers.create_customer(keyed()).await.unwrap().into_inner().id, customer_id);
    // Reads, and what the request alone refuses, are no acts; refusals by the role or by the state are.
    customers.list_customers(desk.rpc(programme_id, ListCustomersRequest::default())).await.unwrap();
    let wrong = CreateCustomerRequest { chain_id: "x".to_owned(), external_id: "u-2".to_owned() };
    customers.create_customer(desk.rpc(programme_id, wrong)).await.unwrap_err();
    let reject = || RejectCustomerRequest { customer_id: customer_id.clone(), reason: "seen before".to_owned() };
    customers.reject_customer(viewer.rpc(programme_id, reject())).await.unwrap_err();
    customers.reject_customer(desk.rpc(programme_id, reject())).await.unwrap_err();
    // Claims of nothing are none; of something, one for each.
    accounts.claim_deployments(desk.rpc_of_all(ClaimDeploymentsRequest::default())).await.unwrap();
    let account_id = pending(&service, &wallet, "b").await;
    accounts.claim_deployments(desk.rpc_of_all(ClaimDeploymentsRequest::default())).await.unwrap();
    admin.rotate_operator(desk.rpc_of_all(RotateOperatorRequest { name: "clerk".to_owned() })).await.unwrap();
    admin.revoke_operator(desk.rpc_of_all(RevokeOperatorRequest { name: "clerk".to_owned() })).await.unwrap();
    let disable = DisableProgrammeRequest { programme_id: programme_id.to_string() };
    admin.disable_programme(desk.rpc_of_all(disable)).await.unwrap();

    let names =
        [("customer", customer_id), ("account", account_id.to_string()), ("programme", programme_id.to_string())];
    let all = acts(&service, &desk, 1000, &names).await;
    insta::assert_snapshot!("acts", all);
    assert_eq!(acts(&service, &desk, 3, &names).await, all, "page by page");
    assert!(!all.contains("cop_"));
}

async fn operators_decide_about_identities(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let judge = service.operator_as("judge", OperatorRole::Compliance, &[]).await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    let mut verifying = Vec::new();
    for name in ["a", "b", "c"] {
        verifying.push(id(&wallet.customer(name).await));
    }
    let decide = |customer_id: Uuid, decision: VerificationDecision, reason: &str| {
        let (customer_id, reason) = (customer_id.to_string(), reason.to_owned());
        judge.rpc(wallet.programme_id, DecideVerificationRequest { customer_id, decision: decision.into(), reason })
    };
    let (approve, reject) = (VerificationDecision::Approve, VerificationDecision::Reject);
    // Not before screening has cleared them.
    let early = grpc.decide_verification(decide(verifying[0], approve, "passport seen")).await.unwrap_err();
    assert_eq!(reason(&early), "INVALID_STATE_TRANSITION");
    for customer_id in &verifying {
        service.move_customer(*customer_id, &[Move::ProveOwnership, Move::Clear]).await;
    }
    let approved = grpc.decide_verification(decide(verifying[0], approve, "passport seen")).await.unwrap();
    assert_eq!(approved.into_inner().status(), CustomerStatus::Active);
    let rejected = grpc.decide_verification(decide(verifying[1], reject, "passport forged")).await.unwrap();
    assert_eq!(rejected.into_inner().status(), CustomerStatus::Rejected);
    for (wrong, field) in [
        (decide(verifying[2], VerificationDecision::Unspecified, "x"), "decision"),
        (decide(verifying[2], approve, ""), "reason"),
    ] {
        let status = grpc.decide_verification(wrong).await.unwrap_err();
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, field);
    }
    let again = grpc.decide_verification(decide(verifying[0], reject, "too late")).await.unwrap_err();
    assert_eq!(reason(&again), "INVALID_STATE_TRANSITION");
    for (customer_id, status) in [(verifying[0], "approved"), (verifying[1], "rejected"), (verifying[2], "not_started")]
    {
        let shown = wallet.get(&format!("/v1/customers/{customer_id}/verification")).await.is(200);
        assert_eq!(shown.json()["status"], status);
        assert!(!shown.text().contains("passport") && !shown.text().contains("judge"), "{shown:?}");
    }
    // Operators read who and why; partners neither.
    let list = ListCustomerEventsRequest { customer_id: verifying[1].to_string(), ..Default::default() };
    let told = grpc.list_customer_events(judge.rpc(wallet.programme_id, list)).await.unwrap().into_inner();
    assert_eq!(
        (told.events[0].actor.as_str(), told.events[0].cause.as_str()),
        ("operator:judge", "rejected: passport forged")
    );
    let partners = wallet.get(&format!("/v1/customers/{}/events", verifying[1])).await.is(200);
    assert!(!partners.text().contains("passport") && !partners.text().contains("judge"), "{partners:?}");
    assert_eq!(partners.json()["events"][0]["cause"], "rejected: identity");
    let shown = wallet.get(&format!("/v1/customers/{}/verification", verifying[1])).await.is(200);
    assert_eq!(shown.json()["reasons"], serde_json::json!(["identity"]));

    // What a provider decided before, and tells of later, changes nothing; what it decides after that counts.
    let decided = service.clock.now().micros() / 1000;
    for (at, status) in [(decided - 60_000, "active"), (decided + 1_000, "rejected")] {
        let callback = Sandbox::callback(verifying[0], Choice::Decline, (service.clock.id(), at));
        let mut tx = service.store.begin().await.unwrap();
        let mut held = customers::lock(&mut tx, verifying[0]).await.unwrap().unwrap();
        verification::decide(&mut tx, &mut held, &callback, &service.clock).await.unwrap();
        tx.commit().await.unwrap();
        let shown = wallet.get(&format!("/v1/customers/{}", verifying[0])).await.is(200);
        assert_eq!(shown.json()["status"], status);
    }
}
