//! Writes that are collected and sent together: one statement on PostgreSQL, one hop to the writer on SQLite.
//!
//! On PostgreSQL the parts become the data-modifying terms of one `WITH`, all of which see the state from before the statement;
//! on SQLite they are statements that run one after the other. So no part may read what another one writes.

use std::fmt::Write;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::SqliteArguments;

use super::dialect::Dialect;
use super::error::Error;

/// Values of a draft that is sent before more is collected: several times what one change of a customer writes.
const LONG: usize = 512;

/// What the number of rows that a collected write changes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Any,
    /// Any row wakes the workers once it is committed.
    WakesWorkers,
    /// There must be one, of an insert of many as many as there are: without it the transaction fails with [`Error::NotApplied`].
    Required,
}

/// The values of a statement, or of several that travel together.
pub(super) enum Args {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

impl Args {
    pub(super) fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Sqlite => Self::Sqlite(SqliteArguments::default()),
            Dialect::Postgres => Self::Postgres(PgArguments::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Sqlite(arguments) => sqlx::Arguments::len(arguments),
            Self::Postgres(arguments) => sqlx::Arguments::len(arguments),
        }
    }
}

/// The writes that a transaction has collected.
pub(super) struct Draft {
    dialect: Dialect,
    sql: String,
    /// `None` while a statement is being put together, and for good if that was given up.
    args: Option<Args>,
    /// Of each statement, and how many rows are required.
    effects: Vec<(Effect, usize)>,
    persistent: bool,
    /// Some statement has `$n`.
    numbered: bool,
}

/// What is sent of a [`Draft`].
pub(super) struct Batch {
    pub(super) sql: String,
    pub(super) args: Args,
    pub(super) persistent: bool,
    effects: Vec<(Effect, usize)>,
}

impl Draft {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            sql: String::new(),
            args: Some(Args::new(dialect)),
            effects: Vec::new(),
            persistent: true,
            numbered: false,
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.args.is_some()
    }

    /// Whether it is time to send it: a text of so many values is prepared for this one time.
    pub(super) fn is_long(&self) -> bool {
        self.args.as_ref().is_some_and(|args| args.len() >= LONG)
    }

    /// The values so far, for a further statement to add to; `None` if an earlier one was never finished.
    pub(super) const fn begin(&mut self) -> Option<Args> {
        self.args.take()
    }

    /// Whether what comes next must number its parameters.
    pub(super) const fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Says whether the statement that was added has `$n`.
    pub(super) const fn number(&mut self, numbered: bool) {
        self.numbered |= numbered;
    }

    /// Says that the text is one of too many to be kept prepared.
    pub(super) const fn once(&mut self) {
        self.persistent = false;
    }

    /// Adds a statement, with all values so far.
    pub(super) fn add(&mut self, sql: &str, args: Args, (effect, rows): (Effect, usize)) {
        self.args = Some(args);
        let number = self.effects.len();
        match self.dialect {
            Dialect::Sqlite => {
                if number > 0 {
                    self.sql.push_str("; ");
                }
                self.sql.push_str(sql);
            }
            Dialect::Postgres => {
                let head = if number == 0 { "WITH" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(self.sql, "{head} w{number} AS (");
                self.sql.push_str(sql);
                self.sql.push_str(if effect == Effect::Any { ")" } else { " RETURNING 1)" });
            }
        }
        self.effects.push((effect, rows));
    }

    /// All that was collected, to be sent; `None` where that is nothing. Collecting begins again.
    pub(super) fn take(&mut self) -> Result<Option<Batch>, Error> {
        if self.is_empty() {
            return Ok(None);
        }
        let drafted = std::mem::replace(self, Self::new(self.dialect));
        let args = drafted.args.ok_or(Error::Failed)?;
        let mut sql = drafted.sql;
        if drafted.dialect == Dialect::Postgres {
            sql.push_str(" SELECT 1");
            for (number, (effect, rows)) in drafted.effects.iter().enumerate() {
                // Where fewer rows changed than had to, division by zero undoes the whole statement.
                let _ = match effect {
                    Effect::Any => Ok(()),
                    Effect::WakesWorkers => write!(sql, ", (SELECT count(*) FROM w{number})"),
                    Effect::Required => write!(sql, ", 1 / (SELECT count(*) / {rows} FROM w{number})"),
                };
            }
        }
        Ok(Some(Batch { sql, args, persistent: drafted.persistent, effects: drafted.effects }))
    }
}

impl Batch {
    /// How many statements were collected.
    pub(super) const fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether workers are to be woken, by the rows that each part changed.
    pub(super) fn outcome(effects: &[(Effect, usize)], changed: &[u64]) -> Result<bool, Error> {
        let mut wakes = false;
        for ((effect, rows), changed) in effects.iter().zip(changed) {
            match effect {
                Effect::Required if *changed < *rows as u64 => return Err(Error::NotApplied),
                Effect::WakesWorkers => wakes |= *changed > 0,
                Effect::Any | Effect::Required => {}
            }
        }
        Ok(wakes)
    }

    /// The same, by the row that PostgreSQL gives.
    pub(super) fn wakes(effects: &[(Effect, usize)], row: &PgRow) -> Result<bool, Error> {
        let counted = effects.iter().map(|(effect, _)| *effect).filter(|effect| *effect != Effect::Any).zip(1..);
        for (_, column) in counted.filter(|(effect, _)| *effect == Effect::WakesWorkers) {
            if row.try_get::<i64, usize>(column)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn into_parts(self) -> (String, Args, bool, Vec<(Effect, usize)>) {
        (self.sql, self.args, self.persistent, self.effects)
    }
}
