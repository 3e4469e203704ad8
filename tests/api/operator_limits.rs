//! What operators do not get: another one's responses, programmes that were not given to them, and errors of the server
//! however they name things.

use customerd::api::access::RPCS;
use customerd::api::v1::account_service_client::AccountServiceClient;
use customerd::api::v1::admin_service_client::AdminServiceClient;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::*;
use customerd::domain::operator::Role as OperatorRole;
use customerd::store::Connection as _;
use http::uri::PathAndQuery;
use serde_json::json;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use crate::operators::{create, pending, reason};
use crate::process::Place;
use crate::support::{House, Operator, Service, account, everywhere};

everywhere![
    idempotency_keys_are_an_operators_own,
    a_lost_row_gives_no_programme,
    denials_are_recorded,
    what_was_claimed_of_a_disabled_programme_is_reported,
    texts_that_name_nothing_are_the_callers_fault,
];

const KEY: &str = "9b3c2d1e-0000-4000-8000-00000000000a";

fn keyed<T>(mut request: Request<T>) -> Request<T> {
    request.metadata_mut().insert("idempotency-key", KEY.parse().unwrap());
    request
}

async fn sql(service: &Service, statement: &'static str) {
    let mut tx = service.store.begin().await.unwrap();
    tx.query(statement).execute().await.unwrap();
    tx.commit().await.unwrap();
}

/// Every act, oldest first: who, what, for which programme, and what came of it.
async fn acts(service: &Service, desk: &Operator) -> Vec<String> {
    let mut admin = AdminServiceClient::new(service.channel().await);
    let request = ListActsRequest { page_size: Some(1000), ..ListActsRequest::default() };
    let acts = admin.list_acts(desk.rpc_of_all(request)).await.unwrap().into_inner().acts;
    let line = |act: &Act| {
        let parts = [Some(&*act.actor), Some(&act.act), act.programme_id.as_deref(), Some(&*act.outcome)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    acts.iter().rev().map(line).collect()
}

async fn idempotency_keys_are_an_operators_own(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let (root, root2) = (service.operator("root").await, service.operator("root2").await);
    let mut admin = AdminServiceClient::new(service.channel().await);
    let clerk = || create("clerk", Role::Viewer, &[], None);
    let made = admin.create_operator(keyed(root.rpc_of_all(clerk()))).await.unwrap().into_inner();
    let other = admin.create_operator(keyed(root2.rpc_of_all(clerk()))).await.unwrap_err();
    assert_eq!(reason(&other), "OPERATOR_EXISTS");
    let again = admin.create_operator(keyed(root.rpc_of_all(clerk()))).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(again.into_inner().token, made.token);
    let recorded = acts(&service, &root).await;
    assert_eq!(recorded, ["operator:root operator.create done", "operator:root2 operator.create OPERATOR_EXISTS"]);

    // What one claims of all programmes, another does not get that may not act for them.
    let theirs = pending(&service, &rival, "theirs").await;
    let wide = service.operator_as("wide", OperatorRole::Fulfilment, &[]).await;
    let narrow = service.operator_as("narrow", OperatorRole::Fulfilment, &[wallet.programme_id]).await;
    let mut accounts = AccountServiceClient::new(service.channel().await);
    let mut claimed = async |operator: &Operator| {
        let request = keyed(operator.rpc_of_all(ClaimDeploymentsRequest::default()));
        let claimed = accounts.claim_deployments(request).await.unwrap().into_inner().deployments;
        claimed.into_iter().map(|it| it.account.unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(claimed(&wide).await, [theirs.to_string()]);
    assert_eq!(claimed(&narrow).await, Vec::<String>::new());
    assert_eq!(claimed(&wide).await, [theirs.to_string()]);

    // Neither the partner's key, nor another operator's, nor its own for another programme is in the way.
    let body = json!({"chainId": account("a"), "externalId": "u-1"});
    let partners = wallet.post("/v1/customers", &body).key(KEY).await.is(201).json()["id"].clone();
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let mut customer = async |operator: &Operator, programme_id: Uuid, name: &str, external_id: &str| {
        let message = CreateCustomerRequest { chain_id: account(name), external_id: external_id.to_owned() };
        let made = customers.create_customer(keyed(operator.rpc(programme_id, message))).await;
        made.map(|made| made.into_inner().id).map_err(|status| reason(&status))
    };
    assert_eq!(customer(&root, wallet.programme_id, "a", "u-1").await, Err("CUSTOMER_EXISTS".to_owned()));
    let second = customer(&root2, wallet.programme_id, "b", "u-2").await.unwrap();
    let third = customer(&root2, rival.programme_id, "b", "u-2").await.unwrap();
    assert_ne!(second, third);
    assert_eq!(customer(&root2, wallet.programme_id, "b", "u-2").await, Ok(second));
    assert_eq!(customer(&root2, wallet.programme_id, "b", "u-3").await, Err("IDEMPOTENCY_KEY_REUSED".to_owned()));

    // A response that version 0.1 stored, which kept operators' under the programme's keys, is given again.
    let root3 = service.operator("root3").await;
    sql(&service, "UPDATE idempotency_keys SET scoped = false").await;
    assert_eq!(customer(&root3, wallet.programme_id, "a", "u-1").await.map(Into::into), Ok(partners));
    assert!(customer(&root3, wallet.programme_id, "c", "u-4").await.is_ok(), "another request is another caller's");
    service.stop().await;
}

async fn a_lost_row_gives_no_programme(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    pending(&service, &wallet, "a").await;
    let limit = [wallet.programme_id];
    let viewer = service.operator_as("viewer", OperatorRole::Viewer, &limit).await;
    let narrow = service.operator_as("narrow", OperatorRole::Fulfilment, &limit).await;
    sql(&service, "DELETE FROM operator_programmes").await;
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let list = viewer.rpc(wallet.programme_id, ListCustomersRequest::default());
    assert_eq!(reason(&customers.list_customers(list).await.unwrap_err()), "PROGRAMME_NOT_FOUND");
    let mut accounts = AccountServiceClient::new(service.channel().await);
    let claim = narrow.rpc_of_all(ClaimDeploymentsRequest::default());
    assert_eq!(accounts.claim_deployments(claim).await.unwrap().into_inner().deployments, []);
    let desk = service.operator("desk").await;
    let mut admin = AdminServiceClient::new(service.channel().await);
    let listed = admin.list_operators(desk.rpc_of_all(ListOperatorsRequest {})).await.unwrap().into_inner().operators;
    assert_eq!(listed.iter().map(|it| it.every_programme).collect::<Vec<_>>(), [false, false, true]);
    service.stop().await;
}

async fn denials_are_recorded(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let desk = service.operator("desk").await;
    let ledger = service.operator_as("ledger", OperatorRole::Service, &[wallet.programme_id]).await;
    let mut customers = CustomerServiceClient::new(service.channel().await);
    let list = ledger.rpc(rival.programme_id, ListCustomersRequest::default());
    assert_eq!(reason(&customers.list_customers(list).await.unwrap_err()), "PROGRAMME_NOT_FOUND");
    let mut admin = AdminServiceClient::new(service.channel().await);
    let disable = DisableProgrammeRequest { programme_id: wallet.programme_id.to_string() };
    admin.disable_programme(desk.rpc_of_all(disable)).await.unwrap();
    let made = CreateCustomerRequest { chain_id: account("a"), external_id: "u-1".to_owned() };
    let refused = customers.create_customer(ledger.rpc(wallet.programme_id, made)).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_STATE_TRANSITION");
    let disable = DisableProgrammeRequest { programme_id: wallet.programme_id.to_string() };
    let again = admin.disable_programme(desk.rpc_of_all(disable)).await.unwrap_err();
    assert_eq!(again.message(), "The programme is disabled already.");
    let (ours, theirs) = (wallet.programme_id, rival.programme_id);
    assert_eq!(
        acts(&service, &desk).await,
        [
            format!("operator:ledger ListCustomers {theirs} PROGRAMME_NOT_FOUND"),
            format!("operator:desk programme.disable {ours} done"),
            format!("operator:ledger customer.create {ours} INVALID_STATE_TRANSITION"),
            format!("operator:desk programme.disable {ours} INVALID_STATE_TRANSITION"),
        ]
    );
    service.stop().await;
}

/// The account is deployed, whatever became of its programme meanwhile: not to record it would deploy it a second time.
async fn what_was_claimed_of_a_disabled_programme_is_reported(house: House) {
    let service = house.start().await;
    let mut wallet = service.partner("Wallet").await;
    let (deployed, failed) = (pending(&service, &wallet, "a").await, pending(&service, &wallet, "b").await);
    let desk = service.operator("desk").await;
    let mut accounts = AccountServiceClient::new(service.channel().await);
    let claim = || desk.rpc_of_all(ClaimDeploymentsRequest::default());
    let claimed = accounts.claim_deployments(claim()).await.unwrap().into_inner().deployments;
    assert_eq!(claimed.len(), 2);
    let waiting = pending(&service, &wallet, "c").await;
    let programme_id = wallet.programme_id.to_string();
    let mut admin = AdminServiceClient::new(service.channel().await);
    let disable = DisableProgrammeRequest { programme_id: programme_id.clone() };
    admin.disable_programme(desk.rpc_of_all(disable)).await.unwrap();
    let lease_id = claimed[0].lease_id.clone();
    let complete = CompleteDeploymentRequest {
        account_id: deployed.to_string(),
        lease_id: lease_id.clone(),
        chain_id: account("deployed"),
    };
    let done = accounts.complete_deployment(desk.rpc_of_all(complete)).await.unwrap().into_inner();
    assert_eq!(done.status(), AccountStatus::Active);
    let fail = FailDeploymentRequest { account_id: failed.to_string(), lease_id, reason: "no gas".to_owned() };
    let done = accounts.fail_deployment(desk.rpc_of_all(fail)).await.unwrap().into_inner();
    assert_eq!(done.status(), AccountStatus::Failed);
    assert_eq!(accounts.claim_deployments(claim()).await.unwrap().into_inner().deployments, []);
    admin.enable_programme(desk.rpc_of_all(EnableProgrammeRequest { programme_id })).await.unwrap();
    let claimed = accounts.claim_deployments(claim()).await.unwrap().into_inner().deployments;
    assert_eq!(claimed[0].account.as_ref().unwrap().id, waiting.to_string());
    wallet.sign_in().await;
    assert_eq!(wallet.get(&format!("/v1/accounts/{deployed}")).await.is(200).json()["status"], "active");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_operators() {
    let place = Place::sqlite();
    let server = place.serve(&["--no-sandbox"]);
    let made = place.run(&["operator", "create", "--name", "desk", "--role", "viewer"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let desk = Operator { token: made["token"].as_str().unwrap().to_owned() };
    let mut admin = AdminServiceClient::connect(format!("http://{}", place.grpc)).await.unwrap();
    let refused = admin.list_operators(desk.rpc_of_all(ListOperatorsRequest {})).await.unwrap_err();
    assert_eq!(reason(&refused), "ROLE_FORBIDDEN");
    let log = server.stop_and_tell();
    let line = log.lines().find(|line| line.contains("ListOperators")).unwrap_or_default();
    assert!(line.contains("operator=\"desk\"") && line.contains("permission_denied"), "{log}");
}

/// A request of any call, as far as its fields are texts.
#[derive(Clone, PartialEq, prost::Message)]
struct Texts {
    #[prost(string, optional, tag = "1")]
    first: Option<String>,
    #[prost(string, optional, tag = "2")]
    second: Option<String>,
    #[prost(string, optional, tag = "3")]
    third: Option<String>,
    #[prost(string, optional, tag = "4")]
    fourth: Option<String>,
}

async fn texts_that_name_nothing_are_the_callers_fault(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let desk = service.operator("desk").await;
    let channel = service.channel().await;
    let long = "x".repeat(100_000);
    for text in ["a\0b", "a\u{202e}b", &long] {
        let text = || Some(text.to_owned());
        let right = || Some(Uuid::nil().to_string());
        for message in [
            Texts { first: text(), ..Texts::default() },
            Texts { first: text(), second: text(), third: text(), fourth: text() },
            Texts { first: right(), second: text(), third: text(), fourth: text() },
            Texts { third: text(), ..Texts::default() },
            Texts { fourth: text(), ..Texts::default() },
        ] {
            for rpc in RPCS {
                let mut grpc = Grpc::new(channel.clone());
                grpc.ready().await.unwrap();
                let path = PathAndQuery::try_from(format!("/{}", rpc.name)).unwrap();
                let request = desk.rpc(wallet.programme_id, message.clone());
                let answer: Result<_, Status> =
                    grpc.server_streaming(request, path, ProstCodec::<Texts, ()>::default()).await;
                let code = answer.map_or_else(|status| status.code(), |_| tonic::Code::Ok);
                assert!(!["Internal", "Unknown"].contains(&&*format!("{code:?}")), "{}: {code:?}", rpc.name);
            }
        }
    }
    let mut admin = AdminServiceClient::new(channel);
    let rotate = RotateOperatorRequest { name: "a\0b".to_owned() };
    let refused = admin.rotate_operator(desk.rpc_of_all(rotate)).await.unwrap_err();
    assert_eq!(reason(&refused), "VALIDATION_FAILED");
    let request = ListActsRequest { page_size: Some(1000), ..ListActsRequest::default() };
    let acts = admin.list_acts(desk.rpc_of_all(request)).await.unwrap().into_inner().acts;
    let targets: Vec<&str> = acts.iter().filter_map(|act| act.target_id.as_deref()).collect();
    assert!(!acts.is_empty() && targets.iter().all(|target| target.len() <= 128), "{targets:?}");
    service.stop().await;
}
