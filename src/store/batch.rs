//! Many rows in one statement.

use super::error::Error;
use super::query::Query;
use super::tx::{Connection, Tx};

/// Rows in one statement at most: beyond this, longer texts gain nothing.
const ROWS: usize = 500;
/// Statements of up to this many rows are kept prepared.
const PREPARED: usize = 8;

/// The text around the rows: `INSERT INTO t (a, b) VALUES ` and perhaps ` ON CONFLICT DO NOTHING`. An update of many
/// rows is `WITH v (id, x) AS (VALUES ` … `) UPDATE t SET x = v.x FROM v WHERE t.id = v.id`.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Before the rows.
    pub head: &'static str,
    /// After the rows; may be empty.
    pub tail: &'static str,
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
        let (chunk, later) = rest.split_at(rest.len().min(ROWS).min(limit / columns));
        for row in &chunk[1..] {
            let from = query.bound();
            query = bind(query.push(", "), row).push_tuple(from);
        }
        if chunk.len() > PREPARED {
            query = query.once();
        }
        changed += query.push(text.tail).execute().await?;
        rest = later;
    }
    Ok(changed)
}
