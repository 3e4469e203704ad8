//! Many rows in one statement.

use super::error::Error;
use super::query::Query;
use super::tx::{Connection, Tx};

/// Texts of up to this many rows are kept prepared, whatever their lengths.
const PREPARED: usize = 8;
/// Above this, the few lengths are its multiples; below, powers of two.
const STEP: usize = 16;

/// The text around the rows: `INSERT INTO t (a, b) VALUES ` and perhaps ` ON CONFLICT DO NOTHING`. An update of many
/// rows is `WITH v (id, x) AS (VALUES ` … `) UPDATE t SET x = v.x FROM v WHERE t.id = v.id`.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Before the rows.
    pub head: &'static str,
    /// After the rows; may be empty.
    pub tail: &'static str,
    /// How many rows the texts have.
    pub lengths: Lengths,
}

/// How many rows a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// As many as there are: a new text for each number, of which only short ones stay prepared.
    All,
    /// One of a few lengths: the texts all stay prepared. The last row is said again to fill one up, so this is for updates,
    /// where a row that is there twice is the same as once.
    Few,
}

impl Lengths {
    /// Rows of one text at the most. Beyond it longer ones gain nothing; those that stay prepared take memory, on
    /// PostgreSQL in each of its sessions. And from about 200 rows on SQLite takes them for more than the table has: an update would
    /// read the whole table and look each row up among them.
    pub(super) const fn most(self) -> usize {
        match self {
            Self::All => 500,
            Self::Few => 128,
        }
    }

    /// The rows of a text.
    pub(super) fn fill<T>(self, rows: &[T]) -> impl Iterator<Item = &T> {
        let length = match self {
            Self::All => rows.len(),
            Self::Few if rows.len() <= STEP => rows.len().next_power_of_two(),
            Self::Few => rows.len().next_multiple_of(STEP),
        };
        rows.iter().chain(rows.last().into_iter().cycle()).take(length)
    }
}

/// Writes `rows` in as few statements as the parameter limits allow; `bind` binds one row's values in order, the same
/// number for every row. The number of rows changed.
pub async fn write_rows<T: Sync>(
    tx: &mut Tx,
    text: Rows,
    rows: &[T],
    bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q> + Send + Sync,
) -> Result<u64, Error> {
    let limit = tx.dialect().max_parameters();
    let (mut changed, mut rest) = (0, rows);
    while let Some(first) = rest.first() {
        let mut query = bind(tx.query(text.head), first).push_tuple(0);
        let columns = query.bound().max(1);
        let (chunk, later) = rest.split_at(rest.len().min(text.lengths.most()).min(limit / columns));
        for row in text.lengths.fill(chunk).skip(1) {
            let from = query.bound();
            query = bind(query.push(", "), row).push_tuple(from);
        }
        if text.lengths == Lengths::All && chunk.len() > PREPARED {
            query = query.once();
        }
        changed += query.push(text.tail).execute().await?;
        rest = later;
    }
    Ok(changed)
}
