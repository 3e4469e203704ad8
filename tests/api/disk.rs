//! SQLite's disk: full, read-only, or with another file where the database was.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::process::{Place, stderr};
use crate::support::{House, Partner, account};

fn body(name: &str) -> serde_json::Value {
    json!({"chainId": account(name), "externalId": name})
}

async fn readiness(partner: &Partner) -> (u16, String) {
    let answer = partner.get("/readyz").bare().await;
    (answer.status, answer.text().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_moved_is_not_written_to() {
    let service = House::Sqlite(false).await.unwrap().start().await;
    let partner = service.partner("Wallet").await;
    partner.customer("before").await;
    let file = PathBuf::from(service.house().database_url().strip_prefix("sqlite://").unwrap());
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    let (status, text) = readiness(&partner).await;
    assert!(status == 503 && text.contains("was moved, replaced or removed"), "{text}");
    let answer = partner.post("/v1/customers", &body("meanwhile")).await.refuses(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    std::fs::rename(&aside, &file).unwrap();
    assert_eq!(readiness(&partner).await, (200, "ready\n".to_owned()));
    partner.customer("after").await;
    service.stop().await;
}

/// A small disk at the place of a directory, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and a word about it, where this user may not mount one.
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "customerd-test"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        let text = "full and read-only disks (mounting one needs to be root)";
        assert!(std::env::var_os("CI").is_none(), "CI must run {text}");
        eprintln!("NOT RUN: {text}");
        None
    }

    /// Takes all of it; what takes it.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        for piece in [1024 * 1024, 4096] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
        ballast
    }

    fn remount(&self, how: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_survived() {
    let place = Place::sqlite();
    let Some(disk) = Disk::mount(place.directory.path()) else { return };
    let server = place.serve(&[]);
    let partner = place.partner().await;
    partner.customer("before").await;
    assert_eq!(readiness(&partner).await, (200, "ready\n".to_owned()));

    let ballast = disk.fill();
    let (status, text) = readiness(&partner).await;
    assert!(status == 503 && text.contains("is full") && text.contains("make room on it"), "{text}");
    // What is left of the log is used up, then nothing can be written.
    let mut made = Vec::new();
    let refused = loop {
        let name = format!("meanwhile-{}", made.len());
        let answer = partner.post("/v1/customers", &body(&name)).await;
        if answer.status != 201 {
            break answer.refuses(503, "UNAVAILABLE");
        }
        made.push(name);
    };
    assert!(refused.header("retry-after").is_some());
    let answer = partner.get("/v1/customers").await.is(200);
    assert!(answer.text().contains(&format!("\"{}\"", made.last().map_or("before", String::as_str))), "reads go on");

    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(readiness(&partner).await, (200, "ready\n".to_owned()));
    partner.customer("after").await;
    for name in made {
        partner
            .get(&format!("/v1/customers?externalId={name}"))
            .await
            .is(200)
            .text()
            .contains(&name)
            .then_some(())
            .unwrap();
    }
    assert_eq!(server.stop(), Some(0));
    assert!(place.run(&["verify-audit"]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_or_read_only_disk_says_what_to_do() {
    let place = Place::sqlite();
    let Some(disk) = Disk::mount(place.directory.path()) else { return };
    let refused = |wanted: &[&str]| {
        let output = place.run(&["serve"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(wanted.iter().all(|text| said.contains(text)), "{said}");
    };
    let ballast = disk.fill();
    refused(&["cannot open the database", "is full", "make room on it"]);
    std::fs::remove_file(&ballast).unwrap();
    assert!(place.run(&["migrate"]).status.success());
    disk.remount("ro");
    refused(&["cannot open the database", "mounted read-only", "--data-dir"]);
    disk.remount("rw");
    assert_eq!(place.serve(&[]).stop(), Some(0));
}
