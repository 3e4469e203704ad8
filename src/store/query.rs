//! One statement: its text, its values, and how it runs on either database.

use std::borrow::Cow;

use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, PgConnection, SqlSafeStr, SqlStr, SqliteConnection};

use super::dialect::Dialect;
use super::draft::{Args, Draft, Effect};
use super::error::Error;
use super::postgres::Checkout;
use super::sqlite_readers::SqliteReader;
use super::tx::{Connection, Tx};
use super::value::{Row, Value};

/// A statement under way. Made by [`Connection::query`](super::Connection::query); runs when one of
/// [`execute`](Self::execute), [`one`](Self::one), [`optional`](Self::optional), [`all`](Self::all) is awaited. One that is made
/// by [`Tx::write`] is [collected](Self::collect) instead.
///
/// The text has `$1`, `$2`, … on both databases and is prepared once per connection, so it must not hold values. Parts
/// that depend on the request are appended: `push(" AND status = ").push_bind(status)`.
#[must_use = "a query does nothing until it is executed"]
pub struct Query<'c> {
    target: Target<'c>,
    sql: Cow<'static, str>,
    arguments: Args,
    /// How many of the arguments belong to statements that were collected before: `$1` is the next one.
    base: usize,
    invalid: Option<Error>,
    persistent: bool,
    /// Only the first row is wanted.
    first: bool,
    /// A reader may send it again where its connection turns out to be dead.
    repeatable: bool,
    /// The text has `$n`. Without them SQLite gets `?` for what is appended, each the next parameter: it keeps numbered ones
    /// in a list that it walks for each of them, so that a text of hundreds is slow to prepare and to bind.
    numbered: bool,
}

/// Where a statement runs.
pub(super) enum Target<'c> {
    Tx(&'c mut Tx),
    Draft(&'c mut Draft),
    Sqlite(&'c mut SqliteReader),
    Postgres(&'c mut Checkout),
}

/// What came back: rows changed by the last statement of the text, and rows read.
pub(super) enum Answer {
    Sqlite(u64, Vec<SqliteRow>),
    Postgres(u64, Vec<PgRow>),
}

impl Target<'_> {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Tx(tx) => Connection::dialect(*tx),
            Self::Draft(draft) => draft.dialect(),
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}

impl<'c> Query<'c> {
    pub(super) fn new(mut target: Target<'c>, sql: &'static str) -> Self {
        let (arguments, invalid, behind_numbers) = match &mut target {
            Target::Draft(draft) => match draft.begin() {
                Some(arguments) => (arguments, None, draft.is_numbered()),
                None => (Args::new(draft.dialect()), Some(Error::Failed), true),
            },
            other => (Args::new(other.dialect()), None, false),
        };
        // Behind numbered parameters `?` would not be the next one.
        let (base, numbered) = (arguments.len(), behind_numbers || sql.contains('$'));
        Self {
            target,
            sql: renumbered(sql, base),
            arguments,
            base,
            invalid,
            persistent: true,
            first: false,
            repeatable: true,
            numbered,
        }
    }

    /// Binds the next parameter: the first call is `$1`.
    pub fn bind<'q>(mut self, value: impl Value<'q>) -> Self {
        let added = match &mut self.arguments {
            Args::Sqlite(arguments) => arguments.add(value),
            Args::Postgres(arguments) => arguments.add(value),
        };
        if let Err(error) = added {
            self.invalid = Some(sqlx::Error::Encode(error).into());
        }
        self
    }

    /// Appends to the text.
    pub fn push(mut self, sql: &'static str) -> Self {
        if !sql.is_empty() {
            self.numbered |= sql.contains('$');
            debug_assert!(!(self.numbered && self.sql.contains('?')), "$n after a ?: {sql}");
            self.sql.to_mut().push_str(&renumbered(sql, self.base));
        }
        self
    }

    /// Appends a parameter to the text and binds it.
    pub fn push_bind<'q>(self, value: impl Value<'q>) -> Self {
        let mut query = self.bind(value);
        let number = query.bound();
        query.push_parameter(number);
        query
    }

    /// Appends `($n, $n+1, …)` and binds the values: for `IN`. There must be at least one value.
    pub fn push_list<'q, V: Value<'q>>(self, values: impl IntoIterator<Item = V>) -> Self {
        let from = self.bound();
        let query = values.into_iter().fold(self, Self::bind);
        query.push_tuple(from)
    }

    /// Appends `($n, $n+1), …` and binds the pairs: for `IN (VALUES …)`. There must be at least one pair.
    pub fn push_pairs<'q, A: Value<'q>, B: Value<'q>>(self, pairs: impl IntoIterator<Item = (A, B)>) -> Self {
        pairs.into_iter().enumerate().fold(self, |query, (index, (a, b))| {
            let query = if index == 0 { query } else { query.push(", ") };
            let from = query.bound();
            query.bind(a).bind(b).push_tuple(from)
        })
    }

    /// Locks the selected rows until the transaction ends, where the database has row locks; not in an
    /// [optimistic](super::Mode::Optimistic) one.
    pub fn for_update(self) -> Self {
        let locks = !matches!(&self.target, Target::Tx(tx) if !tx.locks());
        let sql = if locks { self.target.dialect().for_update() } else { "" };
        self.push(sql)
    }

    /// Keeps others from changing the selected rows until the transaction ends, where the database has row locks.
    pub fn for_share(self) -> Self {
        let sql = self.target.dialect().for_share();
        self.push(sql)
    }

    /// Like [`for_update`](Self::for_update), passing over rows that another transaction holds: for claims.
    pub fn for_update_skip_locked(self) -> Self {
        let sql = self.target.dialect().for_update_skip_locked();
        self.push(sql)
    }

    /// It changes something as a statement of its own, so that a [`Reader`](super::Reader) must not send it twice: after an error
    /// nobody knows whether it was made.
    pub(super) const fn unrepeatable(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Not kept as a prepared statement: for texts of which there are many.
    pub(super) const fn once(mut self) -> Self {
        self.persistent = false;
        self
    }

    /// How many values are bound.
    pub(super) fn bound(&self) -> usize {
        self.arguments.len() - self.base
    }

    /// Appends `($from+1, …)` up to the last value bound.
    pub(super) fn push_tuple(mut self, from: usize) -> Self {
        for number in from + 1..=self.bound() {
            self.sql.to_mut().push_str(if number == from + 1 { "(" } else { ", " });
            self.push_parameter(number);
        }
        self.push(")")
    }

    fn push_parameter(&mut self, number: usize) {
        let sql = self.sql.to_mut();
        if self.numbered || self.target.dialect() == Dialect::Postgres {
            push_number(sql, self.base + number);
        } else {
            sql.push('?');
        }
    }

    /// Runs the statement; the number of rows it changed.
    pub async fn execute(self) -> Result<u64, Error> {
        Ok(match self.run().await? {
            Answer::Sqlite(changed, _) | Answer::Postgres(changed, _) => changed,
        })
    }

    /// The only row. [`Error::NotFound`] if there is none; further rows are ignored.
    pub async fn one<R: Row>(self) -> Result<R, Error> {
        self.optional().await?.ok_or(Error::NotFound)
    }

    /// The first row, if there is one.
    pub async fn optional<R: Row>(mut self) -> Result<Option<R>, Error> {
        self.first = true;
        Ok(match self.run().await? {
            Answer::Sqlite(_, rows) => rows.first().map(R::from_row).transpose()?,
            Answer::Postgres(_, rows) => rows.first().map(R::from_row).transpose()?,
        })
    }

    /// All rows, held in memory: put a `LIMIT` in the text.
    pub async fn all<R: Row>(self) -> Result<Vec<R>, Error> {
        Ok(match self.run().await? {
            Answer::Sqlite(_, rows) => rows.iter().map(R::from_row).collect::<Result<_, _>>()?,
            Answer::Postgres(_, rows) => rows.iter().map(R::from_row).collect::<Result<_, _>>()?,
        })
    }

    /// Leaves the statement for the transaction to send with its other [collected](Tx::write) ones, before it next reads or
    /// commits.
    pub fn collect(self, effect: Effect) -> Result<(), Error> {
        self.collect_rows(effect, 1)
    }

    /// The same of a statement that inserts so many rows.
    pub(super) fn collect_rows(self, effect: Effect, rows: usize) -> Result<(), Error> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        debug_assert_eq!(self.parameters(), self.bound(), "parameters and values differ in number: {}", self.sql);
        let Target::Draft(draft) = self.target else { return Err(Error::Failed) };
        if !self.persistent {
            draft.once();
        }
        draft.add(&self.sql, self.arguments, (effect, rows));
        draft.number(self.numbered);
        Ok(())
    }

    /// The highest `$n` of the text, or how many `?` it has. SQLite would take a missing value for NULL and ignore a superfluous
    /// one.
    fn parameters(&self) -> usize {
        if !self.sql.contains('$') {
            return self.sql.matches('?').count();
        }
        let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
        let numbers = self.sql.split('$').skip(1).filter_map(|part| part[..digits(part)].parse::<usize>().ok());
        numbers.max().unwrap_or_default().saturating_sub(self.base)
    }

    async fn run(self) -> Result<Answer, Error> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        debug_assert_eq!(self.parameters(), self.bound(), "parameters and values differ in number: {}", self.sql);
        let Self { target, sql, arguments, persistent, first, repeatable, .. } = self;
        match (target, arguments) {
            (Target::Tx(tx), arguments) => tx.run(sql, arguments, persistent).await,
            (Target::Sqlite(connection), Args::Sqlite(arguments)) if first => {
                connection.working();
                let query = sqlx::query_with(sql_str(sql), arguments).persistent(persistent);
                // The connection's thread answers once, not once more to say that this was all.
                let row = connection.fetch_optional(query).await?;
                connection.done();
                Ok(Answer::Sqlite(0, row.into_iter().collect()))
            }
            (Target::Sqlite(connection), Args::Sqlite(arguments)) => {
                connection.working();
                let (changed, rows) = on_sqlite(connection, sql, arguments, persistent).await?;
                connection.done();
                Ok(Answer::Sqlite(changed.last().copied().unwrap_or(0), rows))
            }
            (Target::Postgres(connection), Args::Postgres(arguments)) => {
                let statement = PgStatement { sql, arguments, persistent };
                let answered = if repeatable {
                    connection.read(statement).await?
                } else {
                    connection.run_alone(statement).await?
                };
                let (changed, rows) = answered;
                Ok(Answer::Postgres(changed, rows))
            }
            (Target::Draft(_), _) | (Target::Sqlite(_), Args::Postgres(_)) | (Target::Postgres(_), Args::Sqlite(_)) => {
                Err(Error::Failed)
            }
        }
    }
}

fn sql_str(sql: Cow<'static, str>) -> SqlStr {
    // Every text is put together from literals of this room: `push` takes nothing else.
    AssertSqlSafe(sql).into_sql_str()
}

/// Runs a text, several statements allowed; how many rows each of them changed, and all that were read.
pub(super) async fn on_sqlite(
    connection: &mut SqliteConnection,
    sql: Cow<'static, str>,
    arguments: SqliteArguments,
    persistent: bool,
) -> Result<(Vec<u64>, Vec<SqliteRow>), sqlx::Error> {
    let mut answers = connection.fetch_many(sqlx::query_with(sql_str(sql), arguments).persistent(persistent));
    let (mut changed, mut rows) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(done) => changed.push(done.rows_affected()),
            Either::Right(row) => rows.push(row),
        }
    }
    Ok((changed, rows))
}

/// A statement for PostgreSQL with its values.
#[derive(Clone)]
pub(super) struct PgStatement {
    pub(super) sql: Cow<'static, str>,
    pub(super) arguments: PgArguments,
    /// Kept prepared on the connection.
    pub(super) persistent: bool,
}

/// The same on PostgreSQL, one statement.
pub(super) async fn on_postgres(
    connection: &mut PgConnection,
    statement: PgStatement,
) -> Result<(u64, Vec<PgRow>), sqlx::Error> {
    let PgStatement { sql, arguments, persistent } = statement;
    let mut answers = connection.fetch_many(sqlx::query_with(sql_str(sql), arguments).persistent(persistent));
    let (mut changed, mut rows) = (0, Vec::new());
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Left(done) => changed = done.rows_affected(),
            Either::Right(row) => rows.push(row),
        }
    }
    Ok((changed, rows))
}

/// A text with `base` added to the number of each parameter.
fn renumbered(sql: &'static str, base: usize) -> Cow<'static, str> {
    if base == 0 || !sql.contains('$') {
        return Cow::Borrowed(sql);
    }
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_at(part.bytes().take_while(u8::is_ascii_digit).count());
        push_number(&mut text, base + number.parse::<usize>().unwrap_or_default());
        text.push_str(rest);
    }
    Cow::Owned(text)
}

/// Appends `$number`. Texts of many rows have hundreds, for which `write!` is slow.
fn push_number(sql: &mut String, number: usize) {
    let (mut digits, mut rest) = (1, number);
    while rest >= 10 {
        (digits, rest) = (digits * 10, rest / 10);
    }
    sql.push('$');
    while digits > 0 {
        sql.push(char::from(b'0' + (number / digits % 10) as u8));
        digits /= 10;
    }
}
