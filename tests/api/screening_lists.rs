//! Screening lists at work: two nodes with lists of their own, what is measured of them, and a scan that another node left.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use customerd::screening::{ListFile, Lists};
use customerd::store::tasks::NodeLease;
use customerd::store::{Connection as _, nodes, screening_scans};
use uuid::Uuid;

use crate::kyc::{path, proven, until};
use crate::process::Place;
use crate::screening::whole;
use crate::support::accounts::id;
use crate::support::{Evm, House, Partner, START, Service, everywhere};

everywhere![
    a_hit_on_the_list_of_either_node_counts,
    the_age_of_a_list_and_its_failures_are_measured,
    a_scan_that_was_killed_goes_on_where_it_was,
];

/// A list file that is replaced as a whole.
struct List {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl List {
    /// Of an address that nobody here has, so that everybody is clear.
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let list = Self { path: directory.path().join(name), directory };
        list.write(&format!("{:0<42}\n", "0x00"));
        list
    }

    fn write(&self, content: &str) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }

    fn names(&self, wallets: &[&Evm]) {
        self.write(&wallets.iter().map(|wallet| wallet.account() + "\n").collect::<String>());
    }

    fn shown(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// Time goes by. Files are read in a thread of their own: that takes time of this machine, not of the clock.
async fn goes_by(service: &Service, partner: &Partner, seconds: u64) {
    for _ in 0..seconds.div_ceil(2) {
        service.wait(Duration::from_secs(2));
        for _ in 0..10 {
            partner.get("/v1/customers").await.is(200);
        }
    }
}

async fn status(partner: &Partner, customer: &serde_json::Value) -> String {
    partner.get(&path(customer)).await.is(200).json()["status"].as_str().unwrap().to_owned()
}

async fn until_rejected(service: &Service, partner: &Partner, customer: &serde_json::Value) {
    for _ in 0..200 {
        if status(partner, customer).await == "rejected" {
            return;
        }
        goes_by(service, partner, 2).await;
    }
    panic!("never rejected: {:?}", partner.get(&path(customer)).await);
}

async fn a_hit_on_the_list_of_either_node_counts(house: House) {
    let (here, there) = (List::new("here.txt"), List::new("there.txt"));
    let mut service = house.start_with(&["--screening-list", here.shown()]).await;
    service.beside(&["--screening-list", there.shown()]).await;
    let wallets = [Evm::new(1), Evm::new(2), Evm::new(3)];
    let mut customers = Vec::new();
    for (number, wallet) in wallets.iter().enumerate() {
        let partner = service.partner(&format!("Wallet {number}")).await;
        let customer = proven(&partner, wallet).await;
        until(&partner, &customer, "verifying").await;
        customers.push((partner, customer));
    }
    // Each node screens everybody again by its own list.
    here.names(&[&wallets[0]]);
    there.names(&[&wallets[1]]);
    for (list, (partner, customer)) in ["here.txt", "there.txt"].into_iter().zip(&customers) {
        until_rejected(&service, partner, customer).await;
        let told = whole(&service, partner, id(customer)).await;
        let cause = told.last().unwrap();
        let expected = format!("screening: rejected: SANCTIONED_ADDRESS: {list}, line 1; by {list} (sha256 ");
        assert!(cause.starts_with(&expected), "{cause}");
    }
    let (partner, customer) = &customers[2];
    goes_by(&service, partner, 20).await;
    assert_eq!(status(partner, customer).await, "verifying");
    service.stop().await;
}

/// A measure of a list.
async fn measured(partner: &Partner, name: &str, list: &List) -> Option<f64> {
    let metrics = partner.get("/metrics").bare().await.is(200);
    let begin = format!("{name}{{list=\"{}\"}} ", list.shown());
    metrics.text().lines().find_map(|line| line.strip_prefix(&begin)).map(|value| value.parse().unwrap())
}

async fn the_age_of_a_list_and_its_failures_are_measured(house: House) {
    const AGE: &str = "screening_list_age_seconds";
    const FAILURES: &str = "screening_list_reload_failures_total";
    let list = List::new("list.txt");
    let dated = |at: u64| {
        let file = std::fs::File::options().append(true).open(&list.path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_micros(at)).unwrap();
    };
    let start = u64::try_from(START.0).unwrap();
    dated(start - 3_600_000_000);
    let service = house.start_with(&["--screening-list", list.shown()]).await;
    let partner = service.partner("Wallet").await;
    while measured(&partner, AGE, &list).await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(measured(&partner, AGE, &list).await, Some(3600.0));
    assert_eq!(measured(&partner, FAILURES, &list).await, Some(0.0));

    // The old list stays in force and grows older; each try that fails is counted, and there is one a minute.
    list.write("this is no list\n");
    let mut passed = [0, 0];
    for failures in 1..=2 {
        while measured(&partner, FAILURES, &list).await != Some(f64::from(failures)) {
            goes_by(&service, &partner, 2).await;
            passed[failures as usize - 1] += 2;
            assert!(passed[0] < 1000 && passed[1] < 1000, "{passed:?}");
        }
    }
    assert!(passed[1] >= 30, "an unchanged file is not tried at each turn: {passed:?}");
    let age = measured(&partner, AGE, &list).await.unwrap();
    assert!(age >= f64::from(3600 + passed[1]), "{age} after {passed:?}");

    list.write(&format!("{:0<42}\n", "0x01"));
    let now = u64::try_from(service.clock.now().0).unwrap();
    dated(now);
    while measured(&partner, AGE, &list).await.is_none_or(|age| age >= 3600.0) {
        goes_by(&service, &partner, 2).await;
    }
    assert_eq!(measured(&partner, FAILURES, &list).await, Some(2.0));
    service.stop().await;
}

/// What a node that screens everybody again leaves when it is killed: its lease, and how far it had come.
async fn a_scan_that_was_killed_goes_on_where_it_was(house: House) {
    let list = List::new("list.txt");
    let flags = ["--screening-list", list.shown()];
    let service = house.start_with(&flags).await;
    let wallets = [Evm::new(1), Evm::new(2)];
    let mut customers = Vec::new();
    for (number, wallet) in wallets.iter().enumerate() {
        let partner = service.partner(&format!("Wallet {number}")).await;
        let customer = proven(&partner, wallet).await;
        until(&partner, &customer, "verifying").await;
        customers.push((partner, customer));
    }
    let [first, second] = [0, 1].map(|number| id(&customers[number].1));
    assert!(first < second, "the scan goes by ids");
    list.names(&[&wallets[0], &wallets[1]]);
    // Both are listed, and the first is done: that it stays as it is shows that the scan does not begin again.
    let node = leave(&service, &list.path, first).await;
    let service = service.stop().await.start_with(&flags).await;
    let [(done, one), (waits, other)] = &mut customers[..] else { unreachable!() };
    for partner in [&mut *done, &mut *waits] {
        (partner.http, partner.clock) = (service.http, service.clock.clone());
    }
    for _ in 0..20 {
        let mut tx = service.store.begin().await.unwrap();
        assert!(nodes::beat(&mut tx, node).await.unwrap());
        tx.commit().await.unwrap();
        goes_by(&service, waits, 2).await;
    }
    assert_eq!(status(waits, other).await, "verifying", "while the other node is alive");
    until_rejected(&service, waits, other).await;
    goes_by(&service, waits, 20).await;
    assert_eq!(status(done, one).await, "verifying");
    service.stop().await;
}

/// A node scans up to a customer, and is not heard of again.
async fn leave(service: &Service, list: &Path, position: Uuid) -> Uuid {
    let fingerprint = Lists::new(vec![ListFile::open(list).unwrap()]).fingerprint();
    let lease = NodeLease { id: service.clock.id(), node: service.node().await };
    let mut tx = service.store.begin().await.unwrap();
    // The service may have seen the list already: then it is in force, and its scan has not begun.
    let newest = screening_scans::in_force(&mut tx, lease.node).await.unwrap();
    if newest.is_none_or(|newest| newest.fingerprint != fingerprint) {
        screening_scans::begin(&mut tx, &fingerprint, newest.as_ref(), service.clock.now()).await.unwrap();
    }
    tx.query("UPDATE screening_scans SET node = NULL").execute().await.unwrap();
    screening_scans::claim(&mut tx, &fingerprint, lease).await.unwrap().unwrap();
    assert!(screening_scans::advance(&mut tx, &fingerprint, position, lease.id).await.unwrap());
    tx.commit().await.unwrap();
    lease.node
}

#[test]
fn a_node_says_which_lists_it_screens_by() {
    use sha2::Digest as _;
    let place = Place::sqlite();
    let (one, other) = (List::new("one.txt"), List::new("other.txt"));
    other.write(&format!("{:0<42}\nTR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t\n", "0x01"));
    let server = place.serve(&["--screening-list", one.shown(), "--screening-list", other.shown()]);
    let said = server.said().to_owned();
    for (list, passed_over) in [(&one, 0), (&other, 1)] {
        let sha256 = hex::encode(sha2::Sha256::digest(std::fs::read(&list.path).unwrap()));
        let line = said.lines().find(|line| line.contains("screening list loaded") && line.contains(list.shown()));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(&sha256) && line.contains("addresses=1"), "{line}");
        assert!(line.contains(&format!("passed_over={passed_over}")), "{line}");
    }
    assert_eq!(server.stop(), Some(0));
}
