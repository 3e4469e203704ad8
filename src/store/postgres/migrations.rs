//! How migrations run: each step in one transaction, without names for statements, so that a pooler may give each of them
//! another session.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// A migration may take longer than a request.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";

/// The same bookkeeping as sqlx's own, which names its statements and runs some of them outside a transaction.
pub(super) struct Migrations<'c>(pub(super) &'c mut PgConnection);

impl Migrate for Migrations<'_> {
    fn ensure_migrations_table<'e>(&'e mut self, table: &'e str) -> BoxFuture<'e, Result<(), MigrateError>> {
        Box::pin(async move {
            let mut tx = self.0.begin_with(BEGIN).await?;
            tx.ensure_migrations_table(table).await?;
            Ok(tx.commit().await?)
        })
    }

    fn dirty_version<'e>(&'e mut self, table: &'e str) -> BoxFuture<'e, Result<Option<i64>, MigrateError>> {
        Box::pin(async move {
            let mut tx = self.0.begin_with(BEGIN).await?;
            let sql = format!("SELECT version FROM {table} WHERE NOT success ORDER BY version LIMIT 1");
            let query = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
            let version = query.fetch_optional(&mut *tx).await?;
            tx.commit().await?;
            Ok(version)
        })
    }

    fn list_applied_migrations<'e>(
        &'e mut self,
        table: &'e str,
    ) -> BoxFuture<'e, Result<Vec<AppliedMigration>, MigrateError>> {
        Box::pin(async move {
            let mut tx = self.0.begin_with(BEGIN).await?;
            let sql = format!("SELECT version, checksum FROM {table} ORDER BY version");
            let query = sqlx::query_as(AssertSqlSafe(sql)).persistent(false);
            let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(&mut *tx).await?;
            tx.commit().await?;
            let applied = |(version, checksum): (i64, Vec<u8>)| AppliedMigration { version, checksum: checksum.into() };
            Ok(rows.into_iter().map(applied).collect())
        })
    }

    fn apply<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        Box::pin(async move {
            let mut tx = self.0.begin_with(BEGIN).await?;
            let run = tx.execute(migration.sql.clone()).await;
            run.map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
            let sql = format!(
                "INSERT INTO {table} (version, description, success, checksum, execution_time) VALUES ($1, $2, TRUE, $3, \
                 CAST(extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000000000 AS bigint)) \
                 RETURNING execution_time"
            );
            let insert = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false);
            let insert = insert.bind(migration.version).bind(&*migration.description).bind(&*migration.checksum);
            let nanoseconds: i64 = insert.fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
        })
    }

    // What follows is not asked for here: no schema is made, nothing locked or taken back.

    fn create_schema_if_not_exists<'e>(&'e mut self, schema: &'e str) -> BoxFuture<'e, Result<(), MigrateError>> {
        self.0.create_schema_if_not_exists(schema)
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        self.0.lock()
    }

    fn unlock(&mut self) -> BoxFuture<'_, Result<(), MigrateError>> {
        self.0.unlock()
    }

    fn revert<'e>(
        &'e mut self,
        table: &'e str,
        migration: &'e Migration,
    ) -> BoxFuture<'e, Result<Duration, MigrateError>> {
        self.0.revert(table, migration)
    }
}
