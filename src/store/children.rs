//! Which accounts and cards follow a customer or an account that moves.

use uuid::Uuid;

use super::query::Query;
use crate::domain::Timestamp;
use crate::domain::account::Sleeper;

/// What the parent's move does to its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It was deactivated: so are those that are active.
    Deactivate,
    /// It was activated: so are those that were deactivated with it.
    Reactivate,
    /// It was rejected or closed: so are all that are not final.
    End,
}

/// The parent.
#[derive(Debug, Clone, Copy)]
pub enum Parent {
    /// A customer.
    Customer(Uuid),
    /// An account.
    Account(Uuid),
}

impl Parent {
    /// What a child says of who deactivated it.
    pub const fn sleeper(self) -> Sleeper {
        match self {
            Self::Customer(_) => Sleeper::Customer,
            Self::Account(_) => Sleeper::Account,
        }
    }
}

/// Children that follow, oldest first, a batch at a time.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Whose.
    pub parent: Parent,
    /// Which.
    pub follow: Follow,
    /// After this one: where the last batch ended.
    pub after: Option<(Timestamp, Uuid)>,
    /// How many at most.
    pub limit: i64,
}

impl Batch {
    /// Narrows a query over children to them; `live` is the condition of those that are not final.
    pub(super) fn narrow<'q>(&self, query: Query<'q>, live: &'static str) -> Query<'q> {
        let query = match self.follow {
            Follow::Deactivate => query.push(" AND status = 'active'"),
            Follow::Reactivate => {
                query.push(" AND status = 'inactive' AND slept_by = ").push_bind(self.parent.sleeper().as_str())
            }
            Follow::End => query.push(live),
        };
        let query = match self.after {
            Some((at, id)) => query.push(" AND (created_at, id) > (").push_bind(at).push(", ").push_bind(id).push(")"),
            None => query,
        };
        query.push(" ORDER BY created_at, id LIMIT ").push_bind(self.limit)
    }
}
