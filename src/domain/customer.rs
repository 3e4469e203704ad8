//! The customer: what it is, and the one table of its moves.

use std::fmt;

use uuid::Uuid;

use super::error::Error;
use super::{Timestamp, text};

/// Where a customer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Created; the ownership challenge is not signed yet.
    Initiating,
    /// Ownership is proven; the account is being screened.
    Screening,
    /// Screening is clear; identity verification is under way.
    Verifying,
    /// Onboarded.
    Active,
    /// Put to sleep.
    Inactive,
    /// Refused for good.
    Rejected,
}

/// What can happen to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// The challenge was signed by the account's key.
    ProveOwnership,
    /// Screening found nothing.
    Clear,
    /// Identity verification passed.
    Approve,
    /// The programme puts it to sleep.
    Deactivate,
    /// The programme wakes it.
    Activate,
    /// Screening, the identity partner or an operator refuses it.
    Reject,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 6] =
        [Self::Initiating, Self::Screening, Self::Verifying, Self::Active, Self::Inactive, Self::Rejected];

    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiating => "initiating",
            Self::Screening => "screening",
            Self::Verifying => "verifying",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Rejected => "rejected",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Where `by` leads from here; `None` where it is not possible.
    ///
    /// | from \ move | prove ownership | clear | approve | deactivate | activate | reject |
    /// |---|---|---|---|---|---|---|
    /// | initiating | screening | | | | | |
    /// | screening | | verifying | | | | rejected |
    /// | verifying | | | active | | | rejected |
    /// | active | | | | inactive | | rejected |
    /// | inactive | | | | | active | rejected |
    /// | rejected | | | | | | |
    pub const fn after(self, by: Move) -> Option<Self> {
        match (self, by) {
            (Self::Initiating, Move::ProveOwnership) => Some(Self::Screening),
            (Self::Screening, Move::Clear) => Some(Self::Verifying),
            (Self::Verifying, Move::Approve) | (Self::Inactive, Move::Activate) => Some(Self::Active),
            (Self::Active, Move::Deactivate) => Some(Self::Inactive),
            (Self::Screening | Self::Verifying | Self::Active | Self::Inactive, Move::Reject) => Some(Self::Rejected),
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
    pub const ALL: [Self; 6] =
        [Self::ProveOwnership, Self::Clear, Self::Approve, Self::Deactivate, Self::Activate, Self::Reject];

    /// The move as the cause of an event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProveOwnership => "ownership_proven",
            Self::Clear => "screening_clear",
            Self::Approve => "kyc_approved",
            Self::Deactivate => "deactivated",
            Self::Activate => "activated",
            Self::Reject => "rejected",
        }
    }

    const fn participle(self) -> &'static str {
        match self {
            Self::ProveOwnership => "signed for",
            Self::Clear => "cleared",
            Self::Approve => "approved",
            Self::Deactivate => "deactivated",
            Self::Activate => "activated",
            Self::Reject => "rejected",
        }
    }
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// UUIDv7.
    pub id: Uuid,
    /// The programme it belongs to.
    pub programme_id: Uuid,
    /// The programme's own id.
    pub external_id: String,
    /// CAIP-10 account id, canonical.
    pub chain_id: String,
    /// Where it is in its life.
    pub status: Status,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Starts at 1, one more with every change.
    pub version: i64,
}

impl Customer {
    /// Makes `by` happen at `now`: the new status, a version more. Gives the status before.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE_TRANSITION` where the table has no such move; nothing has changed then.
    pub fn make(&mut self, by: Move, now: Timestamp) -> Result<Status, Error> {
        let from = self.status;
        self.status = from.after(by).ok_or_else(|| Error::transition("customer", from, by.participle()))?;
        self.version += 1;
        self.updated_at = now;
        Ok(from)
    }
}

/// Checks the programme's own id of a customer: 1 to 128 printable characters, no space at either end.
///
/// # Errors
///
/// A violation of `field`.
pub fn external_id(field: &str, value: &str) -> Result<(), Error> {
    text::printable(field, value, 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's picture, written again as a list: every state times every move.
    #[test]
    fn every_move_from_every_state() {
        let allowed = [
            (Status::Initiating, Move::ProveOwnership, Status::Screening),
            (Status::Screening, Move::Clear, Status::Verifying),
            (Status::Screening, Move::Reject, Status::Rejected),
            (Status::Verifying, Move::Approve, Status::Active),
            (Status::Verifying, Move::Reject, Status::Rejected),
            (Status::Active, Move::Deactivate, Status::Inactive),
            (Status::Active, Move::Reject, Status::Rejected),
            (Status::Inactive, Move::Activate, Status::Active),
            (Status::Inactive, Move::Reject, Status::Rejected),
        ];
        for from in Status::ALL {
            for by in Move::ALL {
                let expected = allowed.iter().find(|(f, b, _)| (*f, *b) == (from, by)).map(|(_, _, to)| *to);
                assert_eq!(from.after(by), expected, "{from} {by:?}");
            }
        }
    }

    #[test]
    fn a_refused_move_changes_nothing_and_names_the_present_state() {
        let mut customer = Customer {
            id: Uuid::nil(),
            programme_id: Uuid::nil(),
            external_id: "u-1".into(),
            chain_id: "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".into(),
            status: Status::Active,
            created_at: Timestamp(1),
            updated_at: Timestamp(1),
            version: 4,
        };
        let before = customer.clone();
        let error = customer.make(Move::Activate, Timestamp(2)).unwrap_err();
        assert_eq!(customer, before);
        assert_eq!(error.extra, [("currentStatus", "active".to_owned())]);
        assert_eq!(customer.make(Move::Deactivate, Timestamp(2)), Ok(Status::Active));
        assert_eq!((customer.status, customer.version, customer.updated_at), (Status::Inactive, 5, Timestamp(2)));
    }

    #[test]
    fn names_are_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("Active"), None);
    }
}
