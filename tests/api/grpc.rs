//! The gRPC door.

use std::collections::BTreeSet;

use customerd::api::v1::auth_service_client::AuthServiceClient;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{
    CreateCustomerRequest, CustomerStatus, GetCustomerRequest, ListCustomersRequest, ListSigningKeysRequest,
    WhoAmIRequest,
};
use prost::Message as _;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::{House, account, everywhere};

everywhere![
    a_partner_calls_with_its_bearer_alone,
    an_operator_acts_for_any_programme,
    an_operator_stays_off_rest,
    refusals_carry_details,
    metadata_of_the_front_gives_nothing_away,
    health_is_told,
    both_reflections_show_everything,
];

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn a_partner_calls_with_its_bearer_alone(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    let create = CreateCustomerRequest { chain_id: account("a"), external_id: "u-1".to_owned() };
    let made = grpc.create_customer(wallet.rpc(create)).await.unwrap().into_inner();
    assert_eq!((made.status(), made.version, made.external_id.as_str()), (CustomerStatus::Initiating, 1, "u-1"));
    assert!(made.challenge.is_some() && made.verification_url.is_some());
    let got =
        grpc.get_customer(wallet.rpc(GetCustomerRequest { customer_id: made.id.clone() })).await.unwrap().into_inner();
    assert_eq!((got.challenge, got.verification_url, &got.id), (None, None, &made.id));
    let listed = grpc.list_customers(wallet.rpc(ListCustomersRequest::default())).await.unwrap().into_inner();
    assert_eq!(listed.customers.len(), 1);
    // Over REST it is the same customer.
    assert_eq!(wallet.get(&format!("/v1/customers/{}", made.id)).await.is(200).json()["externalId"], "u-1");
    let keys =
        AuthServiceClient::new(service.channel().await).list_signing_keys(wallet.rpc(ListSigningKeysRequest {})).await;
    assert_eq!(keys.unwrap().into_inner().keys[0].key_id, wallet.key_id);

    for token in ["", "Bearer x", "Bearer ", "Basic eDp5"] {
        let mut request = Request::new(ListCustomersRequest::default());
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        let status = grpc.list_customers(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"), "{token}");
    }
}

async fn an_operator_acts_for_any_programme(house: House) {
    let service = house.start().await;
    let (wallet, rival) = (service.partner("Wallet").await, service.partner("Rival").await);
    let desk = service.operator("desk").await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    let create = CreateCustomerRequest { chain_id: account("a"), external_id: "u-1".to_owned() };
    let made = grpc.create_customer(desk.rpc(wallet.programme_id, create)).await.unwrap().into_inner();
    wallet.get(&format!("/v1/customers/{}", made.id)).await.is(200);
    rival.get(&format!("/v1/customers/{}", made.id)).await.refuses(404, "CUSTOMER_NOT_FOUND");
    let mut auth = AuthServiceClient::new(service.channel().await);
    let me = auth.who_am_i(desk.rpc(rival.programme_id, WhoAmIRequest {})).await.unwrap().into_inner();
    assert_eq!((me.programme_name.as_str(), me.operator.as_deref()), ("Rival", Some("desk")));
    let me = auth.who_am_i(wallet.rpc(WhoAmIRequest {})).await.unwrap().into_inner();
    assert_eq!((me.programme_id, me.operator, me.sandbox), (wallet.programme_id.to_string(), None, false));

    // Nobody in particular, nobody at all, and not an operator.
    let mut nobody = desk.rpc(wallet.programme_id, ListCustomersRequest::default());
    nobody.metadata_mut().remove("x-programme-id");
    let unknown = desk.rpc(Uuid::nil(), ListCustomersRequest::default());
    let mut no_uuid = desk.rpc(wallet.programme_id, ListCustomersRequest::default());
    no_uuid.metadata_mut().insert("x-programme-id", "Wallet".parse().unwrap());
    let mut twice = desk.rpc(wallet.programme_id, ListCustomersRequest::default());
    twice.metadata_mut().append("x-programme-id", rival.programme_id.to_string().parse().unwrap());
    let mut forged = desk.rpc(wallet.programme_id, ListCustomersRequest::default());
    forged.metadata_mut().insert("authorization", "Bearer cop_x".parse().unwrap());
    for (request, code, wanted) in [
        (nobody, Code::InvalidArgument, "VALIDATION_FAILED"),
        (unknown, Code::NotFound, "PROGRAMME_NOT_FOUND"),
        (no_uuid, Code::InvalidArgument, "VALIDATION_FAILED"),
        (twice, Code::InvalidArgument, "VALIDATION_FAILED"),
        (forged, Code::Unauthenticated, "UNAUTHENTICATED"),
    ] {
        let status = grpc.list_customers(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, wanted), "{status:?}");
        if code == Code::InvalidArgument {
            let details = status.get_error_details();
            assert_eq!(details.bad_request().unwrap().field_violations[0].field, "x-programme-id");
        }
    }
    // A partner cannot act for another by naming it.
    let mut other = wallet.rpc(ListCustomersRequest::default());
    other.metadata_mut().insert("x-programme-id", rival.programme_id.to_string().parse().unwrap());
    assert_eq!(grpc.list_customers(other).await.unwrap().into_inner().customers.len(), 1);
}

async fn an_operator_stays_off_rest(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let desk = service.operator("desk").await;
    let id = wallet.programme_id.to_string();
    let call = || wallet.get("/v1/customers").bearer(&desk.token).header("x-programme-id", &id);
    call().await.refuses(401, "UNAUTHENTICATED");
    call().unsigned().await.refuses(401, "SIGNATURE_MISSING");
}

async fn refusals_carry_details(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    let mut request =
        wallet.rpc(CreateCustomerRequest { chain_id: "eip155:2:0x0".to_owned(), external_id: String::new() });
    request.metadata_mut().insert("x-request-id", "my-own".parse().unwrap());
    let status = grpc.create_customer(request).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "VALIDATION_FAILED"));
    assert_eq!(details.error_info().unwrap().domain, "customerd");
    let violations = &details.bad_request().unwrap().field_violations;
    let named: Vec<_> = violations.iter().map(|v| (v.field.as_str(), v.reason.as_str())).collect();
    assert_eq!(named[1], ("externalId", "REQUIRED"));
    assert_eq!(named[0].0, "chainId");
    assert_eq!(details.request_info().unwrap().request_id, "my-own");
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "my-own");

    let create =
        |external_id: &str| CreateCustomerRequest { chain_id: account("a"), external_id: external_id.to_owned() };
    let made = grpc.create_customer(wallet.rpc(create("u-1"))).await.unwrap().into_inner();
    let status = grpc.create_customer(wallet.rpc(create("u-2"))).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::AlreadyExists, "CUSTOMER_EXISTS"));
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["existingId"], made.id);
    let status = grpc.get_customer(wallet.rpc(GetCustomerRequest { customer_id: "x".to_owned() })).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "CUSTOMER_NOT_FOUND"));
    let wild = ListCustomersRequest { status: Some(77), ..ListCustomersRequest::default() };
    let status = grpc.list_customers(wallet.rpc(wild)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "VALIDATION_FAILED"));
}

async fn metadata_of_the_front_gives_nothing_away(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let mut grpc = CustomerServiceClient::new(service.channel().await);
    for front in ["signed", "unsigned", "unchecked", ""] {
        let mut request = wallet.rpc(ListCustomersRequest::default());
        request.metadata_mut().insert("x-rest-front", front.parse().unwrap());
        let status = grpc.list_customers(request).await.unwrap_err();
        assert_eq!(reason(&status), "SIGNATURE_MISSING", "{front:?}");
    }
    let mut garbage = wallet.rpc(ListCustomersRequest::default());
    garbage
        .metadata_mut()
        .insert_bin("x-signature-evidence-bin", tonic::metadata::MetadataValue::from_bytes(b"\xff\xff"));
    assert_eq!(grpc.list_customers(garbage).await.unwrap_err().code(), Code::Unauthenticated);
    // What a REST caller sends under those names goes nowhere.
    let call = wallet.get("/v1/customers").unsigned().header("x-rest-front", "unchecked");
    call.await.refuses(401, "SIGNATURE_MISSING");
    let call = wallet.get("/v1/customers").header("x-signature-evidence-bin", "AAAA").header("x-programme-id", "x");
    call.await.is(200);
}

async fn health_is_told(house: House) {
    let service = house.start().await;
    let mut health = HealthClient::new(service.channel().await);
    for name in ["", "customerd.v1.CustomerService", "customerd.v1.AuthService"] {
        let answer = health.check(HealthCheckRequest { service: name.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    let unknown = health.check(HealthCheckRequest { service: "x".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    // Whoever watches hears of the stop.
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let stop = tokio::spawn(service.stop());
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop((watch, health));
    stop.await.unwrap();
}

/// What `grpcurl list` and `grpcurl describe` ask, in one version of the protocol.
macro_rules! reflected {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let ask =
            |message_request| ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let questions = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol("customerd.v1.CustomerService".to_owned())),
        ];
        let mut client = ServerReflectionClient::new($channel);
        let mut answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
        let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list") };
        let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file") };
        (list.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>(), files.file_descriptor_proto)
    }};
}

async fn both_reflections_show_everything(house: House) {
    let service = house.start().await;
    let (names, files) = reflected!(v1, service.channel().await);
    for wanted in ["customerd.v1.CustomerService", "customerd.v1.AuthService", "grpc.health.v1.Health"] {
        assert!(names.contains(wanted), "{names:?}");
    }
    let file = prost_types::FileDescriptorProto::decode(files[0].as_slice()).unwrap();
    assert_eq!(file.name(), "customerd/v1/customers.proto");
    let comments = file.source_code_info.unwrap_or_default().location;
    assert!(comments.iter().any(|location| location.leading_comments().contains("Customers of the calling programme")));
    // The http annotation, which plain descriptors drop, is in the bytes.
    assert!(files[0].windows(13).any(|window| window == b"/v1/customers"));
    let (old_names, old_files) = reflected!(v1alpha, service.channel().await);
    // Each shows itself and not the other.
    let but_reflection =
        |names: BTreeSet<String>| names.into_iter().filter(|name| !name.contains("reflection")).collect();
    let (names, old_names): (Vec<_>, Vec<_>) = (but_reflection(names), but_reflection(old_names));
    assert_eq!((old_names, old_files), (names, files));
}
