//! The card: what it is, and the one table of its moves.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::Timestamp;
use super::account::Sleeper;
use super::address::Address;
use super::error::Error;
use super::event::{Draft, EntityType, members};
pub use super::issued::Issued;

/// Where a card is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Ordered.
    Issuing,
    /// Usable.
    Active,
    /// Asleep.
    Inactive,
    /// Suspended by an operator.
    Suspended,
    /// Blocked for good by an operator.
    Blocked,
    /// It could not be issued.
    IssueFailed,
    /// Terminated for good.
    Terminated,
}

/// What can happen to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// It was issued while its account is awake.
    Issue,
    /// It was issued while its account sleeps.
    IssueAsleep,
    /// It could not be issued.
    Fail,
    /// It is put to sleep.
    Deactivate,
    /// It is woken.
    Activate,
    /// An operator suspends it.
    Suspend,
    /// An operator lifts the suspension while its account is awake.
    Unsuspend,
    /// An operator lifts the suspension while its account sleeps.
    UnsuspendAsleep,
    /// An operator blocks it.
    Block,
    /// It is terminated.
    Terminate,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Issuing,
        Self::Active,
        Self::Inactive,
        Self::Suspended,
        Self::Blocked,
        Self::IssueFailed,
        Self::Terminated,
    ];

    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Suspended => "suspended",
            Self::Blocked => "blocked",
            Self::IssueFailed => "issue_failed",
            Self::Terminated => "terminated",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing can happen to it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Blocked | Self::IssueFailed | Self::Terminated)
    }

    /// Where `by` leads from here; `None` where it is not possible.
    ///
    /// | from \ move | issue (asleep) | fail | deactivate | activate | suspend | unsuspend (asleep) | block | terminate |
    /// |---|---|---|---|---|---|---|---|---|
    /// | issuing | active (inactive) | issue_failed | | | | | | terminated |
    /// | active | | | inactive | | suspended | | | terminated |
    /// | inactive | | | | active | | | | terminated |
    /// | suspended | | | | | | active (inactive) | blocked | terminated |
    /// | blocked, issue_failed, terminated | | | | | | | | |
    pub const fn after(self, by: Move) -> Option<Self> {
        match (self, by) {
            (Self::Issuing, Move::Issue) | (Self::Inactive, Move::Activate) | (Self::Suspended, Move::Unsuspend) => {
                Some(Self::Active)
            }
            (Self::Issuing, Move::IssueAsleep)
            | (Self::Active, Move::Deactivate)
            | (Self::Suspended, Move::UnsuspendAsleep) => Some(Self::Inactive),
            (Self::Issuing, Move::Fail) => Some(Self::IssueFailed),
            (Self::Active, Move::Suspend) => Some(Self::Suspended),
            (Self::Suspended, Move::Block) => Some(Self::Blocked),
            (Self::Issuing | Self::Active | Self::Inactive | Self::Suspended, Move::Terminate) => {
                Some(Self::Terminated)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Move {
    /// Every move.
    pub const ALL: [Self; 10] = [
        Self::Issue,
        Self::IssueAsleep,
        Self::Fail,
        Self::Deactivate,
        Self::Activate,
        Self::Suspend,
        Self::Unsuspend,
        Self::UnsuspendAsleep,
        Self::Block,
        Self::Terminate,
    ];

    /// The move as the cause of an event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issue | Self::IssueAsleep => "issued",
            Self::Fail => "issue_failed",
            Self::Deactivate => "deactivated",
            Self::Activate => "activated",
            Self::Suspend => "suspended",
            Self::Unsuspend | Self::UnsuspendAsleep => "unsuspended",
            Self::Block => "blocked",
            Self::Terminate => "terminated",
        }
    }

    const fn participle(self) -> &'static str {
        if matches!(self, Self::Fail) { "failed" } else { self.as_str() }
    }
}

/// The form of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A number without plastic.
    Virtual,
    /// Plastic, shipped.
    Physical,
}

impl Type {
    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Physical => "physical",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Virtual, Self::Physical].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// UUIDv7.
    pub id: Uuid,
    /// The programme it belongs to.
    pub programme_id: Uuid,
    /// The customer that owns its account.
    pub customer_id: Uuid,
    /// The account that funds it.
    pub account_id: Uuid,
    /// Its form.
    pub card_type: Type,
    /// What issuing gave it; absent until then.
    pub issued: Option<Issued>,
    /// Where its holder is billed.
    pub billing_address: Address,
    /// Where it is shipped; physical cards only.
    pub shipping_address: Option<Address>,
    /// Where it is in its life.
    pub status: Status,
    /// Set while it is inactive because of its account or its customer.
    pub slept_by: Option<Sleeper>,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Starts at 1, one more with every change.
    pub version: i64,
}

impl Card {
    /// Makes `by` happen at `now`: the new status, a version more. Gives the status before. `slept_by` is cleared: a
    /// cascade sets it afterwards.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE_TRANSITION` where the table has no such move; nothing has changed then.
    pub fn make(&mut self, by: Move, now: Timestamp) -> Result<Status, Error> {
        let from = self.status;
        self.status = from.after(by).ok_or_else(|| Error::transition("card", from, by.participle()))?;
        self.slept_by = None;
        self.version += 1;
        self.updated_at = now;
        Ok(from)
    }

    /// The event of a change of this card, which is as it was left by the change.
    pub fn event(&self, from: Option<Status>, cause: impl Into<String>) -> Draft {
        let issued = self.issued.as_ref();
        let view = View {
            id: self.id,
            account_id: self.account_id,
            r#type: self.card_type.as_str(),
            name: issued.map(|issued| issued.name.as_str()),
            network: issued.map(|issued| issued.network.as_str()),
            masked_pan: issued.map(Issued::masked_pan),
            expiration_date: issued.map(|issued| issued.expiration_date.as_str()),
            billing_address: &self.billing_address,
            shipping_address: self.shipping_address.as_ref(),
            status: self.status.as_str(),
            created_at: self.created_at.json(),
            updated_at: self.updated_at.json(),
            version: self.version,
        };
        Draft {
            programme_id: self.programme_id,
            customer_id: self.customer_id,
            entity_type: EntityType::Card,
            entity_id: self.id,
            cause: cause.into(),
            from: from.map(Status::as_str),
            to: self.status.as_str(),
            version: self.version,
            at: self.updated_at,
            entity: members(&view),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: Uuid,
    account_id: Uuid,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_pan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date: Option<&'a str>,
    billing_address: &'a Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipping_address: Option<&'a Address>,
    status: &'static str,
    created_at: String,
    updated_at: String,
    version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's picture, written again as a list: every state times every move.
    #[test]
    fn every_move_from_every_state() {
        let allowed = [
            (Status::Issuing, Move::Issue, Status::Active),
            (Status::Issuing, Move::IssueAsleep, Status::Inactive),
            (Status::Issuing, Move::Fail, Status::IssueFailed),
            (Status::Issuing, Move::Terminate, Status::Terminated),
            (Status::Active, Move::Deactivate, Status::Inactive),
            (Status::Active, Move::Suspend, Status::Suspended),
            (Status::Active, Move::Terminate, Status::Terminated),
            (Status::Inactive, Move::Activate, Status::Active),
            (Status::Inactive, Move::Terminate, Status::Terminated),
            (Status::Suspended, Move::Unsuspend, Status::Active),
            (Status::Suspended, Move::UnsuspendAsleep, Status::Inactive),
            (Status::Suspended, Move::Block, Status::Blocked),
            (Status::Suspended, Move::Terminate, Status::Terminated),
        ];
        for from in Status::ALL {
            for by in Move::ALL {
                let expected = allowed.iter().find(|(f, b, _)| (*f, *b) == (from, by)).map(|(_, _, to)| *to);
                assert_eq!(from.after(by), expected, "{from} {by:?}");
            }
            assert_eq!(from.is_final(), Move::ALL.iter().all(|by| from.after(*by).is_none()), "{from}");
            assert_eq!(Status::parse(from.as_str()), Some(from));
        }
    }
}
