//! Operators: people and internal services that act over gRPC, what their role lets them do, and when that ends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use super::error::{Code, Error, Violation};
use super::{Timestamp, text};

/// Characters of a name at most.
const NAME: usize = 64;
/// Programmes that one operator may be limited to at most.
const PROGRAMMES: usize = 1000;

/// What an operator may call. Which call is open to which role is said in the proto: `option (customerd.v1.access)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// What a programme may call, for the programmes it names.
    Service,
    /// Reads.
    Viewer,
    /// Reads, and sends deliveries again.
    Support,
    /// Reads, decides, rejects, suspends and blocks.
    Compliance,
    /// Claims and completes deployments and issuances.
    Fulfilment,
    /// Everything, programmes and operators included.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Viewer, Self::Support, Self::Compliance, Self::Fulfilment, Self::Admin];

    /// The name on the command line and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Viewer => "viewer",
            Self::Support => "support",
            Self::Compliance => "compliance",
            Self::Fulfilment => "fulfilment",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// UUIDv7.
    pub id: Uuid,
    /// The name that the audit trail and the acts show. Never given to another operator.
    pub name: String,
    /// What it may call.
    pub role: Role,
    /// Whether it may act for every programme.
    pub every_programme: bool,
    /// The programmes that it may act for where it may not for every one, sorted.
    pub programmes: Vec<Uuid>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its token was last replaced.
    pub rotated_at: Option<Timestamp>,
    /// When its token stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl Operator {
    /// A new operator, whose token works for `lifetime`, or until it is revoked.
    ///
    /// # Errors
    ///
    /// Violations of `name`, `programmes` and `expires`.
    pub fn new(
        (id, now): (Uuid, Timestamp),
        name: &str,
        (role, mut programmes): (Role, Vec<Uuid>),
        lifetime: Option<Duration>,
    ) -> Result<Self, Error> {
        let mut violations = Self::check_name(name).err().map_or_else(Vec::new, |error| error.violations);
        programmes.sort_unstable();
        programmes.dedup();
        let mut refuse = |field: &str, code, message: &str| {
            violations.push(Violation { field: field.into(), code, message: message.into() });
        };
        match (role, programmes.len()) {
            (Role::Service, 0) => {
                refuse("programmes", "REQUIRED", "The role service needs the programmes that it acts for.");
            }
            (Role::Admin, 1..) => {
                refuse("programmes", "INVALID_VALUE", "The role admin is for every programme: name none.");
            }
            (_, count) if count > PROGRAMMES => refuse("programmes", "TOO_LONG", "Must be at most 1000."),
            _ => {}
        }
        let expires_at = lifetime.map(|lifetime| now + lifetime);
        if expires_at.is_some_and(|at| at <= now || Timestamp::in_calendar(at.micros()).is_none()) {
            refuse("expires", "OUT_OF_RANGE", "Must be longer than zero and end before the year 10000.");
        }
        if !violations.is_empty() {
            return Err(Error::violations(violations));
        }
        Ok(Self {
            id,
            name: name.to_owned(),
            role,
            every_programme: programmes.is_empty(),
            programmes,
            created_at: now,
            rotated_at: None,
            expires_at,
            revoked_at: None,
        })
    }

    /// Checks a name: 1 to 64 printable characters.
    ///
    /// # Errors
    ///
    /// A violation of `name`.
    pub fn check_name(name: &str) -> Result<(), Error> {
        text::printable("name", name, NAME)
    }

    /// Whether it may call at all.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether it may act for a programme.
    pub fn may_name(&self, programme_id: Uuid) -> bool {
        self.only_programmes().is_none_or(|programmes| programmes.binary_search(&programme_id).is_ok())
    }

    /// The programmes that it is limited to; `None` where it is not. A list that has lost its rows is a limit all the same.
    pub fn only_programmes(&self) -> Option<&[Uuid]> {
        (!self.every_programme).then_some(&self.programmes)
    }

    /// A new token replaces the present one and has its lifetime.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE_TRANSITION` when the operator was revoked.
    pub fn rotate(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.revoked_at.is_some() {
            return Err(revoked("The operator was revoked, so it cannot be given a new token."));
        }
        let issued_at = self.rotated_at.unwrap_or(self.created_at);
        self.expires_at = self.expires_at.map(|at| now + at.since(issued_at));
        self.rotated_at = Some(now);
        Ok(())
    }

    /// Its token stops working, for good.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE_TRANSITION` when it was revoked before.
    pub fn revoke(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.revoked_at.is_some() {
            return Err(revoked("The operator was revoked before."));
        }
        self.revoked_at = Some(now);
        Ok(())
    }

    /// Nobody has this name.
    pub fn not_found() -> Error {
        Error::new(Code::OperatorNotFound, "There is no operator of that name.")
    }
}

fn revoked(detail: &str) -> Error {
    Error::new(Code::InvalidStateTransition, detail).with("currentStatus", "revoked")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_767_323_045_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn operator(role: Role, programmes: &[u128], lifetime: Option<Duration>) -> Result<Operator, Error> {
        let programmes = programmes.iter().copied().map(Uuid::from_u128).collect();
        Operator::new((Uuid::from_u128(9), NOW), "desk", (role, programmes), lifetime)
    }

    #[test]
    fn service_needs_programmes_and_admin_refuses_them() {
        for role in Role::ALL {
            let (none, one) = (operator(role, &[], None), operator(role, &[1], None));
            assert_eq!((none.is_ok(), one.is_ok()), (role != Role::Service, role != Role::Admin), "{role}");
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        let limited = operator(Role::Viewer, &[3, 1, 3], None).unwrap();
        assert_eq!(limited.programmes, [1, 3].map(Uuid::from_u128));
        assert!(limited.may_name(Uuid::from_u128(3)) && !limited.may_name(Uuid::from_u128(2)));
        assert!(operator(Role::Viewer, &[], None).unwrap().may_name(Uuid::from_u128(2)));
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Admin) {
            let lost = Operator { programmes: Vec::new(), ..operator(role, &[1], None).unwrap() };
            assert!(!lost.may_name(Uuid::from_u128(1)), "{role}");
            assert_eq!(lost.only_programmes(), Some(&[][..]), "{role}");
        }
    }

    #[test]
    fn a_new_token_lives_as_long_as_the_one_before() {
        let mut operator = operator(Role::Viewer, &[], Some(DAY * 90)).unwrap();
        assert!(operator.is_live(NOW + DAY * 89) && !operator.is_live(NOW + DAY * 90));
        let later = NOW + DAY * 100;
        operator.rotate(later).unwrap();
        assert_eq!((operator.rotated_at, operator.expires_at), (Some(later), Some(later + DAY * 90)));
        operator.revoke(later).unwrap();
        assert!(!operator.is_live(later));
        assert_eq!(operator.revoke(later).unwrap_err().code, Code::InvalidStateTransition);
        assert_eq!(operator.rotate(later).unwrap_err().code, Code::InvalidStateTransition);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error =
            Operator::new((Uuid::nil(), NOW), " ", (Role::Service, Vec::new()), Some(Duration::MAX)).unwrap_err();
        let fields: Vec<_> = error.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["name", "programmes", "expires"]);
        assert!(operator(Role::Viewer, &[], Some(Duration::ZERO)).is_err());
    }
}
