//! Cards: ordered on active accounts, issued by another service, suspended and blocked by operators.

use std::time::Duration;

use customerd::api::v1::card_service_client::CardServiceClient;
use customerd::api::v1::{
    BlockCardRequest, ClaimIssuancesRequest, CompleteIssuanceRequest, FailIssuanceRequest, SuspendCardRequest,
    UnsuspendCardRequest,
};
use customerd::domain::{account, card::Move};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::accounts::{address, id, physical_card, trail, virtual_card};
use crate::support::{House, Partner, Service, everywhere};

everywhere![
    a_card_is_ordered_and_shown,
    one_live_card_of_each_type,
    only_active_accounts_get_cards,
    addresses_of_the_whole_world,
    every_fault_of_an_order_is_named,
    an_issuance_is_claimed_and_reported,
    no_full_number_is_taken,
    a_failed_issuance_frees_the_place,
    operators_suspend_and_block,
    every_move_of_a_card,
    the_simulator_issues_sandbox_cards,
    cards_are_listed_newest_first,
];

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

/// A live programme with an active account.
async fn funded(house: House) -> (Service, Partner, Uuid, Uuid) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = service.active_account(&partner, customer_id).await;
    (service, partner, customer_id, account_id)
}

async fn status(partner: &Partner, card_id: Uuid) -> (String, i64) {
    let card = partner.get(&format!("/v1/cards/{card_id}")).await.is(200).json();
    (card["status"].as_str().unwrap().to_owned(), card["version"].as_i64().unwrap())
}

async fn a_card_is_ordered_and_shown(house: House) {
    let (service, partner, customer_id, account_id) = funded(house).await;
    let target = format!("/v1/accounts/{account_id}/cards");
    let order = physical_card();
    let card = partner.post(&target, &order).key("00000000-0000-4000-8000-00000000ca4d").await.is(201).json();
    let at = "2026-01-02T03:04:05.000006Z";
    let wanted = json!({
        "id": card["id"], "accountId": account_id, "type": "physical", "status": "issuing",
        "billingAddress": address(), "shippingAddress": address(), "createdAt": at, "updatedAt": at, "version": 1,
    });
    assert_eq!(card, wanted);
    let replayed = partner.post(&target, &order).key("00000000-0000-4000-8000-00000000ca4d").await.is(201);
    assert_eq!((replayed.json(), replayed.header("idempotent-replayed")), (wanted.clone(), Some("true")));
    let shown = format!("/v1/cards/{}", id(&card));
    assert_eq!(partner.get(&shown).await.is(200).json(), wanted);
    service.partner("Other").await.get(&shown).await.refuses(404, "CARD_NOT_FOUND");
    partner.get("/v1/cards/nonsense").await.refuses(404, "CARD_NOT_FOUND");
    assert_eq!(trail(&partner, customer_id).await.last().unwrap(), "card [created] - > issuing v1");
}

async fn one_live_card_of_each_type(house: House) {
    let (service, partner, _, account_id) = funded(house).await;
    let target = format!("/v1/accounts/{account_id}/cards");
    let mut live = Vec::new();
    for order in [virtual_card(), physical_card()] {
        live.push(service.card(&partner, account_id, &order).await);
        let refused = partner.post(&target, &order).await.refuses(409, "CARD_EXISTS").json();
        assert_eq!(refused["existingId"], live.last().unwrap().to_string());
        assert_eq!(refused["title"], "Card already exists");
    }
    // Every way to an end frees the place.
    let ends: [&[Move]; 3] = [&[Move::Terminate], &[Move::Fail], &[Move::Issue, Move::Suspend, Move::Block]];
    for moves in ends {
        service.move_card(live[0], moves).await;
        live[0] = service.card(&partner, account_id, &virtual_card()).await;
        partner.post(&target, &virtual_card()).await.refuses(409, "CARD_EXISTS");
    }
    let both = tokio::join!(async { partner.delete(&format!("/v1/cards/{}", live[0])).await }, async {
        partner.delete(&format!("/v1/cards/{}", live[0])).await
    },);
    let mut answers = [both.0.status, both.1.status];
    answers.sort_unstable();
    assert_eq!(answers, [200, 409]);
}

async fn only_active_accounts_get_cards(house: House) {
    let (service, partner, customer_id, _) = funded(house).await;
    use account::Move;
    let lives: [(&str, &[Move]); 5] = [
        ("initiating", &[]),
        ("pending", &[Move::Sign]),
        ("inactive", &[Move::Sign, Move::Deploy, Move::Deactivate]),
        ("closed", &[Move::Close]),
        ("failed", &[Move::Sign, Move::Fail]),
    ];
    for (status, moves) in lives {
        let order = json!({"type": "card_account", "currencies": ["EUR"]});
        let target = format!("/v1/customers/{customer_id}/accounts");
        let account_id = id(&partner.post(&target, &order).await.is(201).json());
        service.move_account(account_id, moves).await;
        let target = format!("/v1/accounts/{account_id}/cards");
        let refused = partner.post(&target, &virtual_card()).await.refuses(409, "INVALID_STATE_TRANSITION");
        assert_eq!(refused.json()["currentStatus"], status);
    }
    let target = format!("/v1/accounts/{NOBODY}/cards");
    partner.post(&target, &virtual_card()).await.refuses(404, "ACCOUNT_NOT_FOUND");
    partner.get(&target).await.refuses(404, "ACCOUNT_NOT_FOUND");
}

async fn addresses_of_the_whole_world(house: House) {
    let (_service, partner, _, account_id) = funded(house).await;
    let target = format!("/v1/accounts/{account_id}/cards");
    let hong_kong = json!({"firstLine": "葛\u{e0100}城道1號", "city": "香港", "country": "HK"});
    let order = json!({"type": "virtual", "billingAddress": hong_kong, "shippingAddress": address()});
    let card = partner.post(&target, &order).await.is(201).json();
    let shown = partner.get(&format!("/v1/cards/{}", card["id"].as_str().unwrap())).await.is(200).json();
    // A virtual card shows where its holder said that things are sent.
    assert_eq!((&shown["billingAddress"], &shown["shippingAddress"]), (&hong_kong, &address()));
    // What a form left empty is absent.
    let mut empty = hong_kong.clone();
    empty["postCode"] = "".into();
    let order = json!({"type": "physical", "billingAddress": empty, "shippingAddress": hong_kong});
    assert_eq!(partner.post(&target, &order).await.is(201).json()["billingAddress"], hong_kong);
    let german = json!({"firstLine": "1", "city": "Berlin", "country": "DE"});
    let order = json!({"type": "virtual", "billingAddress": german});
    partner.post(&target, &order).await.blames("billingAddress.postCode", "REQUIRED");
    // Nobody knows whether a country that is none has postal codes.
    for (country, code) in [("", "REQUIRED"), ("XX", "INVALID_COUNTRY")] {
        let nowhere = json!({"firstLine": "1", "city": "Berlin", "country": country});
        let refused = partner.post(&target, &json!({"type": "virtual", "billingAddress": nowhere})).await;
        let errors = refused.blames("billingAddress.country", code).json()["errors"].clone();
        assert_eq!(errors.as_array().unwrap().len(), 1, "{errors}");
    }
}

async fn every_fault_of_an_order_is_named(house: House) {
    let (_service, partner, _, account_id) = funded(house).await;
    let target = format!("/v1/accounts/{account_id}/cards");
    let with = |name: &str, value: &str| {
        let mut address = address();
        address[name] = value.into();
        json!({"type": "virtual", "billingAddress": address})
    };
    let faults = [
        (json!({"billingAddress": address()}), "type", "REQUIRED"),
        (json!({"type": "virtual"}), "billingAddress", "REQUIRED"),
        (json!({"type": "physical", "billingAddress": address()}), "shippingAddress", "REQUIRED"),
        (
            json!({"type": "virtual", "billingAddress": address(), "shippingAddress": with("city", "")["billingAddress"]}),
            "shippingAddress.city",
            "REQUIRED",
        ),
        (with("postCode", ""), "billingAddress.postCode", "REQUIRED"),
        (with("country", "XX"), "billingAddress.country", "INVALID_COUNTRY"),
        (with("city", ""), "billingAddress.city", "REQUIRED"),
        (with("secondLine", "card 4111 1111 1111 1111"), "billingAddress.secondLine", "CARD_NUMBER_FORBIDDEN"),
    ];
    for (body, field, code) in faults {
        let answer = partner.post(&target, &body).await.blames(field, code);
        assert!(!answer.text().contains("4111"), "{answer:?}");
    }
    assert_eq!(partner.get(&target).await.is(200).json(), json!({"cards": [], "nextPageToken": ""}));
}

fn issuance(card_id: Uuid, lease_id: &str) -> CompleteIssuanceRequest {
    CompleteIssuanceRequest {
        card_id: card_id.to_string(),
        lease_id: lease_id.to_owned(),
        name: "ANNA MUSTER".into(),
        network: "visa".into(),
        last_four: "0042".into(),
        expiration_date: "09/2030".into(),
    }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

async fn an_issuance_is_claimed_and_reported(house: House) {
    let (service, partner, _, account_id) = funded(house).await;
    let operator = service.operator("issuer").await;
    let mut rpc = CardServiceClient::new(service.channel().await);
    let card_id = service.card(&partner, account_id, &virtual_card()).await;
    let lease = Some(prost_types::Duration { seconds: 5, nanos: 0 });
    let claim = || operator.rpc_of_all(ClaimIssuancesRequest { limit: Some(100), lease });
    let first = rpc.claim_issuances(claim()).await.unwrap().into_inner().issuances.remove(0);
    assert_eq!(first.card.unwrap().id, card_id.to_string());
    assert_eq!(first.leased_until.unwrap().seconds, service.clock.now().unix_seconds() + 5);
    assert_eq!(rpc.claim_issuances(claim()).await.unwrap().into_inner().issuances, []);
    service.wait(Duration::from_secs(5));
    let second = rpc.claim_issuances(claim()).await.unwrap().into_inner().issuances.remove(0);
    let lost = rpc.complete_issuance(operator.rpc_of_all(issuance(card_id, &first.lease_id))).await.unwrap_err();
    assert_eq!((lost.code(), reason(&lost).as_str()), (Code::FailedPrecondition, "LEASE_LOST"));
    let report = || operator.rpc_of_all(issuance(card_id, &second.lease_id));
    rpc.complete_issuance(report()).await.unwrap();
    assert_eq!(reason(&rpc.complete_issuance(report()).await.unwrap_err()), "INVALID_STATE_TRANSITION");
    let card = partner.get(&format!("/v1/cards/{card_id}")).await.is(200).json();
    let shown = ["name", "network", "maskedPan", "expirationDate", "status"].map(|name| card[name].as_str().unwrap());
    assert_eq!(shown, ["ANNA MUSTER", "visa", "**** **** **** 0042", "09/2030", "active"]);
    let refused = rpc.claim_issuances(partner.rpc(ClaimIssuancesRequest::default())).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "OPERATOR_ONLY"));
}

async fn no_full_number_is_taken(house: House) {
    let (service, partner, customer_id, account_id) = funded(house).await;
    let operator = service.operator("issuer").await;
    let mut rpc = CardServiceClient::new(service.channel().await);
    let card_id = service.card(&partner, account_id, &virtual_card()).await;
    let claim = operator.rpc_of_all(ClaimIssuancesRequest::default());
    let lease_id = rpc.claim_issuances(claim).await.unwrap().into_inner().issuances.remove(0).lease_id;
    let right = || issuance(card_id, &lease_id);
    let pan = "5555555555554444";
    let wrong = [
        ("name", CompleteIssuanceRequest { name: pan.into(), ..right() }),
        ("network", CompleteIssuanceRequest { network: pan.into(), ..right() }),
        ("lastFour", CompleteIssuanceRequest { last_four: pan.into(), ..right() }),
        ("lastFour", CompleteIssuanceRequest { last_four: "44444".into(), ..right() }),
        ("expirationDate", CompleteIssuanceRequest { expiration_date: "9/2030".into(), ..right() }),
    ];
    for (field, message) in wrong {
        let refused = rpc.complete_issuance(operator.rpc_of_all(message)).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
        assert!(!format!("{refused:?}").contains(pan));
    }
    let fail = FailIssuanceRequest { card_id: card_id.to_string(), lease_id, reason: format!("card {pan}") };
    assert_eq!(rpc.fail_issuance(operator.rpc_of_all(fail)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(status(&partner, card_id).await, ("issuing".to_owned(), 1));
    assert_eq!(trail(&partner, customer_id).await.last().unwrap(), "card [created] - > issuing v1");
}

async fn a_failed_issuance_frees_the_place(house: House) {
    let (service, partner, customer_id, account_id) = funded(house).await;
    let operator = service.operator("issuer").await;
    let mut rpc = CardServiceClient::new(service.channel().await);
    let card_id = service.card(&partner, account_id, &virtual_card()).await;
    let claim = operator.rpc_of_all(ClaimIssuancesRequest::default());
    let lease_id = rpc.claim_issuances(claim).await.unwrap().into_inner().issuances.remove(0).lease_id;
    let fail = FailIssuanceRequest { card_id: card_id.to_string(), lease_id, reason: "no plastic".into() };
    rpc.fail_issuance(operator.rpc_of_all(fail)).await.unwrap();
    let last = trail(&partner, customer_id).await.pop().unwrap();
    assert_eq!(last, "card [issue_failed] issuing > issue_failed v2");
    service.card(&partner, account_id, &virtual_card()).await;
}

async fn operators_suspend_and_block(house: House) {
    let (service, partner, customer_id, account_id) = funded(house).await;
    let operator = service.operator("risk").await;
    let mut rpc = CardServiceClient::new(service.channel().await);
    let card = service.active_card(&partner, account_id, &virtual_card()).await;
    let (card_id, reason) = (card.to_string(), "stolen".to_owned());
    let suspend = SuspendCardRequest { card_id: card_id.clone(), reason: reason.clone() };
    let unsuspend = UnsuspendCardRequest { card_id: card_id.clone(), reason: reason.clone() };
    let block = BlockCardRequest { card_id, reason };
    let programme = partner.programme_id;
    let refused = rpc.suspend_card(partner.rpc(suspend.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        rpc.block_card(operator.rpc(programme, block.clone())).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    rpc.suspend_card(operator.rpc(programme, suspend.clone())).await.unwrap();
    partner.patch(&format!("/v1/cards/{card}/activate")).await.refuses(409, "INVALID_STATE_TRANSITION");
    partner.patch(&format!("/v1/cards/{card}/deactivate")).await.refuses(409, "INVALID_STATE_TRANSITION");
    rpc.unsuspend_card(operator.rpc(programme, unsuspend)).await.unwrap();
    rpc.suspend_card(operator.rpc(programme, suspend)).await.unwrap();
    rpc.block_card(operator.rpc(programme, block)).await.unwrap();
    let trail = trail(&partner, customer_id).await;
    let wanted = [
        "card [suspended] active > suspended v3",
        "card [unsuspended] suspended > active v4",
        "card [suspended] active > suspended v5",
        "card [blocked] suspended > blocked v6",
    ];
    assert_eq!(trail[trail.len() - 4..], wanted);
    partner.delete(&format!("/v1/cards/{card}")).await.refuses(409, "INVALID_STATE_TRANSITION");
}

async fn every_move_of_a_card(house: House) {
    let (service, partner, _, account_id) = funded(house).await;
    let lives: [(&str, &[Move]); 7] = [
        ("issuing", &[]),
        ("active", &[Move::Issue]),
        ("inactive", &[Move::Issue, Move::Deactivate]),
        ("suspended", &[Move::Issue, Move::Suspend]),
        ("blocked", &[Move::Issue, Move::Suspend, Move::Block]),
        ("issue_failed", &[Move::Fail]),
        ("terminated", &[Move::Terminate]),
    ];
    let mut table = Vec::new();
    for (from, moves) in lives {
        for by in ["activate", "deactivate", "terminate"] {
            let card_id = service.card(&partner, account_id, &virtual_card()).await;
            service.move_card(card_id, moves).await;
            let target = format!("/v1/cards/{card_id}");
            let answer = match by {
                "terminate" => partner.delete(&target).await,
                _ => partner.patch(&format!("{target}/{by}")).await,
            };
            if answer.status == 200 {
                table.push(format!("{from} {by} {}", answer.json()["status"].as_str().unwrap()));
            } else {
                assert_eq!(answer.refuses(409, "INVALID_STATE_TRANSITION").json()["currentStatus"], from);
            }
            // Makes room for the next one.
            partner.delete(&target).await;
        }
    }
    let wanted = [
        "issuing terminate terminated",
        "active deactivate inactive",
        "active terminate terminated",
        "inactive activate active",
        "inactive terminate terminated",
        "suspended terminate terminated",
    ];
    assert_eq!(table, wanted);
    for (method, suffix) in [("PATCH", "/activate"), ("PATCH", "/deactivate"), ("DELETE", "")] {
        partner.call(method, &format!("/v1/cards/{NOBODY}{suffix}")).await.refuses(404, "CARD_NOT_FOUND");
    }
}

async fn the_simulator_issues_sandbox_cards(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let (partner, live) = (service.sandbox_partner("Sandbox").await, service.partner("Live").await);
    let customer_id = service.active_customer(&partner, "u-1").await;
    let account_id = service.active_account(&partner, customer_id).await;
    let card_id = service.card(&partner, account_id, &virtual_card()).await;
    let issue = format!("/v1/simulator/cards/{card_id}/issue");
    live.patch(&issue).await.refuses(403, "SANDBOX_ONLY");
    partner.patch(&format!("/v1/simulator/cards/{NOBODY}/issue")).await.refuses(404, "CARD_NOT_FOUND");
    assert_eq!(partner.patch(&issue).await.is(202).text(), "");
    partner.patch(&issue).await.refuses(409, "INVALID_STATE_TRANSITION");
    let card = partner.get(&format!("/v1/cards/{card_id}")).await.is(200).json();
    assert_eq!((card["status"].as_str(), card["expirationDate"].as_str()), (Some("active"), Some("01/2030")));
    let failing = service.card(&partner, account_id, &physical_card()).await;
    let fail = format!("/v1/simulator/cards/{failing}/fail");
    partner.patch(&fail).await.is(202);
    partner.patch(&fail).await.refuses(409, "INVALID_STATE_TRANSITION");
    assert_eq!(status(&partner, failing).await, ("issue_failed".to_owned(), 2));
}

async fn cards_are_listed_newest_first(house: House) {
    let (service, partner, customer_id, one) = funded(house).await;
    let two = service.active_account(&partner, customer_id).await;
    let mut made = Vec::new();
    for (account_id, order) in [(one, virtual_card()), (two, virtual_card()), (one, physical_card())] {
        service.wait(Duration::from_secs(1));
        made.push(service.card(&partner, account_id, &order).await.to_string());
    }
    made.reverse();
    let ids = |page: &Value| -> Vec<String> {
        page["cards"].as_array().unwrap().iter().map(|card| card["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&partner.get("/v1/cards").await.is(200).json()), made);
    let of_one = partner.get(&format!("/v1/accounts/{one}/cards?pageSize=1")).await.is(200).json();
    let next = format!("/v1/accounts/{one}/cards?pageSize=1&pageToken={}", of_one["nextPageToken"].as_str().unwrap());
    let rest = partner.get(&next).await.is(200).json();
    assert_eq!(
        (ids(&of_one), ids(&rest), rest["nextPageToken"].as_str()),
        (made[..1].to_vec(), made[2..].to_vec(), Some(""))
    );
    service.move_card(made[1].parse().unwrap(), &[Move::Issue]).await;
    assert_eq!(ids(&partner.get("/v1/cards?status=active").await.is(200).json()), made[1..2]);
    let before = partner.get("/v1/cards?createdBefore=2026-01-02T03:04:07.000006Z").await.is(200).json();
    assert_eq!(ids(&before), made[2..]);
    partner.get("/v1/cards?status=frozen").await.is(400);
    assert_eq!(ids(&service.partner("Other").await.get("/v1/cards").await.is(200).json()), Vec::<String>::new());
}
