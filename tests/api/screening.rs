//! Screening over the wire: who is cleared by whom, what partners and operators read of it, and lists that change.

use std::time::Duration;

use customerd::api::v1::ListCustomerEventsRequest;
use customerd::api::v1::customer_service_client::CustomerServiceClient;
use customerd::domain::Timestamp;
use customerd::domain::customer::Move;
use customerd::domain::event::Origin;
use customerd::domain::kyc::{KycState, KycStatus, Reason};
use customerd::lifecycle::{Step, moves};
use customerd::screening::{ListFile, Lists, Screening};
use customerd::store::audit::{self, Found};
use customerd::store::verifications::{self, Verification};
use customerd::store::{customers, screening_scans};
use customerd::worker::{Queue as _, ScreeningQueue};
use http::Method;
use serde_json::json;
use sha2::Digest as _;
use uuid::Uuid;

use crate::kyc::{browse, causes, link, path, proven, until, verification, visit};
use crate::support::accounts::{id, trail, virtual_card};
use crate::support::{Evm, House, Partner, Service, everywhere};

everywhere![
    a_listed_account_is_rejected_and_only_operators_read_why,
    a_live_customer_is_cleared_by_nobody,
    what_older_versions_wrote_is_masked_too,
    a_changed_list_screens_everybody_again,
    an_outdated_list_clears_nobody,
    nodes_with_different_lists_reject_whom_the_newer_names,
    further_test_addresses_are_rejected_in_sandboxes,
];

async fn a_listed_account_is_rejected_and_only_operators_read_why(house: House) {
    let (listed, clear) = (Evm::new(1), Evm::new(2));
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list.txt");
    // Published lists name other chains too.
    let content = format!("# by order\nTR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t\n{}\n", listed.account());
    std::fs::write(&list, &content).unwrap();
    let service = house.start_with(&["--screening-list", list.to_str().unwrap()]).await;
    let partner = service.partner("Wallet").await;
    let customer = proven(&partner, &listed).await;
    until(&partner, &customer, "rejected").await;
    assert_eq!(verification(&partner, &customer).await, ("rejected".into(), json!(["sanctions"])));
    assert_eq!(causes(&partner, &customer).await[2], "screening: rejected: sanctions");
    let page = visit(&service, &link(&customer)).await.is(200);
    assert!(page.text().contains("was not approved") && !page.text().contains("account"), "{page:?}");
    let whole = &whole(&service, &partner, id(&customer)).await[2];
    let modified = std::fs::metadata(&list).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let expected = format!(
        "screening: rejected: SANCTIONED_ADDRESS: list.txt, line 3; by list.txt (sha256 {}, file of {}, {} bytes, 1 addresses)",
        hex::encode(sha2::Sha256::digest(&content)),
        (Timestamp::EPOCH + modified).json(),
        content.len()
    );
    assert_eq!(*whole, expected);

    let other = service.partner("Other").await;
    let customer = proven(&other, &clear).await;
    until(&other, &customer, "verifying").await;
    assert_eq!(causes(&other, &customer).await[2], "screening: screening_clear");
    let whole = &self::whole(&service, &other, id(&customer)).await[2];
    assert!(whole.starts_with("screening: screening_clear: list.txt (sha256 "), "{whole}");
    // A live programme without a real provider: nobody can approve himself, and an operator decides.
    let portal = link(&customer).replace("/verify/", "/kyc/sandbox/");
    visit(&service, &portal).await.is(404);
    browse(&service, Method::POST, &portal, Some("decision=approve")).await.is(404);
    let page = visit(&service, &link(&customer)).await.is(200);
    assert!(page.text().contains("not open yet") && !page.text().contains("few minutes"), "{page:?}");
}

/// The audit trail as an operator reads it, oldest first.
pub(crate) async fn whole(service: &Service, partner: &Partner, customer_id: Uuid) -> Vec<String> {
    let operator = service.operator(&format!("reader-{}", service.clock.nonce(8))).await;
    let mut rpc = CustomerServiceClient::new(service.channel().await);
    let request = ListCustomerEventsRequest { customer_id: customer_id.to_string(), ..Default::default() };
    let events =
        rpc.list_customer_events(operator.rpc(partner.programme_id, request)).await.unwrap().into_inner().events;
    events.iter().rev().map(|event| format!("{}: {}", event.actor, event.cause)).collect()
}

/// Without a provider a live customer is cleared by no node, however often it works; a node that has one does it at once.
async fn a_live_customer_is_cleared_by_nobody(house: House) {
    let service = house.start().await;
    let live = service.partner("Live").await;
    let waits = proven(&live, &Evm::new(1)).await;
    for number in 2..4 {
        // Behind it in the queue, and done all the same.
        let sandbox = service.sandbox_partner(&format!("Sandbox {number}")).await;
        let passes = proven(&sandbox, &Evm::new(number)).await;
        until(&sandbox, &passes, "verifying").await;
        service.wait(Duration::from_secs(1000));
        sandbox.patch(&format!("/v1/simulator{}/reject", path(&passes).trim_start_matches("/v1"))).await.is(202);
    }
    assert_eq!(live.get(&path(&waits)).await.json()["status"], "screening");
    assert_eq!(verification(&live, &waits).await.0, "screening");

    let now = service.clock.now();
    let without = ScreeningQueue::new(service.store.clone(), service.clock.clone(), Screening::default());
    assert!(
        without.claim(service.node().await, now, 10).await.unwrap().items.is_empty()
            && without.next_due().await.unwrap().is_none()
    );
    // It counts as waiting, so that the lag shows it.
    let backlog = without.backlog().await.unwrap();
    assert!(backlog.waiting == 1 && backlog.due.is_some_and(|due| due < now), "{backlog:?}");
    let with = ScreeningQueue::new(service.store.clone(), service.clock.clone(), listing("0x00"));
    let item = with.claim(service.node().await, now, 10).await.unwrap().items.remove(0);
    let verdict = with.perform(&item).await;
    assert_eq!(with.settle(item, Some(verdict)).await.unwrap(), "clear");
    assert_eq!(live.get(&path(&waits)).await.json()["status"], "verifying");
}

/// Screening by a list that names an address which nobody here has.
pub(crate) fn listing(begin: &str) -> Screening {
    by_list(&format!("{begin:0<42}"))
}

async fn what_older_versions_wrote_is_masked_too(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let customer = proven(&partner, &Evm::new(1)).await;
    let mut tx = service.store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, id(&customer)).await.unwrap().unwrap();
    let origin = Origin::internal("screening");
    let step = Step { by: Move::Reject, reason: Some("SANCTIONED_ADDRESS: list.txt"), origin: &origin };
    moves::make(&mut tx, &mut held, step, &service.clock).await.unwrap();
    let reasons = vec![Reason::new("SCREENING_HIT", "This blockchain account cannot be accepted.")];
    let state = KycState { status: KycStatus::Rejected, reasons, ..KycState::default() };
    let kept = Verification { state, provider: Some("screening".into()), updated_at: service.clock.now() };
    verifications::put(&mut tx, id(&customer), &kept).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(causes(&partner, &customer).await[2], "screening: rejected: sanctions");
    assert_eq!(verification(&partner, &customer).await, ("rejected".into(), json!(["sanctions"])));
    let page = visit(&service, &link(&customer)).await.is(200);
    assert!(page.text().contains("was not approved") && !page.text().contains("account"), "{page:?}");
    assert_eq!(whole(&service, &partner, id(&customer)).await[2], "screening: rejected: SANCTIONED_ADDRESS: list.txt");
    // What partners do not see is still covered by the hashes, which therefore are not those that partners read.
    let shown = partner.get(&format!("/v1/customers/{}/events", id(&customer))).await.json();
    let mut reader = service.store.reader().await.unwrap();
    let trail = customerd::store::events::trail(&mut reader, id(&customer), None, 10).await.unwrap();
    for (at, event) in trail.iter().enumerate() {
        let public = |name: &str| shown["events"][at][name].as_str().unwrap().to_owned();
        assert!(public("hash").len() == 64 && public("hash") != hex::encode(event.hash), "{event:?}");
        assert_eq!(at + 1 == trail.len(), public("previousHash") == hex::encode(event.previous_hash));
    }
    drop(reader);
    let mut faults = 0;
    audit::verify(&service.store, |found| faults += u32::from(matches!(found, Found::Fault(_)))).await.unwrap();
    assert_eq!(faults, 0);
}

/// Who was cleared by the old list and stands on the new one is rejected, with accounts and cards; who stays clear is not
/// touched; a list that cannot be read changes nothing.
async fn a_changed_list_screens_everybody_again(house: House) {
    let (listed, clear) = (Evm::new(1), Evm::new(2));
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list.txt");
    let write = |content: &str| {
        let new = directory.path().join("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &list).unwrap();
    };
    write(&format!("{:0<42}\n", "0x00"));
    let service = house.start_with(&["--screening-list", list.to_str().unwrap()]).await;
    let partner = service.partner("Wallet").await;
    let other = service.partner("Other").await;
    let (named, unnamed) = (proven(&partner, &listed).await, proven(&other, &clear).await);
    until(&partner, &named, "verifying").await;
    until(&other, &unnamed, "verifying").await;
    approve(&service, id(&named)).await;
    approve(&service, id(&unnamed)).await;
    let account_id = service.active_account(&partner, id(&named)).await;
    service.active_card(&partner, account_id, &virtual_card()).await;
    let before = other.get(&path(&unnamed)).await.is(200);

    let goes_by = async |seconds: u64| {
        for _ in 0..seconds.div_ceil(2) {
            service.wait(Duration::from_secs(2));
            // The file is read in a thread of its own: it needs time of this machine, not of the clock.
            for _ in 0..10 {
                other.get(&path(&unnamed)).await.is(200);
            }
        }
    };
    write("this is no list\n");
    goes_by(20).await;
    assert_eq!(partner.get(&path(&named)).await.json()["status"], "active");
    write(&format!("{}\n", listed.account()));
    for _ in 0..200 {
        goes_by(2).await;
        if partner.get(&path(&named)).await.json()["status"] == "rejected" {
            break;
        }
    }
    let told = trail(&partner, id(&named)).await;
    let ended = [
        "customer [rejected: sanctions] active > rejected v5",
        "account [closed: with its customer] active > closed v4",
        "card [terminated: with its customer] active > terminated v3",
    ];
    assert_eq!(told[told.len() - 3..], ended);
    assert_eq!(verification(&partner, &named).await, ("rejected".into(), json!(["sanctions"])));
    goes_by(20).await;
    assert_eq!(other.get(&path(&unnamed)).await.body, before.body);
}

/// Screening by the list in a file of that content.
fn by_list(content: &str) -> Screening {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    Screening::default().with_lists(Lists::new(vec![ListFile::open(file.path()).unwrap()]))
}

/// A rolling deployment: the scan by the new list has ended, and one node still has the old one.
async fn an_outdated_list_clears_nobody(house: House) {
    let service = house.start_with(&["--no-worker"]).await;
    let partner = service.partner("Wallet").await;
    let wallet = Evm::new(1);
    let customer = proven(&partner, &wallet).await;
    let new = by_list(&wallet.account());
    let fingerprint = new.lists().fingerprint();
    let [old, new] = [listing("0x00"), new]
        .map(|screening| ScreeningQueue::new(service.store.clone(), service.clock.clone(), screening));
    let (now, mut tx) = (service.clock.now(), service.store.begin().await.unwrap());
    screening_scans::begin(&mut tx, &fingerprint, None, now).await.unwrap();
    tx.commit().await.unwrap();

    for _ in 0..2 {
        let item = old.claim(service.node().await, service.clock.now(), 1).await.unwrap().items.remove(0);
        let verdict = old.perform(&item).await;
        assert_eq!(old.settle(item, Some(verdict)).await.unwrap(), "outdated");
        assert_eq!(partner.get(&path(&customer)).await.json()["status"], "screening");
        service.wait(Duration::from_secs(2));
    }
    let backlog = old.backlog().await.unwrap();
    assert!(backlog.waiting == 1 && backlog.due.is_some_and(|due| due <= now), "{backlog:?}");
    let item = new.claim(service.node().await, service.clock.now(), 1).await.unwrap().items.remove(0);
    let verdict = new.perform(&item).await;
    assert_eq!(new.settle(item, Some(verdict)).await.unwrap(), "hit");
    assert_eq!(partner.get(&path(&customer)).await.json()["status"], "rejected");

    // What an outdated list names is no less listed.
    let other = service.partner("Other").await;
    let wallet = Evm::new(2);
    let customer = proven(&other, &wallet).await;
    let outdated = ScreeningQueue::new(service.store.clone(), service.clock.clone(), by_list(&wallet.account()));
    let item = outdated.claim(service.node().await, service.clock.now(), 1).await.unwrap().items.remove(0);
    let verdict = outdated.perform(&item).await;
    assert_eq!(outdated.settle(item, Some(verdict)).await.unwrap(), "hit");
    assert_eq!(other.get(&path(&customer)).await.json()["status"], "rejected");
}

async fn nodes_with_different_lists_reject_whom_the_newer_names(house: House) {
    let wallet = Evm::new(1);
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = ["old.txt", "new.txt"].map(|name| directory.path().join(name));
    std::fs::write(&old, format!("{:0<42}\n", "0x00")).unwrap();
    std::fs::write(&new, wallet.account()).unwrap();
    let mut service = house.start_with(&["--screening-list", old.to_str().unwrap()]).await;
    service.beside(&["--screening-list", new.to_str().unwrap()]).await;
    let partner = service.partner("Wallet").await;
    // The new list is in force, and everybody has been screened by it.
    for _ in 0..20 {
        partner.get("/v1/customers").await.is(200);
    }
    let customer = proven(&partner, &wallet).await;
    for _ in 0..200 {
        service.wait(Duration::from_secs(2));
        for _ in 0..10 {
            partner.get(&path(&customer)).await.is(200);
        }
        if partner.get(&path(&customer)).await.json()["status"] == "rejected" {
            break;
        }
    }
    let expected = ["programme: created", "owner: ownership_proven", "screening: rejected: sanctions"];
    assert_eq!(causes(&partner, &customer).await, expected, "cleared by no node");
}

/// What an operator does where there is no provider.
async fn approve(service: &Service, customer_id: Uuid) {
    let mut tx = service.store.begin().await.unwrap();
    let mut held = customers::lock(&mut tx, customer_id).await.unwrap().unwrap();
    let origin = Origin::internal("operator:ops");
    let step = Step { by: Move::Approve, reason: None, origin: &origin };
    moves::make(&mut tx, &mut held, step, &service.clock).await.unwrap();
    tx.commit().await.unwrap();
}

async fn further_test_addresses_are_rejected_in_sandboxes(house: House) {
    let wallet = Evm::new(6);
    let account = wallet.account();
    let (_, address) = account.rsplit_once(':').unwrap();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), format!("{:0<42}", "0x00")).unwrap();
    let flags = ["--screening-test-addresses", address, "--screening-list", list.path().to_str().unwrap()];
    let service = house.start_with(&flags).await;
    let (sandbox, live) = (service.sandbox_partner("Sandbox").await, service.partner("Live").await);
    let customer = proven(&sandbox, &wallet).await;
    until(&sandbox, &customer, "rejected").await;
    let rejected = "screening: rejected: TEST_ADDRESS: sandbox test addresses; by sandbox test addresses";
    assert_eq!(whole(&service, &sandbox, id(&customer)).await[2], rejected);
    let customer = proven(&live, &wallet).await;
    until(&live, &customer, "verifying").await;
}
