//! A database of the schema before subscriptions were leased, whose nodes were killed in the midst of their work: what they had
//! claimed is sent, screened and deployed by this version at once, whatever its claim said.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::kyc::{proven, until};
use crate::support::{Evm, House, Partner, Receiver, Service};
use crate::webhooks::{deliveries, subscribe};

/// The last schema with claims of single deliveries.
const BEFORE: i64 = 24;
const FLAGS: &[&str] = &["--allow-private-callbacks"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    story(House::Sqlite(false).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let Some(house) = House::Postgres(false).await else { return };
    story(house).await;
}

async fn story(house: House) {
    let service = house.start_with(&["--no-worker", "--allow-private-callbacks"]).await;
    let mut wallet = service.sandbox_partner("Wallet").await;
    let receiver = Receiver::start().await;
    let (webhook, _) = subscribe(&wallet, &receiver).await;
    for number in 0..3 {
        wallet.customer(&format!("waits-{number}")).await;
    }
    let screened = proven(&wallet, &Evm::new(1)).await;
    let funded = service.active_customer(&wallet, "funded").await;
    let order = json!({"type": "card_account", "currencies": ["EUR"]});
    let account = wallet.post(&format!("/v1/customers/{funded}/accounts"), &order).await.is(201).json();
    sign(&service, &wallet, &account).await;
    let waiting = deliveries(&wallet, &webhook, |all| all.iter().all(|it| it["status"] == "pending")).await.len();
    assert!(waiting > 5, "{waiting}");

    let house = service.stop().await.downgraded().await;
    let service = house.start_with(FLAGS).await;
    (wallet.http, wallet.clock) = (service.http, service.clock.clone());
    // Time stands still meanwhile: no claim has run out.
    until(&wallet, &screened, "verifying").await;
    let deployed = format!("/v1/accounts/{}", account["id"].as_str().unwrap());
    while wallet.get(&deployed).await.is(200).json()["status"] != "active" {
        tokio::task::yield_now().await;
    }
    let delivered = |all: &[Value]| all.len() >= waiting && all.iter().all(|it| it["status"] == "delivered");
    deliveries(&wallet, &webhook, delivered).await;
    service.stop().await;
}

/// The owner's signature, after which the account is to be deployed.
async fn sign(service: &Service, wallet: &Partner, account: &Value) {
    let id = account["id"].as_str().unwrap().parse().unwrap();
    service.move_account(id, &[customerd::domain::account::Move::Sign]).await;
    let shown = wallet.get(&format!("/v1/accounts/{id}")).await.is(200).json();
    assert_eq!(shown["status"], "pending");
}

impl House {
    /// The same with a database of the schema before, everything of which is claimed for another minute.
    async fn downgraded(self) -> Self {
        let url = self.database_url().to_owned();
        match url.strip_prefix("sqlite://") {
            Some(file) => {
                let now = format!("{file}.now");
                std::fs::rename(file, &now).unwrap();
                sqlite_before(&url, &now).await;
                self
            }
            None => {
                let before = crate::postgres::database().await.unwrap();
                postgres_before(&url, &before).await;
                self.at(before)
            }
        }
    }
}

async fn migrator(dialect: &str) -> Migrator {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect);
    let all = Migrator::new(all).await.unwrap();
    let before: Vec<_> = all.iter().filter(|migration| migration.version <= BEFORE).cloned().collect();
    assert_eq!(before.len(), usize::try_from(BEFORE).unwrap());
    let mut migrator = Migrator::with_migrations(before);
    migrator.set_locking(false);
    migrator
}

async fn sqlite_before(url: &str, now: &str) {
    let mut database = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    migrator("sqlite").await.run_direct(None, &mut database, false).await.unwrap();
    database.execute("PRAGMA foreign_keys = OFF").await.unwrap();
    database.execute(AssertSqlSafe(format!("ATTACH '{now}' AS now"))).await.unwrap();
    let columns = "SELECT t.name, group_concat('\"' || c.name || '\"', ', ') FROM main.sqlite_master t, pragma_table_info(t.name, 'main') c \
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> '_sqlx_migrations' \
                   AND t.name IN (SELECT name FROM now.sqlite_master) GROUP BY t.name";
    let tables: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(&mut database).await.unwrap();
    for (table, columns) in tables {
        let copy =
            format!("DELETE FROM main.{table}; INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}");
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut database).await.unwrap();
    }
    let claim = "UPDATE tasks SET lease = randomblob(16), attempts = 1, run_at = run_at + 60000000; \
                 INSERT INTO delivery_claims (webhook_id, node, until, events) SELECT webhook_id, randomblob(16), \
                 max(next_attempt_at) + 60000000, unhex(group_concat(substr(hex(event_id), 17), '')) \
                 FROM deliveries GROUP BY webhook_id";
    sqlx::raw_sql(claim).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

async fn postgres_before(now: &str, before: &str) {
    let mut now = PgConnection::connect(now).await.unwrap();
    let mut database = PgConnection::connect(before).await.unwrap();
    migrator("postgres").await.run_direct(None, &mut database, false).await.unwrap();
    database.execute("SET session_replication_role = replica").await.unwrap();
    let columns = "SELECT CAST(table_name AS text), string_agg(quote_ident(column_name), ', ') FROM information_schema.columns \
                   WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' GROUP BY table_name";
    let tables: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(&mut database).await.unwrap();
    for (table, columns) in tables.into_iter().filter(|(table, _)| table != "delivery_claims") {
        database.execute(AssertSqlSafe(format!("DELETE FROM {table}"))).await.unwrap();
        let mut rows = now.copy_out_raw(&format!("COPY {table} ({columns}) TO STDOUT")).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = futures::StreamExt::next(&mut rows).await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        drop(rows);
        let mut copy = database.copy_in_raw(&format!("COPY {table} ({columns}) FROM STDIN")).await.unwrap();
        copy.send(bytes).await.unwrap();
        copy.finish().await.unwrap();
    }
    let claim = "UPDATE tasks SET lease = gen_random_uuid(), attempts = 1, run_at = run_at + interval '60 s'; \
                 INSERT INTO delivery_claims (webhook_id, node, until, events) SELECT webhook_id, gen_random_uuid(), \
                 max(next_attempt_at) + interval '60 s', \
                 string_agg(substr(uuid_send(event_id), 9), CAST('' AS bytea)) FROM deliveries GROUP BY webhook_id";
    sqlx::raw_sql(claim).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    now.close().await.unwrap();
}
