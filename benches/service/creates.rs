//! Creates a second over gRPC, against a database that is only given the same rows.

use std::time::{Duration, Instant};

use customerd::api::v1::CreateCustomerRequest;
use customerd::clock::Clock;
use customerd::config::KeyFile;
use customerd::sealing::EncryptionKey;
use customerd::store::{Store, StoreOptions};
use futures::future::join_all;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Arguments as _, SqliteConnection};
use sqlx::{Column as _, ConnectOptions as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _};
use uuid::Builder;

use super::client::{Partner, chain_id, external_id};
use super::distance::away;
use super::pgbench::Pgbench;
use super::postgres::Cluster;
use super::server::Server;
use super::table::{Bar, Row, Table, median};

const ROUNDS: u64 = 5;
/// Creates in a round.
const CREATES: u64 = 6_400;
/// What is added to each round trip.
const DISTANCE: Duration = Duration::from_millis(1);
/// HTTP/2 connections that the callers share.
const CONNECTIONS: u64 = 4;

pub async fn on_sqlite(table: &mut Table) {
    let server = Server::start(&[]);
    let partner = Partner::sign_in(&server.profile()).await;
    let mut bare = Bare::open(&server).await;
    let (mut rates, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let first = round * CREATES;
        let rate = creates(&partner, 64, first).await;
        let floor = bare.write(first).await;
        // The first round fills caches.
        if round > 0 {
            rates.push(rate);
            floors.push(floor);
            ratios.push(rate / floor);
        }
    }
    table.add(Row {
        what: "creates/s on SQLite, 64 callers over gRPC, against a bare sqlx loop that writes the same rows",
        measured: format!("{:.0}/s", median(rates)),
        floor: format!("{:.0}/s", median(floors)),
        figure: median(ratios),
        unit: "",
        bar: Bar::AtLeast(3.0),
    });
}

pub async fn on_postgres(table: &mut Table, cluster: &Cluster) {
    let url = cluster.database().await;
    let what =
        "creates/s on PostgreSQL, 16 callers over gRPC, against pgbench writing the same rows statement by statement";
    against_pgbench(table, (what, Bar::AtLeast(1.1)), (&url, &url, cluster), async |bench| bench.url.clone()).await;
}

/// The same with a millisecond to the database, for both.
pub async fn on_distant_postgres(table: &mut Table, cluster: &Cluster) {
    let near = cluster.database().await;
    let far = away(&near, DISTANCE).await;
    let what = "the same with 1 ms added to each round trip of both";
    let urls = (near.as_str(), far.as_str(), cluster);
    against_pgbench(table, (what, Bar::AtLeast(3.0)), urls, async |bench| away(&bench.url, DISTANCE).await).await;
}

/// The service on a database that it reaches by another URL, against pgbench on one like it, reached as `reach` says.
async fn against_pgbench(
    table: &mut Table,
    (what, bar): (&'static str, Bar),
    (near, url, cluster): (&str, &str, &Cluster),
    reach: impl AsyncFn(&Pgbench) -> String,
) {
    // As every live programme needs one. Without it each transaction that writes in the clear has one statement more.
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("encryption.key");
    KeyFile::of(EncryptionKey::new(Clock::system().random())).create(&key).unwrap();
    let server = Server::start(&["--database-url", url, "--encryption-key-file", key.to_str().unwrap()]);
    let partner = Partner::sign_in(&server.profile()).await;
    creates(&partner, 16, 0).await;
    let pgbench = Pgbench::like(near, cluster.database().await).await;
    let bare = reach(&pgbench).await;
    let (mut rates, mut baselines, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let rate = creates(&partner, 16, round * CREATES).await;
        let baseline = tokio::task::block_in_place(|| pgbench.run_on(&bare, 16, round));
        rates.push(rate);
        baselines.push(baseline);
        ratios.push(rate / baseline);
    }
    table.add(Row {
        what,
        measured: format!("{:.0}/s", median(rates)),
        floor: format!("{:.0}/s", median(baselines)),
        figure: median(ratios),
        unit: "",
        bar,
    });
}

/// Creates a second, `callers` at once, each create under an idempotency key of its own.
async fn creates(partner: &Partner, callers: u64, first: u64) -> f64 {
    let clock = Clock::system();
    let clients = join_all((0..CONNECTIONS).map(|_| partner.grpc())).await;
    let begun = Instant::now();
    let calls = (0..callers).map(|caller| {
        let mut client = clients[(caller % CONNECTIONS) as usize].clone();
        let requests: Vec<_> = (first + caller..first + CREATES)
            .step_by(callers as usize)
            .map(|number| {
                let message = CreateCustomerRequest { chain_id: chain_id(number), external_id: external_id(number) };
                let mut request = partner.request(message);
                let key = Builder::from_random_bytes(clock.random()).into_uuid().to_string();
                request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
                request
            })
            .collect();
        tokio::spawn(async move {
            for request in requests {
                client.create_customer(request).await.unwrap();
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    CREATES as f64 / begun.elapsed().as_secs_f64()
}

/// A database of the same schema, and the one connection that writes to it.
struct Bare {
    source: SqliteConnection,
    target: SqliteConnection,
    _directory: tempfile::TempDir,
}

/// What a create writes, and how the rows of those from a certain external id on are found.
const WRITTEN: [(&str, &str); 3] = [
    ("customers", "SELECT * FROM customers WHERE external_id >= $1 ORDER BY id LIMIT $2"),
    (
        "events",
        "SELECT e.* FROM events e JOIN customers c ON c.id = e.customer_id WHERE c.external_id >= $1 ORDER BY e.id LIMIT $2",
    ),
    ("idempotency_keys", "SELECT * FROM idempotency_keys WHERE $1 <> '' ORDER BY expires_at DESC LIMIT $2"),
];

impl Bare {
    async fn open(server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bare.db");
        let url = format!("sqlite://{}", path.display());
        Store::open(&url, StoreOptions::default()).await.unwrap().close().await.unwrap();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut source = SqliteConnection::connect(&server.sqlite()).await.unwrap();
        let mut target = options.connect().await.unwrap();
        for row in sqlx::query("SELECT * FROM programmes").fetch_all(&mut source).await.unwrap() {
            let (sql, values) = insert("programmes", &row);
            sqlx::query_with(sql, arguments(&values)).execute(&mut target).await.unwrap();
        }
        Self { source, target, _directory: directory }
    }

    /// Writes what the server wrote for the creates from `first` on, one transaction each; how many a second.
    async fn write(&mut self, first: u64) -> f64 {
        let mut inserts = Vec::new();
        for (table, select) in WRITTEN {
            let query = sqlx::query(select).bind(external_id(first)).bind(CREATES as i64);
            let rows = query.fetch_all(&mut self.source).await.unwrap();
            assert_eq!(rows.len() as u64, CREATES, "{table}");
            let sql = insert(table, &rows[0]).0;
            inserts.push((sql, rows.iter().map(|row| insert(table, row).1).collect::<Vec<_>>()));
        }
        let begun = Instant::now();
        for number in 0..CREATES as usize {
            let mut tx = self.target.begin().await.unwrap();
            for (sql, rows) in &inserts {
                sqlx::query_with(*sql, arguments(&rows[number])).execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
        CREATES as f64 / begun.elapsed().as_secs_f64()
    }
}

enum Value {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// The statement that inserts such a row, and the row's values. The place of an event is given to it later.
fn insert(table: &str, row: &SqliteRow) -> (&'static str, Vec<Value>) {
    let columns: Vec<_> = row.columns().iter().filter(|column| column.name() != "position").collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    let places: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    let sql = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
    let values = columns.iter().map(|column| {
        let (at, raw) = (column.ordinal(), row.try_get_raw(column.ordinal()).unwrap());
        let kind = raw.type_info().name().to_owned();
        match kind.as_str() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" => Value::Integer(row.get(at)),
            "TEXT" => Value::Text(row.get(at)),
            _ => Value::Blob(row.get(at)),
        }
    });
    (sql.leak(), values.collect())
}

fn arguments(values: &[Value]) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Integer(number) => arguments.add(*number),
            Value::Text(text) => arguments.add(text.clone()),
            Value::Blob(bytes) => arguments.add(bytes.clone()),
        };
        added.unwrap();
    }
    arguments
}
