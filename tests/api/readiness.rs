//! Readiness on a PostgreSQL that answers and refuses writes.

use std::time::Duration;

use customerd::clock::Clock;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::{House, Partner, Service, account};

/// What nobody waits for longer: the monitor asks once a second.
const SOON: Duration = Duration::from_secs(60);

async fn service(flags: &[&str]) -> Option<(Service, Partner, PgConnection)> {
    let house = House::Postgres(false).await?;
    let admin = PgConnection::connect(house.database_url()).await.unwrap();
    let service = house.start_with(flags).await;
    let partner = service.partner("Wallet").await;
    until(&service, &partner, 200, "ready").await;
    Some((service, partner, admin))
}

/// Polls readiness until it is so, while time goes by.
async fn until(service: &Service, partner: &Partner, status: u16, said: &str) {
    let poll = async {
        loop {
            let tick = async {
                loop {
                    Clock::system().sleep(Duration::from_millis(50)).await;
                    service.wait(Duration::from_millis(500));
                }
            };
            let answer = tokio::select! {
                answer = partner.get("/readyz").bare() => answer,
                () = tick => unreachable!(),
            };
            if answer.status == status && answer.text().contains(said) {
                return;
            }
            service.wait(Duration::from_millis(100));
        }
    };
    assert!(
        tokio::time::timeout(SOON, poll).await.is_ok(),
        "never {status} {said}: {:?}",
        partner.get("/readyz").bare().await
    );
}

async fn run(admin: &mut PgConnection, sql: &str) {
    admin.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

/// Sessions that are open may go on to write; those that are made from now on may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_made_read_only_is_not_ready() {
    for flags in [&[][..], &["--no-worker"]] {
        let Some((service, partner, mut admin)) = service(flags).await else { return };
        let (name,): (String,) = sqlx::query_as("SELECT current_database()").fetch_one(&mut admin).await.unwrap();
        run(&mut admin, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        run(&mut admin, others).await;
        until(&service, &partner, 503, "").await;
        let body = serde_json::json!({"chainId": account("u-1"), "externalId": "u-1"});
        let answer = partner.post("/v1/customers", &body).await.refuses(503, "UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        run(&mut admin, &format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
        until(&service, &partner, 200, "ready").await;
        partner.customer("u-2").await;
        service.stop().await;
    }
}

/// As where a table's disk is full: it can be read, and every statement that writes to it fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_takes_no_writes_is_not_ready() {
    for (flags, table, said) in [
        (&[][..], "nodes", "cannot write that it is alive"),
        (&[], "programmes", "refused"),
        (&["--no-worker"], "programmes", "refused"),
    ] {
        let Some((service, partner, mut admin)) = service(flags).await else { return };
        run(&mut admin, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused' USING ERRCODE = '53100'; END $$").await;
        run(&mut admin, &format!("CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse()"))
            .await;
        until(&service, &partner, 503, said).await;
        run(&mut admin, &format!("DROP TRIGGER refuse ON {table}")).await;
        until(&service, &partner, 200, "ready").await;
        service.stop().await;
    }
}
