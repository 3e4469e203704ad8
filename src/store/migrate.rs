//! Migrations: `migrations/{sqlite,postgres}/NNNN_name.sql`, embedded, each applied once and in its own transaction.
//!
//! Many nodes may start on one PostgreSQL at once. There are no advisory locks (distributed engines lack them): every
//! node tries, the primary key of the bookkeeping table and transactional DDL let one win, and the others try again.

use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::Migrations;
use super::change::pause;
use super::dialect::Dialect;
use super::error::Error;

/// The bookkeeping table of sqlx.
const TABLE: &str = "_sqlx_migrations";
/// How often a node may lose in a row without another having got further: more means the migration itself is wrong.
const ATTEMPTS: u32 = 6;

/// Every migration, oldest first; the file of that name must exist for both databases. Never change one that was
/// released: its checksum is kept in the database.
macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        )),*]
    };
}

const MIGRATIONS: &[(&str, &str, &str)] = embed![
    "0001_service_keys",
    "0002_programmes",
    "0003_customers",
    "0004_tasks",
    "0005_verifications",
    "0006_webhooks",
    "0007_accounts_cards",
    "0008_event_positions",
    "0009_delivery_leases",
    "0010_delivery_claims",
    "0011_event_times",
    "0012_operators",
    "0013_sealed_secrets",
    "0014_event_hash_2",
    "0015_audit_checkpoints",
    "0016_request_ids",
    "0017_programmes",
    "0018_plain_cursors",
    "0019_screening",
    "0020_sealed_only",
    "0021_lists_in_use",
    "0022_public_reasons",
    "0023_retried_deliveries",
    "0024_operators",
    "0025_nodes",
    "0026_task_nodes",
    "0027_clocks",
];

fn migrator(dialect: Dialect) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(name, sqlite, postgres)| {
        let (version, description) = name.split_once('_').unwrap_or((name, ""));
        let sql = match dialect {
            Dialect::Sqlite => *sqlite,
            Dialect::Postgres => *postgres,
        };
        let version = version.parse().unwrap_or_default();
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_locking(false);
    migrator
}

/// Does what opening a store does about missing migrations.
pub(super) async fn open(connection: &mut impl Migrate, dialect: Dialect, how: Migrations) -> Result<(), Error> {
    match how {
        Migrations::Run => run(connection, dialect).await,
        Migrations::Create if applied(connection).await.unwrap_or(0) == 0 => run(connection, dialect).await,
        // Without the bookkeeping table, nothing was applied.
        Migrations::Existing | Migrations::Check | Migrations::Ignore
            if applied(connection).await.unwrap_or(0) == 0 =>
        {
            Err(Error::Open(absent("the database has no tables of customerd")))
        }
        Migrations::Existing => run(connection, dialect).await,
        Migrations::Create | Migrations::Check => check(connection, dialect).await,
        Migrations::Ignore => Ok(()),
    }
}

/// What to do where there is no database.
pub(super) fn absent(what: &str) -> String {
    format!(
        "{what}: say where the database is with --database-url or --data-dir (or their environment variables). `customerd` \
         makes a new one, and so do `migrate` and the `create` commands where one of those says where"
    )
}

/// Applies what is missing.
pub(super) async fn run(connection: &mut impl Migrate, dialect: Dialect) -> Result<(), Error> {
    let migrator = migrator(dialect);
    if is_current(&migrator, connection).await {
        return Ok(());
    }
    let (mut lost, mut reached) = (0, None);
    loop {
        let error = match migrator.run_direct(None, connection, false).await {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => error,
            Err(error) => return Err(refused(&migrator, error)),
        };
        if let Some(reason) = hopeless(&error) {
            return Err(Error::Migration(format!("{reason} ({error})")));
        }
        let now = applied(connection).await.ok();
        lost = if now > reached { 0 } else { lost + 1 };
        reached = now.max(reached);
        if lost == ATTEMPTS {
            return Err(Error::Migration(error.to_string()));
        }
        tracing::info!(%error, "a migration failed, perhaps because another node runs it: trying again");
        pause(Duration::from_millis(50 << lost)).await;
    }
}

/// Whether every migration has been applied, as it is here. Then there is nothing to do, not even to see to the bookkeeping
/// table, which a role that may not create tables, and a standby, refuse.
async fn is_current(migrator: &Migrator, connection: &mut impl Migrate) -> bool {
    let applied = connection.list_applied_migrations(TABLE).await.unwrap_or_default();
    applied.len() == migrator.iter().count()
        && migrator
            .iter()
            .zip(&applied)
            .all(|(ours, theirs)| ours.version == theirs.version && ours.checksum == theirs.checksum)
}

/// Why a migration fails however often it is tried.
fn hopeless(error: &sqlx::Error) -> Option<&'static str> {
    match error.as_database_error()?.code()?.as_ref() {
        "25006" => Some(
            "the database takes no writes, because it is a standby or default_transaction_read_only is on: migrate the \
             primary",
        ),
        "42501" => Some(
            "the database role may not create or change tables: run `customerd migrate` as a role that may, and serve as \
             this one",
        ),
        _ => None,
    }
}

/// Refuses a database that lacks migrations, or has some that this binary does not know.
pub(super) async fn check(connection: &mut impl Migrate, dialect: Dialect) -> Result<(), Error> {
    let migrator = migrator(dialect);
    let binary = newest(&migrator);
    // Without the bookkeeping table, nothing was applied.
    let database = applied(connection).await.unwrap_or(0);
    match database.cmp(&binary) {
        std::cmp::Ordering::Less => Err(Error::Behind { database, binary }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Error::Newer { database, binary }),
    }
}

async fn applied(connection: &mut impl Migrate) -> Result<i64, MigrateError> {
    let applied = connection.list_applied_migrations(TABLE).await?;
    Ok(applied.iter().map(|migration| migration.version).max().unwrap_or(0))
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn refused(migrator: &Migrator, error: MigrateError) -> Error {
    let binary = newest(migrator);
    match error {
        MigrateError::VersionMissing(database) if database > binary => Error::Newer { database, binary },
        error => Error::Migration(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test")]
    fn every_file_is_embedded_and_numbered() {
        for database in ["sqlite", "postgres"] {
            let directory = format!("{}/migrations/{database}", env!("CARGO_MANIFEST_DIR"));
            let mut files: Vec<_> = std::fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
                .collect();
            files.sort();
            let embedded: Vec<_> = MIGRATIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
            assert_eq!(files, embedded);
        }
        for (index, migration) in migrator(Dialect::Sqlite).iter().enumerate() {
            assert_eq!(migration.version, index as i64 + 1);
        }
    }

    #[tokio::test]
    async fn events_that_wait_for_a_position_get_one() {
        use sqlx::{Connection as _, SqliteConnection};
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut before = Migrator::with_migrations(migrator(Dialect::Sqlite).iter().take(7).cloned().collect());
        before.set_locking(false).run_direct(None, &mut connection, false).await.unwrap();
        for (seq, position) in [(1_i64, Some(1_i64)), (2, None), (3, None)] {
            let insert = "INSERT INTO events (id, programme_id, customer_id, seq, entity_type, entity_id, actor, cause, \
                to_status, version, created_at, body, previous_hash, hash, position) \
                VALUES (CAST($1 AS BLOB), x'00', x'00', $1, '', x'00', '', '', '', 1, 1, '', x'00', x'00', $2)";
            sqlx::query(insert).bind(seq).bind(position).execute(&mut connection).await.unwrap();
        }
        sqlx::query("UPDATE event_order SET position = 1").execute(&mut connection).await.unwrap();
        run(&mut connection, Dialect::Sqlite).await.unwrap();
        let placed: Vec<(i64, i64)> =
            sqlx::query_as("SELECT seq, position FROM events ORDER BY seq").fetch_all(&mut connection).await.unwrap();
        assert_eq!(placed, [(1, 1), (2, 2), (3, 3)]);
    }

    #[tokio::test]
    async fn operators_of_before_are_admins() {
        use sqlx::{Connection as _, SqliteConnection};
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut before = Migrator::with_migrations(migrator(Dialect::Sqlite).iter().take(11).cloned().collect());
        before.set_locking(false).run_direct(None, &mut connection, false).await.unwrap();
        let insert = "INSERT INTO operators (id, name, token_hash, created_at) VALUES (x'01', 'desk', x'02', 1)";
        sqlx::query(insert).execute(&mut connection).await.unwrap();
        run(&mut connection, Dialect::Sqlite).await.unwrap();
        let role: (String, Option<i64>, Option<i64>) =
            sqlx::query_as("SELECT role, expires_at, revoked_at FROM operators")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        assert_eq!(role, ("admin".to_owned(), None, None));
    }

    #[tokio::test]
    async fn operators_without_a_list_keep_every_programme() {
        use sqlx::{Connection as _, SqliteConnection};
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut before = Migrator::with_migrations(migrator(Dialect::Sqlite).iter().take(23).cloned().collect());
        before.set_locking(false).run_direct(None, &mut connection, false).await.unwrap();
        for statement in [
            "INSERT INTO programmes (id, name, sandbox, disabled, generation, created_at, updated_at) \
             VALUES (x'01', 'Wallet', 1, 0, 1, 1, 1)",
            "INSERT INTO operators (id, name, role, token_hash, created_at) VALUES (x'01', 'all', 'viewer', x'01', 1), \
             (x'02', 'some', 'viewer', x'02', 1), (x'03', 'none', 'service', x'03', 1), (x'04', 'root', 'admin', x'04', 1)",
            "INSERT INTO operator_programmes (operator_id, programme_id) VALUES (x'02', x'01')",
        ] {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        run(&mut connection, Dialect::Sqlite).await.unwrap();
        let query = sqlx::query_scalar("SELECT name FROM operators WHERE every_programme ORDER BY id");
        let every: Vec<String> = query.fetch_all(&mut connection).await.unwrap();
        assert_eq!(every, ["all", "root"]);
    }
}
