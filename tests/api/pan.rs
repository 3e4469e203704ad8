//! Full card numbers: refused in every field of every request about accounts and cards, over both doors; not repeated, not
//! kept, not logged.

use customerd::api::v1::account_service_client::AccountServiceClient;
use customerd::api::v1::card_service_client::CardServiceClient;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::api::v1::{
    Address, BlockCardRequest, CompleteDeploymentRequest, CompleteIssuanceRequest, CreateAccountRequest,
    CreateCardRequest, FailDeploymentRequest, FailIssuanceRequest, RejectCustomerRequest, SuspendCardRequest,
    UnsuspendCardRequest,
};
use customerd::domain::account::Move;
use serde_json::{Value, json};
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::process::Place;
use crate::support::accounts::{address, id, trail, virtual_card};
use crate::support::{Answer, Evm, House, Operator, Partner, Service, b64, everywhere};

everywhere![no_field_takes_a_card_number, no_field_takes_a_card_number_over_grpc];

const NUMBER: &str = "4242424242424242";

/// A number as people write it.
const DRESSES: [&str; 5] = [
    NUMBER,
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "pay by 4242424242424242, please",
    "４２４２ ４２４２\u{2013}４２４２ ４２４２",
];

const ADDRESS_FIELDS: [&str; 6] = ["firstLine", "secondLine", "city", "state", "country", "postCode"];

/// Whether a text repeats the number, whatever stands between its groups.
fn repeats(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '４' || *c == '２').collect();
    digits.contains(NUMBER) || digits.contains("４２４２４２４２４２４２４２４２")
}

/// Every body with one of `texts` in every string field of the requests about accounts and cards.
fn bodies(texts: &[&str]) -> Vec<(&'static str, Value)> {
    let (owner, signed) = (Uuid::nil(), Evm::new(1).sign_hex(b"text"));
    let proof = json!({"ownerId": owner, "challenge": b64("text"), "signature": signed});
    let physical = json!({"type": "physical", "billingAddress": address(), "shippingAddress": address()});
    let order = json!({"type": "card_account", "currencies": ["EUR"]});
    let mut all = Vec::new();
    for text in texts {
        let mut with = |path: &'static str, whole: &Value, pointer: &str| {
            let mut body = whole.clone();
            match pointer.strip_prefix("+/") {
                Some(name) => body[name] = (*text).into(),
                None => *body.pointer_mut(pointer).unwrap() = (*text).into(),
            }
            all.push((path, body));
        };
        for pointer in ["/type", "/currencies/0", "+/externalId"] {
            with("accounts", &order, pointer);
        }
        for pointer in ["/ownerId", "/challenge", "/signature", "+/name"] {
            with("sign", &proof, pointer);
        }
        for pointer in ["/type", "+/name"] {
            with("cards", &physical, pointer);
        }
        for address in ["billingAddress", "shippingAddress"] {
            for field in ADDRESS_FIELDS {
                let mut body = physical.clone();
                body[address][field] = (*text).into();
                all.push(("cards", body));
            }
        }
    }
    all
}

/// Sends all of them; the answers.
async fn send(partner: &Partner, customer_id: Uuid, account_id: Uuid) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (path, body) in bodies(&DRESSES) {
        let target = match path {
            "accounts" => format!("/v1/customers/{customer_id}/accounts"),
            "sign" => format!("/v1/accounts/{account_id}/challenge/sign"),
            _ => format!("/v1/accounts/{account_id}/cards"),
        };
        answers.push(partner.post(&target, &body).await);
    }
    for query in ["status", "chainId", "pageToken", "pageSize", "createdAfter"] {
        for list in ["accounts", "cards"] {
            answers.push(partner.get(&format!("/v1/{list}?{query}={NUMBER}")).await);
        }
    }
    answers
}

async fn no_field_takes_a_card_number(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = service.active_account(&partner, customer_id).await;
    let before = trail(&partner, customer_id).await;
    for answer in send(&partner, customer_id, account_id).await {
        // A chain id and a page token that nobody has are no faults of a list.
        assert!(answer.status == 400 || answer.json()["accounts"] == json!([]), "{answer:?}");
        let told: Value = ["detail", "errors"].map(|name| answer.json()[name].clone()).into_iter().collect();
        assert!(!repeats(&told.to_string()), "{answer:?}");
    }
    let mut body = virtual_card();
    body["billingAddress"]["secondLine"] = DRESSES[1].into();
    let target = format!("/v1/accounts/{account_id}/cards");
    partner.post(&target, &body).await.blames("billingAddress.secondLine", "CARD_NUMBER_FORBIDDEN");
    assert_eq!(trail(&partner, customer_id).await, before);
}

/// What an operator may be refused for; nothing else.
#[track_caller]
fn refused(answer: Result<impl std::fmt::Debug, Status>) {
    let status = answer.unwrap_err();
    let code = status.code();
    assert!(
        [tonic::Code::InvalidArgument, tonic::Code::NotFound, tonic::Code::FailedPrecondition].contains(&code),
        "{status:?}"
    );
    assert!(!repeats(status.message()), "{status:?}");
}

/// What is refused before anything is looked up.
#[track_caller]
fn blamed(answer: Result<impl std::fmt::Debug, Status>) {
    let status = answer.unwrap_err();
    let details = status.get_details_bad_request().unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!(details.field_violations[0].reason, "CARD_NUMBER_FORBIDDEN", "{status:?}");
    assert!(!repeats(&format!("{details:?}")), "{status:?}");
}

async fn no_field_takes_a_card_number_over_grpc(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let operator = service.operator("issuer").await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = service.active_account(&partner, customer_id).await;
    let order = json!({"type": "card_account", "currencies": ["EUR"]});
    let created = partner.post(&format!("/v1/customers/{customer_id}/accounts"), &order).await.is(201).json();
    service.move_account(id(&created), &[Move::Sign]).await;
    let card_id = service.card(&partner, account_id, &virtual_card()).await;
    let before = trail(&partner, customer_id).await;
    for text in DRESSES {
        of_partners(&service, &partner, (customer_id, account_id, text)).await;
        of_accounts(&service, &operator, (id(&created), text)).await;
        of_cards(&service, (&operator, partner.programme_id), (card_id, text)).await;
        let mut rpc = CustomerServiceClient::new(service.channel().await);
        let message = RejectCustomerRequest { customer_id: customer_id.to_string(), reason: text.into() };
        blamed(rpc.reject_customer(operator.rpc(partner.programme_id, message)).await);
    }
    assert_eq!(trail(&partner, customer_id).await, before);
}

async fn of_partners(service: &Service, partner: &Partner, (customer_id, account_id, text): (Uuid, Uuid, &str)) {
    let mut rpc = AccountServiceClient::new(service.channel().await);
    let currencies = vec![text.to_owned()];
    let message = CreateAccountRequest { customer_id: customer_id.to_string(), r#type: 1, currencies };
    refused(rpc.create_account(partner.rpc(message)).await);
    let mut rpc = CardServiceClient::new(service.channel().await);
    let right = || Address {
        first_line: "Unter den Linden 1".into(),
        second_line: None,
        city: "Berlin".into(),
        state: None,
        country: "DE".into(),
        post_code: Some("10117".into()),
    };
    let wrong = [
        Address { first_line: text.into(), ..right() },
        Address { second_line: Some(text.into()), ..right() },
        Address { city: text.into(), ..right() },
        Address { state: Some(text.into()), ..right() },
        Address { country: text.into(), ..right() },
        Address { post_code: Some(text.into()), ..right() },
    ];
    for address in wrong {
        let account_id = account_id.to_string();
        let message =
            CreateCardRequest { account_id, r#type: 1, billing_address: Some(address), shipping_address: None };
        refused(rpc.create_card(partner.rpc(message)).await);
    }
}

async fn of_accounts(service: &Service, operator: &Operator, (account_id, text): (Uuid, &str)) {
    let mut rpc = AccountServiceClient::new(service.channel().await);
    let (account_id, lease_id) = (account_id.to_string(), Uuid::nil().to_string());
    let right = CompleteDeploymentRequest { account_id, lease_id, chain_id: Evm::new(1).account() };
    let wrong = [
        CompleteDeploymentRequest { account_id: text.into(), ..right.clone() },
        CompleteDeploymentRequest { lease_id: text.into(), ..right.clone() },
        CompleteDeploymentRequest { chain_id: text.into(), ..right.clone() },
        CompleteDeploymentRequest { chain_id: format!("eip155:{text}:0x00"), ..right.clone() },
    ];
    for message in wrong {
        refused(rpc.complete_deployment(operator.rpc_of_all(message)).await);
    }
    let CompleteDeploymentRequest { account_id, lease_id, .. } = right;
    let message = FailDeploymentRequest { account_id, lease_id, reason: text.into() };
    blamed(rpc.fail_deployment(operator.rpc_of_all(message)).await);
}

async fn of_cards(service: &Service, (operator, programme_id): (&Operator, Uuid), (card_id, text): (Uuid, &str)) {
    let mut rpc = CardServiceClient::new(service.channel().await);
    let (card_id, reason) = (card_id.to_string(), text.to_owned());
    let right = CompleteIssuanceRequest {
        card_id: card_id.clone(),
        lease_id: Uuid::nil().to_string(),
        name: "ANNA MUSTER".into(),
        network: "visa".into(),
        last_four: "0042".into(),
        expiration_date: "09/2030".into(),
    };
    let wrong = [
        CompleteIssuanceRequest { card_id: text.into(), ..right.clone() },
        CompleteIssuanceRequest { lease_id: text.into(), ..right.clone() },
        CompleteIssuanceRequest { name: text.into(), ..right.clone() },
        CompleteIssuanceRequest { network: text.into(), ..right.clone() },
        CompleteIssuanceRequest { last_four: text.into(), ..right.clone() },
        CompleteIssuanceRequest { expiration_date: text.into(), ..right.clone() },
    ];
    for message in wrong {
        refused(rpc.complete_issuance(operator.rpc_of_all(message)).await);
    }
    let fail = FailIssuanceRequest { card_id: card_id.clone(), lease_id: right.lease_id, reason: reason.clone() };
    blamed(rpc.fail_issuance(operator.rpc_of_all(fail)).await);
    let suspend = SuspendCardRequest { card_id: card_id.clone(), reason: reason.clone() };
    blamed(rpc.suspend_card(operator.rpc(programme_id, suspend)).await);
    let unsuspend = UnsuspendCardRequest { card_id: card_id.clone(), reason: reason.clone() };
    blamed(rpc.unsuspend_card(operator.rpc(programme_id, unsuspend)).await);
    blamed(rpc.block_card(operator.rpc(programme_id, BlockCardRequest { card_id, reason })).await);
}

/// With everything logged that can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_number_reaches_neither_log_nor_database() {
    let place = Place::sqlite();
    let server = place.serve(&["--log", "trace"]);
    let partner = place.partner().await;
    let customer = partner.customer("u-1").await;
    let simulate = format!("/v1/simulator/customers/{}/verify", id(&customer));
    partner.patch(&simulate).await.refuses(409, "INVALID_STATE_TRANSITION");
    for answer in send(&partner, id(&customer), Uuid::nil()).await {
        assert!((400..500).contains(&answer.status) || answer.json()["accounts"] == json!([]), "{answer:?}");
    }
    let log = server.stop_and_tell();
    assert!(log.contains("/v1/accounts/{accountId}/cards"), "the calls were logged");
    for line in log.lines() {
        assert!(!repeats(line), "{line}");
    }
    let mut kept = Vec::new();
    for file in std::fs::read_dir(place.directory.path()).unwrap() {
        kept.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(kept.windows(3).any(|part| part == b"u-1"), "the database was read");
    for dress in DRESSES {
        assert!(!kept.windows(dress.len()).any(|part| part == dress.as_bytes()), "{dress}");
    }
}
