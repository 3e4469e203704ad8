//! Pages of customers.

use uuid::Uuid;

use super::CustomerRow;
use crate::domain::Timestamp;
use crate::domain::customer::{Customer, Status};
use crate::store::{Connection, Error, Precondition, standing};

/// Which customers to list: newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub programme_id: Uuid,
    /// In this status.
    pub status: Option<Status>,
    /// With this chain id, canonical.
    pub chain_id: Option<String>,
    /// With this external id.
    pub external_id: Option<String>,
    /// Created after this, exclusive.
    pub created_after: Option<Timestamp>,
    /// Created before this, exclusive.
    pub created_before: Option<Timestamp>,
    /// After this one in the list: where the last page ended.
    pub after: Option<(Timestamp, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

/// A page of customers. Its cost does not depend on how deep it is: each condition is a range of an index.
/// Empty where the caller's precondition does not hold.
pub async fn page(
    on: &mut impl Connection,
    filter: &Filter,
    standing: Option<&Precondition>,
) -> Result<Vec<Customer>, Error> {
    let mut query = on
        .query(
            "SELECT id, programme_id, external_id, chain_id, status, created_at, updated_at, version FROM customers \
             WHERE programme_id = $1",
        )
        .bind(filter.programme_id);
    if let Some(status) = filter.status {
        query = query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(chain_id) = &filter.chain_id {
        query = query.push(" AND chain_id = ").push_bind(chain_id.as_str());
    }
    if let Some(external_id) = &filter.external_id {
        query = query.push(" AND external_id = ").push_bind(external_id.as_str());
    }
    if let Some(after) = filter.created_after {
        query = query.push(" AND created_at > ").push_bind(after);
    }
    if let Some(before) = filter.created_before {
        query = query.push(" AND created_at < ").push_bind(before);
    }
    if let Some((at, id)) = filter.after {
        query = query.push(" AND (created_at, id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    let rows: Vec<CustomerRow> = standing::and(query, standing)
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(filter.limit)
        .all()
        .await?;
    rows.into_iter().map(CustomerRow::read).collect()
}
