//! `customerd backup`: what a copy holds, what it lacks, and what it leaves alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::process::{Place, mode, stderr, stdout};
use crate::support::{Partner, account};

fn backup(place: &Place, file: &Path) -> Output {
    place.run(&["backup", file.to_str().unwrap()])
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Creates customers until it is told to stop.
async fn create(partner: Arc<Partner>, stop: Arc<AtomicBool>) -> usize {
    let mut made = 0;
    while !stop.load(Ordering::SeqCst) {
        partner.customer(&format!("meanwhile-{made}")).await;
        made += 1;
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_under_load_serves_what_was_acknowledged() {
    let place = Place::sqlite();
    let server = place.serve(&[]);
    let partner = Arc::new(place.partner().await);
    let mut acknowledged = Vec::new();
    for number in 0..20 {
        let customer = partner.customer(&format!("before-{number}")).await;
        let target = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
        acknowledged.push((target, customer["externalId"].clone()));
    }
    let log = std::fs::metadata(place.directory.path().join("customerd.db-wal")).unwrap();
    assert!(log.len() > 0, "what was acknowledged is in the write-ahead log");
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(create(Arc::clone(&partner), Arc::clone(&stop)));
    let copies = tempfile::tempdir().unwrap();
    let file = copies.path().join("backup.db");
    let made = tokio::task::block_in_place(|| backup(&place, &file));
    stop.store(true, Ordering::SeqCst);
    assert!(load.await.unwrap() > 0);
    assert!(made.status.success(), "{}", stderr(&made));
    assert_eq!((mode(&file), files(copies.path())), (0o600, vec!["backup.db".to_owned()]));
    let key_file = place.directory.path().join("encryption.key");
    let told: Value = serde_json::from_str(stdout(&made).trim()).unwrap();
    let wanted = json!({
        "file": file.to_str().unwrap(),
        "bytes": std::fs::metadata(&file).unwrap().len(),
        "encryptionKeyFile": key_file.to_str().unwrap(),
    });
    assert_eq!(told, wanted);
    let said = stderr(&made);
    let named = said.contains("encryption key is not in this backup") && said.contains(key_file.to_str().unwrap());
    assert!(named && said.contains("apart from the backups"), "{said}");
    let acts = stdout(&place.run(&["audit", "acts", "--limit", "1"]));
    let act: Value = serde_json::from_str(acts.trim()).unwrap();
    assert_eq!((&act["act"], &act["targetId"]), (&json!("database.backup"), &json!(file.to_str().unwrap())));
    assert_eq!(server.stop(), Some(0));

    let restored = Place::sqlite();
    let directory = restored.directory.path();
    std::fs::copy(&file, directory.join("customerd.db")).unwrap();
    std::fs::copy(place.sandbox(), restored.sandbox()).unwrap();
    let missing = directory.join("encryption.key");
    let refused = restored.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(&format!("{} does not exist", missing.display())), "{}", stderr(&refused));
    assert!(!missing.exists(), "no other key is made in its place");
    std::fs::copy(key_file, missing).unwrap();
    let _server = restored.serve(&[]);
    let partner = restored.partner().await;
    // Its idempotency keys are numbered, and those of the copy are used.
    partner.calls.store(1_000_000, Ordering::SeqCst);
    for (target, external_id) in acknowledged {
        assert_eq!(partner.get(&target).await.is(200).json()["externalId"], external_id);
    }
    partner.customer("after").await;
    let verified = restored.run(&["verify-audit"]);
    assert!(verified.status.success(), "{}", stdout(&verified));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backup_leaves_no_file() {
    let place = Place::sqlite();
    assert!(place.run(&["migrate"]).status.success());
    let copies = tempfile::tempdir().unwrap();
    let (file, part) = (copies.path().join("backup.db"), copies.path().join("backup.db.part"));
    // A write beyond 64 KiB of a file kills the process: in the middle of the copy, at the same place each time.
    let customerd = place.customerd();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -c 0 && ulimit -f 128 && exec \"$0\" backup \"$1\""]);
    shell.arg(customerd.get_program()).arg(&file).current_dir(place.directory.path()).env_clear();
    shell.envs(customerd.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let killed = shell.output().unwrap();
    assert_eq!(killed.status.code(), None, "{}", stderr(&killed));
    assert_eq!(files(copies.path()), ["backup.db.part", "backup.db.part-journal"]);
    assert_eq!(mode(&part), 0o600);
    // Another one may be writing it.
    let refused = backup(&place, &file);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(&format!("remove {}", part.display())), "{}", stderr(&refused));
    std::fs::remove_file(part).unwrap();
    assert!(backup(&place, &file).status.success());
    assert_eq!(files(copies.path()), ["backup.db"]);
}

#[test]
fn what_is_there_is_left_alone_and_nothing_else_is_made() {
    let place = Place::sqlite();
    let directory = place.directory.path();
    let file = directory.join("backup.db");
    let missing = backup(&place, &file);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("there is no file"), "{}", stderr(&missing));
    let elsewhere = place.run(&["backup", "backup.db", "--data-dir", "nowhere"]);
    assert_eq!((elsewhere.status.code(), files(directory)), (Some(1), vec![]));

    assert!(place.run(&["migrate"]).status.success());
    std::fs::write(&file, "the only backup").unwrap();
    let refused = backup(&place, &file);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("backup.db exists already"), "{}", stderr(&refused));
    assert_eq!(std::fs::read(&file).unwrap(), b"the only backup");
    let nowhere = backup(&place, &directory.join("nowhere/backup.db"));
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("cannot create"), "{}", stderr(&nowhere));
    assert_eq!(files(directory), ["backup.db", "customerd.db"]);
}

#[test]
fn a_database_of_the_version_before_is_copied_as_it_is() {
    let place = Place::sqlite();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v0_1_0/sqlite/customerd.db");
    std::fs::copy(fixture, place.directory.path().join("customerd.db")).unwrap();
    let file = place.directory.path().join("backup.db");
    let made = backup(&place, &file);
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stderr(&made).contains("not among the recorded acts"), "{}", stderr(&made));
    let url = format!("sqlite://{}", file.display());
    let behind = place.run(&["verify-audit", "--database-url", &url]);
    assert!(stderr(&behind).contains("run `customerd migrate`"), "{}", stderr(&behind));
    assert!(place.run(&["migrate", "--database-url", &url]).status.success());
}

/// Runs a command of the text with these words in the place of others.
fn run(text: &str, command: &str, replaced: &[(&str, &str)]) {
    let line = text.lines().map(str::trim).find(|line| line.starts_with(command)).unwrap();
    let line = replaced.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
    let tools: PathBuf = crate::postgres::programmes().unwrap();
    let done = Command::new("/bin/sh").args(["-c", &line]).env("PATH", tools).output().unwrap();
    assert!(done.status.success(), "{line}: {}", stderr(&done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_commands_that_it_names_do_it() {
    let (Some(place), Some(empty)) = (Place::postgres().await, crate::postgres::database().await) else { return };
    let server = place.serve(&[]);
    let customer = place.partner().await.customer("u-1").await;
    let file = place.directory.path().join("backup.dump");
    let told = backup(&place, &file);
    assert_eq!((told.status.code(), stdout(&told), file.exists()), (Some(2), String::new(), false));
    let text = stderr(&told);
    assert!(text.contains(place.key_file.as_ref().unwrap().to_str().unwrap()), "{text}");
    run(&text, "pg_dump", &[]);
    assert_eq!(server.stop(), Some(0));
    run(&text, "pg_restore", &[("URL", &empty)]);
    let url = ["--database-url", empty.as_str()];
    let verified = place.run(&[&["verify-audit"], &url[..]].concat());
    assert!(verified.status.success(), "{}{}", stdout(&verified), stderr(&verified));
    let _server = place.serve(&url);
    let target = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    assert_eq!(place.partner().await.get(&target).await.is(200).json()["chainId"], customer["chainId"]);
    assert!(account("u-1").eq_ignore_ascii_case(customer["chainId"].as_str().unwrap()));
}
