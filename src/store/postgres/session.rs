//! The limits of a session, and when they are set: at its start, or, behind a pooler, in each transaction.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _, SqlSafeStr as _, SqlStr};

use crate::store::StoreOptions;
use crate::store::error::Error;

/// Texts kept prepared on each connection.
const STATEMENTS: usize = 256;
/// What a transaction begins with that is told nothing but this.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// Appended to what begins a transaction that need not outlast a crash of the server.
const NOT_DURABLE: &str = "; SET LOCAL synchronous_commit = off";
/// How long a transaction may wait for the pooler to give it a session, besides what it may take otherwise. Longer than a statement waits for
/// a lock by default, together with what the monitor allows: that others wait is no outage.
const QUEUE: Duration = Duration::from_secs(3);

/// Whose the sessions are that statements run in.
#[derive(Clone)]
pub(super) enum Session {
    /// Each connection has one: it is told its settings at its start, and keeps statements prepared.
    PerConnection(Box<Settings>),
    /// A pooler gives each transaction one that has served others and will again. So each transaction is told its settings where it
    /// begins, by one of these texts, and leaves nothing behind: no statement has a name, and none runs outside a transaction, where the
    /// pooler might run its halves (Parse, then Bind) in two sessions.
    PerTransaction { begin: Arc<str>, begin_not_durable: Arc<str> },
}

/// Names and values as `pg_settings` has them.
pub(super) type Settings = [(&'static str, String); 8];

impl Session {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let settings = settings(options);
        if !options.transaction_pooler {
            return Self::PerConnection(Box::new(settings));
        }
        let begin = settings.iter().fold(BEGIN.to_owned(), |mut begin, (name, value)| {
            // Writing to a String cannot fail.
            let _ = write!(begin, "; SET LOCAL {name} = '{value}'");
            begin
        });
        let begin_not_durable = format!("{begin}{NOT_DURABLE}").into();
        Self::PerTransaction { begin: begin.into(), begin_not_durable }
    }

    pub(super) const fn is_per_transaction(&self) -> bool {
        matches!(self, Self::PerTransaction { .. })
    }

    /// How long the pooler may let a transaction wait.
    pub(super) const fn queue(&self) -> Duration {
        if self.is_per_transaction() { QUEUE } else { Duration::ZERO }
    }

    /// What begins a transaction.
    pub(super) fn begin(&self, durable: bool) -> SqlStr {
        match self {
            Self::PerConnection(_) if durable => "BEGIN".into_sql_str(),
            Self::PerConnection(_) => "BEGIN; SET LOCAL synchronous_commit = off".into_sql_str(),
            Self::PerTransaction { begin, .. } if durable => AssertSqlSafe(Arc::clone(begin)).into_sql_str(),
            Self::PerTransaction { begin_not_durable, .. } => {
                AssertSqlSafe(Arc::clone(begin_not_durable)).into_sql_str()
            }
        }
    }

    /// Sets what is sent when a connection is made. A pooler takes no settings there but those that it can follow.
    pub(super) fn configure(&self, options: PgConnectOptions) -> Result<PgConnectOptions, Error> {
        match self {
            Self::PerConnection(settings) => {
                let settings = settings.iter().map(|(name, value)| (name, value));
                Ok(options.statement_cache_capacity(STATEMENTS).options(settings))
            }
            Self::PerTransaction { .. } if options.get_options().is_some() => Err(Error::Url(
                "the parameter \"options\" (or PGOPTIONS) does not pass a pooler: leave it out, and set what is needed with ALTER ROLE … \
                 SET …"
                    .to_owned(),
            )),
            Self::PerTransaction { .. } => Ok(options.statement_cache_capacity(0).extra_float_digits(None)),
        }
    }

    /// A setting as it is for transactions of this service.
    pub(super) async fn show(&self, connection: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
        let sql = match self {
            Self::PerConnection(_) => format!("SHOW {name}"),
            Self::PerTransaction { begin, .. } => format!("{begin}; SHOW {name}; COMMIT"),
        };
        connection.fetch_one(AssertSqlSafe(sql)).await?.try_get(0)
    }

    /// Refuses a session that was not told what was sent to it: without its limits a statement may run for ever. Gives the name of the
    /// setting. A pooler that would not let transactions be is an error.
    pub(super) async fn lacks(&self, connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
        let Self::PerConnection(settings) = self else {
            connection.execute(self.begin(true)).await?;
            connection.execute("ROLLBACK").await?;
            return Ok(None);
        };
        let sent: Vec<_> = settings.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
        let sql = format!(
            "SELECT name FROM pg_settings JOIN (VALUES {}) AS sent (sent_name, value) ON name = sent_name \
             WHERE setting <> value ORDER BY name LIMIT 1",
            sent.join(", ")
        );
        connection.fetch_optional(AssertSqlSafe(sql)).await?.map(|row| row.try_get(0)).transpose()
    }
}

fn settings(options: &StoreOptions) -> Settings {
    let millis = |limit: Duration| limit.as_millis().to_string();
    let off = || "off".to_owned();
    [
        ("statement_timeout", millis(options.statement_timeout)),
        ("lock_timeout", millis(options.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(options.idle_in_transaction_timeout)),
        ("default_transaction_isolation", "read committed".to_owned()),
        // Every join here goes from a few rows to others by an index, and every page is a range of one, in its order. Without
        // statistics, as in a new database, the planner would rather hash a whole table, or collect and sort all that is left
        // of a range for each of its pages.
        ("enable_hashjoin", off()),
        ("enable_mergejoin", off()),
        ("enable_bitmapscan", off()),
        // No statement runs for as long as compiling it would take, and what the planner cannot do without one of the above costs,
        // on paper, enough to be compiled.
        ("jit", off()),
    ]
}
