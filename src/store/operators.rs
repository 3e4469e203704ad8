//! Operators, and the programmes that they are limited to.

use std::collections::HashSet;

use uuid::Uuid;

use super::value::row;
use super::{Connection, Error, Lengths, Rows, Tx, write_rows};
use crate::domain::Timestamp;
use crate::domain::operator::Operator;

/// One row for each programme that an operator is limited to, or one without.
const SELECT: &str = "SELECT o.id, o.name, o.role, o.created_at, o.rotated_at, o.expires_at, o.revoked_at, o.every_programme, \
                      p.programme_id \
                      FROM operators o LEFT JOIN operator_programmes p ON p.operator_id = o.id";

row! {
    struct OperatorRow {
        id: Uuid,
        name: String,
        role: String,
        created_at: Timestamp,
        rotated_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
        every_programme: bool,
        programme_id: Option<Uuid>,
    }
}

/// The operators of rows that are sorted by operator and programme.
fn gathered(rows: Vec<OperatorRow>) -> Result<Vec<Operator>, Error> {
    let mut operators: Vec<Operator> = Vec::new();
    for row in rows {
        if let Some(last) = operators.last_mut()
            && last.id == row.id
        {
            last.programmes.extend(row.programme_id);
            continue;
        }
        operators.push(Operator {
            id: row.id,
            name: row.name,
            role: row.role.parse().map_err(|_| Error::unreadable("operators.role", &row.role))?,
            every_programme: row.every_programme,
            programmes: row.programme_id.into_iter().collect(),
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        });
    }
    Ok(operators)
}

/// Inserts an operator with the SHA-256 hash of its token. `false` when the name is taken.
///
/// # Errors
///
/// A programme that does not exist is refused by the database: ask [`super::programmes::unknown`] first.
pub async fn insert(tx: &mut Tx, operator: &Operator, token_hash: &[u8]) -> Result<bool, Error> {
    let inserted = tx
        .query(
            "INSERT INTO operators (id, name, role, token_hash, created_at, rotated_at, expires_at, revoked_at, \
             every_programme) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        )
        .bind(operator.id)
        .bind(operator.name.as_str())
        .bind(operator.role.as_str())
        .bind(token_hash)
        .bind(operator.created_at)
        .bind(operator.rotated_at)
        .bind(operator.expires_at)
        .bind(operator.revoked_at)
        .bind(operator.every_programme)
        .execute()
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    let text = Rows {
        head: "INSERT INTO operator_programmes (operator_id, programme_id) VALUES ",
        tail: "",
        lengths: Lengths::All,
    };
    write_rows(tx, text, &operator.programmes, |query, id| query.bind(operator.id).bind(*id)).await?;
    Ok(true)
}

/// The operator whose token has this SHA-256 hash, revoked and expired ones included.
pub async fn by_token(on: &mut impl Connection, token_hash: &[u8]) -> Result<Option<Operator>, Error> {
    let query = on.query(SELECT).push(" WHERE o.token_hash = ").push_bind(token_hash);
    Ok(gathered(query.push(" ORDER BY p.programme_id").all().await?)?.pop())
}

/// Locks the operator of a name.
pub async fn lock(tx: &mut Tx, name: &str) -> Result<Option<Operator>, Error> {
    let locked = tx.query("SELECT id FROM operators WHERE name = $1").bind(name).for_update();
    let Some((id,)) = locked.optional::<(Uuid,)>().await? else { return Ok(None) };
    let query = tx.query(SELECT).push(" WHERE o.id = ").push_bind(id);
    Ok(gathered(query.push(" ORDER BY p.programme_id").all().await?)?.pop())
}

/// Writes what changes of a locked operator, with the hash of its new token where it was given one.
pub async fn update(tx: &mut Tx, operator: &Operator, token_hash: Option<&[u8]>) -> Result<(), Error> {
    tx.query(
        "UPDATE operators SET rotated_at = $2, expires_at = $3, revoked_at = $4, token_hash = COALESCE($5, token_hash) \
         WHERE id = $1",
    )
    .bind(operator.id)
    .bind(operator.rotated_at)
    .bind(operator.expires_at)
    .bind(operator.revoked_at)
    .bind(token_hash)
    .execute()
    .await?;
    Ok(())
}

/// All operators, oldest first.
pub async fn list(on: &mut impl Connection) -> Result<Vec<Operator>, Error> {
    gathered(on.query(SELECT).push(" ORDER BY o.created_at, o.id, p.programme_id").all().await?)
}

/// Those of these token hashes that still let their operators in: not replaced, not revoked, not expired. One statement
/// for every stream of a node.
pub async fn live_tokens<'t>(
    on: &mut impl Connection,
    token_hashes: impl IntoIterator<Item = &'t [u8]>,
    now: Timestamp,
) -> Result<HashSet<Vec<u8>>, Error> {
    let rows: Vec<(Vec<u8>,)> = on
        .query("SELECT token_hash FROM operators WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)")
        .bind(now)
        .push(" AND token_hash IN ")
        .push_list(token_hashes)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(hash,)| hash).collect())
}
