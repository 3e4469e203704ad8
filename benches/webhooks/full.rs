//! Fills the tables as a long life would.

use customerd::domain::webhook::Subscription;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use super::Place;
use super::rate::SUBSCRIPTIONS;

/// Deliveries that wait for their next attempt.
pub const WAITING: i64 = 100_000;
/// Deliveries that have been delivered.
const DELIVERED: i64 = 1_000_000;

/// Words that the two databases do not share.
struct Words {
    numbers: &'static str,
    id: &'static str,
    hours: &'static str,
}

const SQLITE: Words = Words {
    numbers: "(WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) SELECT n FROM numbers)",
    id: "unhex(printf('%032x', n))",
    hours: "4 * 3600 * 1000000",
};

const POSTGRES: Words = Words {
    numbers: "generate_series(2, $1::bigint)",
    id: "lpad(to_hex(n), 32, '0')::uuid",
    hours: "interval '4 hours'",
};

/// Copies the one event there is, and gives each copy its deliveries: most delivered, some waiting for another attempt.
pub(crate) async fn fill(place: &Place<'_>, url: &str, subscription: &Subscription) {
    let words = if matches!(place, Place::Sqlite(_)) { SQLITE } else { POSTGRES };
    let each = |all: i64| 1 + all / SUBSCRIPTIONS as i64;
    let events = format!(
        "INSERT INTO events SELECT {id}, programme_id, customer_id, n, entity_type, entity_id, actor, cause, from_status, \
         to_status, version, created_at, body, traceparent, previous_hash, hash, n, hash_version, commitments, request_id FROM events, {numbers} AS numbers (n)",
        id = words.id,
        numbers = words.numbers,
    );
    let tried = r#"[{"at":1795347600000000,"status":204,"latency_ms":12}]"#;
    let failed = r#"[{"at":1795347600000000,"status":503,"latency_ms":12,"response":"upstream is busy"}]"#;
    let delivered = |yes: &str, no: &str| format!("CASE WHEN e.seq <= $1 THEN {yes} ELSE {no} END");
    let deliveries = format!(
        "INSERT INTO deliveries SELECT w.id, e.id, 'customer.updated', e.entity_id, e.version, NULL, {status}, {attempts}, 1, \
         e.created_at, {next}, e.created_at, NULL FROM webhooks w CROSS JOIN events e WHERE e.seq > 1 AND w.programme_id = $2",
        status = delivered("'delivered'", "'pending'"),
        attempts = delivered(&format!("'{tried}'"), &format!("'{failed}'")),
        next = delivered("NULL", &format!("e.created_at + {}", words.hours)),
    );
    let (delivered, all, programme) = (each(DELIVERED), each(DELIVERED + WAITING), subscription.programme_id);
    match place {
        Place::Sqlite(_) => {
            let events = events.replace("AS numbers (n)", "AS numbers");
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            sqlx::query(AssertSqlSafe(events)).bind(all).execute(&mut connection).await.unwrap();
            let deliveries = sqlx::query(AssertSqlSafe(deliveries)).bind(delivered).bind(programme);
            deliveries.execute(&mut connection).await.unwrap();
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        }
        Place::Postgres(_) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::query(AssertSqlSafe(events)).bind(all).execute(&mut connection).await.unwrap();
            let deliveries = sqlx::query(AssertSqlSafe(deliveries)).bind(delivered).bind(programme);
            deliveries.execute(&mut connection).await.unwrap();
            sqlx::query("VACUUM ANALYZE").execute(&mut connection).await.unwrap();
        }
    }
}
