//! What operators and the command line did: recorded in the transaction of the change.

use uuid::Uuid;

use super::value::row;
use super::{Connection, Effect, Error, Tx};
use crate::domain::Timestamp;

/// The outcome of an act that was not refused.
pub const DONE: &str = "done";

row! {
    /// Who did what, on what, when and from where. Holds no secrets.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Act {
        /// UUIDv7.
        pub id: Uuid,
        /// When.
        pub at: Timestamp,
        /// Who: `operator:<name>` or `command-line:<user of the operating system>`.
        pub actor: String,
        /// What, such as `programme.disable`.
        pub act: String,
        /// On what: `programme`, `operator`, `customer`, …
        pub target_type: String,
        /// Its id, or its name where that names it.
        pub target_id: Option<String>,
        /// The programme that it was done for, or to.
        pub programme_id: Option<Uuid>,
        /// Why, in the operator's own words. For operators alone.
        pub reason: Option<String>,
        /// From where: the caller's address, or the host of the command line.
        pub client: Option<String>,
        /// The id of the request.
        pub request_id: Option<String>,
        /// [`DONE`], or the code of the error.
        pub outcome: String,
    }
}

/// Which acts to read.
#[derive(Debug, Clone, Copy)]
pub struct ActFilter {
    /// Only acts at this time or later.
    pub since: Option<Timestamp>,
    /// Only acts before this one, by time and id: where the page before ended.
    pub before: Option<(Timestamp, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

/// Records an act. Call it in the transaction of the change.
pub fn record(tx: &mut Tx, act: &Act) -> Result<(), Error> {
    tx.write(
        "INSERT INTO acts (id, at, actor, act, target_type, target_id, programme_id, reason, client, request_id, outcome) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(act.id)
    .bind(act.at)
    .bind(act.actor.as_str())
    .bind(act.act.as_str())
    .bind(act.target_type.as_str())
    .bind(act.target_id.as_deref())
    .bind(act.programme_id)
    .bind(act.reason.as_deref())
    .bind(act.client.as_deref())
    .bind(act.request_id.as_deref())
    .bind(act.outcome.as_str())
    .collect(Effect::Any)
}

/// A page of acts, newest first.
pub async fn page(on: &mut impl Connection, filter: &ActFilter) -> Result<Vec<Act>, Error> {
    let mut query = on.query(
        "SELECT id, at, actor, act, target_type, target_id, programme_id, reason, client, request_id, outcome \
         FROM acts WHERE true",
    );
    if let Some(since) = filter.since {
        query = query.push(" AND at >= ").push_bind(since);
    }
    if let Some((at, id)) = filter.before {
        query = query.push(" AND (at, id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY at DESC, id DESC LIMIT ").push_bind(filter.limit).all().await
}
