//! `GET /v1/customers`: the last page of many against the first.

use std::time::Instant;

use customerd::api::v1::ListCustomersRequest;
use http::Method;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use super::client::Partner;
use super::postgres::Cluster;
use super::server::Server;
use super::table::{Bar, Row, Table, median};

const CUSTOMERS: u32 = 1_000_000;
/// The default size of a page.
const PAGE: u32 = 50;
const LAST: u32 = CUSTOMERS / PAGE;
/// How often each page is asked for.
const REQUESTS: usize = 500;

/// What a filled row has of its own: a column and its value in SQL, where `n` counts and `c` is the customer to copy.
type Own = (&'static str, &'static str);

pub async fn on_sqlite(table: &mut Table) {
    let server = Server::start(&[]);
    let partner = Partner::sign_in(&server.profile()).await;
    partner.create(0).await;
    let mut connection = SqliteConnection::connect(&server.sqlite()).await.unwrap();
    let columns = "SELECT name FROM pragma_table_info('customers')";
    let columns: Vec<String> = sqlx::query_scalar(columns).fetch_all(&mut connection).await.unwrap();
    let own: [Own; 7] = [
        ("id", "unhex(printf('%032x', n))"),
        ("external_id", "'filled-' || n"),
        ("chain_id", "'eip155:1:0x' || printf('%040x', n)"),
        ("created_at", "c.created_at - n * 1000"),
        ("updated_at", "c.created_at - n * 1000"),
        ("challenge", "NULL"),
        ("challenge_expires_at", "NULL"),
    ];
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {CUSTOMERS}) "
    );
    let sql = format!("{numbers}{}, numbers", fill(&columns, &own));
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    let what = "GET /customers on SQLite, page 20,000 of 1,000,000 customers, against page 1";
    compare(table, &partner, what).await;
}

pub async fn on_postgres(table: &mut Table, cluster: &Cluster) {
    let url = cluster.database().await;
    let server = Server::start(&["--database-url", &url]);
    let partner = Partner::sign_in(&server.profile()).await;
    partner.create(0).await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let columns = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'customers' \
                   ORDER BY ordinal_position";
    let columns: Vec<String> = sqlx::query_scalar(columns).fetch_all(&mut connection).await.unwrap();
    let own: [Own; 7] = [
        ("id", "lpad(to_hex(n), 32, '0')::uuid"),
        ("external_id", "'filled-' || n"),
        ("chain_id", "'eip155:1:0x' || lpad(to_hex(n), 40, '0')"),
        ("created_at", "c.created_at - n * interval '1 millisecond'"),
        ("updated_at", "c.created_at - n * interval '1 millisecond'"),
        ("challenge", "NULL"),
        ("challenge_expires_at", "NULL"),
    ];
    let sql = format!("{}, generate_series(1, {CUSTOMERS} - 1) AS n", fill(&columns, &own));
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    sqlx::query("VACUUM ANALYZE customers").execute(&mut connection).await.unwrap();
    let what = "GET /customers on PostgreSQL, page 20,000 of 1,000,000 customers, against page 1";
    compare(table, &partner, what).await;
}

/// The statement that copies the one customer there is, up to its list of sources.
fn fill(columns: &[String], own: &[Own]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            own.iter()
                .find(|(name, _)| name == column)
                .map_or_else(|| format!("c.{column}"), |(_, sql)| (*sql).to_owned())
        })
        .collect();
    format!("INSERT INTO customers ({}) SELECT {} FROM customers c", columns.join(", "), values.join(", "))
}

async fn compare(table: &mut Table, partner: &Partner, what: &'static str) {
    let targets = ["/v1/customers".to_owned(), format!("/v1/customers?pageToken={}", last_page(partner).await)];
    let mut connection = partner.connect().await;
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..REQUESTS + 50 {
        for (target, times) in targets.iter().zip(&mut times) {
            let request = partner.signed(Method::GET, target, b"");
            let begun = Instant::now();
            let (status, body) = connection.send(request).await;
            let time = begun.elapsed();
            assert_eq!((status, body.windows(5).filter(|text| text == b"\"id\":").count()), (200, PAGE as usize));
            if number >= 50 {
                times.push(time.as_secs_f64() * 1e6);
            }
        }
    }
    let [first, last] = times.map(median);
    table.add(Row {
        what,
        measured: format!("{last:.0} µs"),
        floor: format!("{first:.0} µs"),
        figure: last / first,
        unit: "",
        bar: Bar::AtMost(1.3),
    });
}

/// The token of the last page, by way of those before it.
async fn last_page(partner: &Partner) -> String {
    let mut client = partner.grpc().await;
    let (mut page_token, mut left) = (String::new(), (LAST - 1) * PAGE);
    while left > 0 {
        let size = left.min(1000);
        let message = ListCustomersRequest { page_size: Some(size as i32), page_token, ..Default::default() };
        page_token = client.list_customers(partner.request(message)).await.unwrap().into_inner().next_page_token;
        left -= size;
    }
    page_token
}
