//! PostgreSQL's own load generator, running a create statement by statement: one transaction with
//! the rows that a create of the service wrote, and the question whether its caller still may.

use std::fmt::Write as _;
use std::process::Command;

use customerd::store::{Store, StoreOptions};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::postgres::programmes;

/// Seconds that one run takes.
const SECONDS: u32 = 3;

/// A script and the database that it runs on.
pub struct Pgbench {
    pub url: String,
    script: tempfile::NamedTempFile,
}

impl Pgbench {
    /// On the empty database `url`, which gets the schema and the programme of the service's database `source`.
    pub async fn like(source: &str, url: String) -> Self {
        let mut source = PgConnection::connect(source).await.unwrap();
        Store::open(&url, StoreOptions::default()).await.unwrap().close().await.unwrap();
        let programme = row(&mut source, "programmes").await;
        let mut target = PgConnection::connect(&url).await.unwrap();
        let copy = "INSERT INTO programmes SELECT * FROM jsonb_populate_record(NULL::programmes, $1::jsonb)";
        sqlx::query(copy).bind(Value::from(programme.clone()).to_string()).execute(&mut target).await.unwrap();
        let script = tempfile::NamedTempFile::new().unwrap();
        let text = text(&programme, &mut source).await;
        std::fs::write(script.path(), text).unwrap();
        Self { url, script }
    }

    /// Transactions a second with so many clients, by an address of its database.
    pub fn run_on(&self, url: &str, clients: u32, round: u64) -> f64 {
        let output = Command::new(programmes().expect("installed").join("pgbench"))
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .args([format!("--client={clients}"), format!("--time={SECONDS}")])
            .args([format!("--define=base={}", round * 1_000_000_000), "--define=i=0".to_owned()])
            .arg(format!("--file={}", self.script.path().display()))
            .arg(url)
            .output()
            .expect("pgbench runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench: {complaints}");
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench says no rate: {text}{complaints}"))
    }
}

async fn text(programme: &Map<String, Value>, source: &mut PgConnection) -> String {
    let mut script = "\\set i :i + 1\n\\set n :base + :client_id * 10000000 + :i\nBEGIN;\n".to_owned();
    // Ids that grow, as those of the service do; each client's on its own.
    let id = "lpad(to_hex(:n::bigint), 32, '0')::uuid";
    let customer = [
        ("id", id),
        ("external_id", "'u-' || :n::bigint"),
        ("chain_id", "E'eip155\\x3a1\\x3a0x' || lpad(to_hex(:n::bigint), 40, '0')"),
    ];
    let event = [("id", id), ("customer_id", id), ("entity_id", id), ("position", "NULL")];
    let key = [("key", "gen_random_uuid()")];
    // Of which a programme without subscriptions has none.
    let deliveries = format!(
        ";\nINSERT INTO deliveries (webhook_id, event_id, webhook_type, entity_id, version, status, attempts, tries, due_since, \
         next_attempt_at, created_at) SELECT id, {id}, 'customer.updated', {id}, 1, 'pending', '[]', 0, now(), now(), now() \
         FROM webhooks WHERE programme_id = {} AND deleted = false AND types LIKE '%customer.updated%'",
        literal(&programme["id"])
    );
    let standing = format!(
        " WHERE true AND EXISTS (SELECT 1 FROM programmes WHERE id = {} AND generation = 1 AND NOT disabled)",
        literal(&programme["id"])
    );
    let overwrite = " ON CONFLICT (programme_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
        status = excluded.status, sealed_reply = excluded.sealed_reply, expires_at = excluded.expires_at \
        WHERE idempotency_keys.expires_at <= now()";
    for (table, own, conflict) in [
        ("customers", &customer[..], ""),
        ("events", &event, &deliveries),
        ("idempotency_keys", &key, &(standing + overwrite)),
    ] {
        let row = row(source, table).await;
        let columns: Vec<&str> = row.keys().map(String::as_str).collect();
        let values: Vec<String> = row
            .iter()
            .map(|(column, value)| {
                own.iter().find(|(name, _)| name == column).map_or_else(|| literal(value), |(_, sql)| (*sql).to_owned())
            })
            .collect();
        writeln!(script, "INSERT INTO {table} ({}) SELECT {}{conflict};", columns.join(", "), values.join(", "))
            .unwrap();
    }
    script + "COMMIT;\n"
}

/// Some row of a table.
async fn row(source: &mut PgConnection, table: &str) -> Map<String, Value> {
    let sql = format!("SELECT to_jsonb(t)::text FROM {table} t LIMIT 1");
    let text: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(source).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A literal of unknown type, which takes that of its column. Colons would begin a variable of pgbench's.
fn literal(value: &Value) -> String {
    let text = match value {
        Value::Null => return "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let escaped = text.replace('\\', "\\\\").replace('\'', "''").replace(':', "\\x3a").replace('\n', "\\n");
    format!("E'{escaped}'")
}
