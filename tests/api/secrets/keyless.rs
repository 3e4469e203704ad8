//! Nodes and commands without the encryption key that others have, and the other way round.

use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

use super::bytes::{Bytes, Needle};
use super::key_file;
use crate::process::{Place, in_processes, stderr, stdout};

in_processes![a_command_before_the_first_node_spoils_nothing, only_one_rotates_at_a_time];

fn listed(place: &Place) -> Vec<Value> {
    let done = place.run(&["keys", "list"]);
    assert!(done.status.success(), "{}", stderr(&done));
    stdout(&done).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn done(place: &Place, command: &[&str]) -> String {
    let done = place.run(command);
    assert!(done.status.success(), "{command:?}: {}", stderr(&done));
    stdout(&done)
}

/// A place beside another, without its key.
fn keyless(other: &Place) -> Place {
    let mut place = other.beside();
    place.key_file = None;
    place
}

async fn a_command_before_the_first_node_spoils_nothing(mut place: Place) {
    let key = place.key_file.take();
    done(&place, &["migrate"]);
    let made: Value = serde_json::from_str(&done(&place, &["keys", "rotate", "jwt"])).unwrap();
    // PostgreSQL's nodes have a key from now on; SQLite's makes one.
    place.key_file = key;
    for _ in 0..2 {
        assert_eq!(place.serve(&[]).stop(), Some(0));
    }
    let jwt: Vec<Value> = listed(&place).into_iter().filter(|key| key["purpose"] == "jwt").collect();
    let states: Vec<_> = jwt.iter().map(|key| (key["state"].as_str().unwrap(), key["kid"] == made["kid"])).collect();
    assert_eq!(states, [("signs", false), ("verifies", true)], "what lay in the clear signs no more");
}

/// Those that come with a key to a database in the clear change nothing; a node seals it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_with_a_key_leave_a_clear_database_to_a_node() {
    let Some(with) = Place::postgres().await else { return };
    let without = keyless(&with);
    let server = without.serve(&[]);
    let before = listed(&without);
    for command in
        [&["keys", "list"][..], &["keys", "rotate", "encryption"], &["programme", "create", "--name", "Wallet"]]
    {
        let refused = with.run(command);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("start `customerd serve` or `customerd worker` with this key first"), "{said}");
    }
    assert_eq!(listed(&without), before);
    let told = server.stop_and_tell();
    assert!(told.contains("secrets are kept in the clear: `customerd keygen"), "{told}");
    assert_eq!(with.serve(&[]).stop(), Some(0));
    let after = listed(&with);
    for old in before {
        let now = after.iter().find(|key| key["kid"] == old["kid"]).unwrap();
        assert_eq!(now["state"], "verifies", "{now}");
    }
    done(&with, &["programme", "create", "--name", "Wallet"]);
    // `migrate` seals as well, and a live programme that is made before any node keeps those out that have no key.
    let Some(with) = Place::postgres().await else { return };
    let without = keyless(&with);
    done(&with, &["migrate"]);
    done(&with, &["programme", "create", "--name", "Wallet"]);
    for command in ["serve", "worker"] {
        let said = stderr(&without.run(&[command]));
        assert!(
            said.contains("must be sealed, and no key file is given: name it with --encryption-key-file"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_key_stops_when_others_have_one() {
    let Some(with) = Place::postgres().await else { return };
    let mut without = keyless(&with);
    let (server, worker) = (without.serve(&["--no-worker"]), without.work(&[]));
    let partner = without.partner().await;
    let body = json!({"callbackUrl": "https://partner.example/hook", "types": ["customer.updated"]});
    let first = partner.put("/v1/webhooks", &body).await.is(200).json();
    // It goes on writing until it stops.
    let writes = tokio::spawn(async move {
        let mut statuses = Vec::new();
        while let Some(answer) = partner.put("/v1/webhooks", &body).attempt().await {
            statuses.push(answer.status);
        }
        (partner, statuses)
    });
    let other = with.serve(&[]);
    for (node, name) in [(server, "serve"), (worker, "worker")] {
        let (code, told) = node.ended();
        assert_eq!(code, Some(1), "{name}: {told}");
        assert!(told.contains("this node stops: secrets in "), "{name}: {told}");
        assert!(told.contains("no key file is given: name it with --encryption-key-file"), "{name}: {told}");
    }
    let (mut partner, statuses) = writes.await.unwrap();
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    // Nothing that it wrote is lost, and nothing of it is in the clear.
    without.key_file = Some(key_file(&with));
    let again = without.serve(&[]);
    let acknowledged = 1 + statuses.iter().filter(|status| **status == 200).count();
    for http in [with.http, without.http] {
        partner.http = http;
        partner.sign_in().await;
        let (mut count, mut target) = (0, "/v1/webhooks?pageSize=100".to_owned());
        loop {
            let page = partner.get(&target).await.is(200).json();
            count += page["webhooks"].as_array().unwrap().len();
            let next = page["nextPageToken"].as_str().unwrap_or_default();
            if next.is_empty() {
                break;
            }
            target = format!("/v1/webhooks?pageSize=100&pageToken={next}");
        }
        assert!(count >= acknowledged, "{count} of {acknowledged}");
    }
    assert_eq!((other.stop(), again.stop()), (Some(0), Some(0)));
    let secret = Needle::webhook("a secret of before", first["secret"].as_str().unwrap());
    Bytes::of(&with.database_url()).await.must_not_hold(&[secret]);
}

async fn only_one_rotates_at_a_time(place: Place) {
    assert_eq!(place.serve(&[]).stop(), Some(0));
    let rotate = || {
        let mut command = place.customerd();
        command.args(["keys", "rotate", "encryption"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let outputs = [rotate(), rotate()].map(|child| child.wait_with_output().unwrap());
    let (won, lost): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.success());
    assert_eq!((won.len(), lost.len()), (1, 1), "{outputs:?}");
    assert!(stderr(lost[0]).contains("another `customerd keys rotate encryption` is at work"), "{}", stderr(lost[0]));
    let text = std::fs::read_to_string(key_file(&place)).unwrap();
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2);
    assert_eq!(place.serve(&[]).stop(), Some(0));
}

/// VACUUM copies the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_sealed_start_does_not_take_the_database_into_memory() {
    const MIB: usize = 96;
    let place = Place::sqlite();
    done(&place, &["migrate"]);
    done(&place, &["keys", "rotate", "jwt"]);
    let path = place.directory.path().join("customerd.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute("CREATE TABLE filler (bytes BLOB)").await.unwrap();
    let fill = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MIB}) \
         INSERT INTO filler SELECT randomblob(1048576) FROM n"
    );
    connection.execute(AssertSqlSafe(fill)).await.unwrap();
    connection.close().await.unwrap();
    let server = place.serve(&[]);
    assert!(server.said().contains("every secret is sealed"), "{}", server.said());
    let peak = server.peak_memory();
    assert!(peak < MIB, "{peak} MiB");
    assert_eq!(server.stop(), Some(0));
}
