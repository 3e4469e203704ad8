//! The account: what it is, and the one table of its moves.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use uuid::Uuid;

use super::Timestamp;
use super::chain::create2::create2;
use super::chain::{Address, keccak256};
use super::error::Error;
use super::event::{Draft, EntityType, members};

/// Where an account is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Created; the owner has not signed the challenge yet.
    Initiating,
    /// Signed; being deployed.
    Pending,
    /// Deployed and usable.
    Active,
    /// Asleep.
    Inactive,
    /// Closed for good.
    Closed,
    /// It could not be deployed.
    Failed,
}

/// What can happen to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// The owner signed the challenge.
    Sign,
    /// It was deployed while its customer is awake.
    Deploy,
    /// It was deployed while its customer sleeps.
    DeployAsleep,
    /// It could not be deployed.
    Fail,
    /// It is put to sleep.
    Deactivate,
    /// It is woken.
    Activate,
    /// It is closed.
    Close,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 6] =
        [Self::Initiating, Self::Pending, Self::Active, Self::Inactive, Self::Closed, Self::Failed];

    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initiating => "initiating",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing can happen to it any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }

    /// Where `by` leads from here; `None` where it is not possible.
    ///
    /// | from \ move | sign | deploy | deploy asleep | fail | deactivate | activate | close |
    /// |---|---|---|---|---|---|---|---|
    /// | initiating | pending | | | | | | closed |
    /// | pending | | active | inactive | failed | | | closed |
    /// | active | | | | | inactive | | closed |
    /// | inactive | | | | | | active | closed |
    /// | closed, failed | | | | | | | |
    pub const fn after(self, by: Move) -> Option<Self> {
        match (self, by) {
            (Self::Initiating, Move::Sign) => Some(Self::Pending),
            (Self::Pending, Move::Deploy) | (Self::Inactive, Move::Activate) => Some(Self::Active),
            (Self::Pending, Move::DeployAsleep) | (Self::Active, Move::Deactivate) => Some(Self::Inactive),
            (Self::Pending, Move::Fail) => Some(Self::Failed),
            (Self::Initiating | Self::Pending | Self::Active | Self::Inactive, Move::Close) => Some(Self::Closed),
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
    pub const ALL: [Self; 7] =
        [Self::Sign, Self::Deploy, Self::DeployAsleep, Self::Fail, Self::Deactivate, Self::Activate, Self::Close];

    /// The move as the cause of an event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "owner_signed",
            Self::Deploy | Self::DeployAsleep => "deployed",
            Self::Fail => "deployment_failed",
            Self::Deactivate => "deactivated",
            Self::Activate => "activated",
            Self::Close => "closed",
        }
    }

    const fn participle(self) -> &'static str {
        match self {
            Self::Sign => "sent to deployment",
            Self::Deploy | Self::DeployAsleep => "deployed",
            Self::Fail => "failed",
            Self::Deactivate => "deactivated",
            Self::Activate => "activated",
            Self::Close => "closed",
        }
    }
}

/// Who put an account or a card to sleep by a cascade, and will wake it the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sleeper {
    /// The customer's deactivation.
    Customer,
    /// The account's deactivation.
    Account,
}

impl Sleeper {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Account => "account",
        }
    }

    /// The sleeper of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Customer, Self::Account].into_iter().find(|sleeper| sleeper.as_str() == name)
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// UUIDv7.
    pub id: Uuid,
    /// The programme it belongs to.
    pub programme_id: Uuid,
    /// The customer that owns it.
    pub customer_id: Uuid,
    /// Where it is deployed, CAIP-10; absent until then.
    pub chain_id: Option<String>,
    /// Its currency, ISO 4217. The API has a list, of one for now.
    pub currency: String,
    /// Where it is in its life.
    pub status: Status,
    /// Set while it is inactive because of its customer.
    pub slept_by: Option<Sleeper>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Starts at 1, one more with every change.
    pub version: i64,
}

impl Account {
    /// Makes `by` happen at `now`: the new status, a version more. Gives the status before. `slept_by` is cleared: a
    /// cascade sets it afterwards.
    ///
    /// # Errors
    ///
    /// `INVALID_STATE_TRANSITION` where the table has no such move; nothing has changed then.
    pub fn make(&mut self, by: Move, now: Timestamp) -> Result<Status, Error> {
        let from = self.status;
        self.status = from.after(by).ok_or_else(|| Error::transition("account", from, by.participle()))?;
        self.slept_by = None;
        self.version += 1;
        self.updated_at = now;
        Ok(from)
    }

    /// The event of a change of this account, which is as it was left by the change.
    pub fn event(&self, from: Option<Status>, cause: impl Into<String>) -> Draft {
        let view = View {
            id: self.id,
            customer_id: self.customer_id,
            chain_id: self.chain_id.as_deref(),
            r#type: TYPE,
            currencies: [&self.currency],
            status: self.status.as_str(),
            created_at: self.created_at.json(),
            updated_at: self.updated_at.json(),
            version: self.version,
        };
        Draft {
            programme_id: self.programme_id,
            customer_id: self.customer_id,
            entity_type: EntityType::Account,
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

/// The contract that sandbox accounts would be deployed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factory([u8; 20]);

/// The deterministic deployment proxy, which has this address on every EVM chain.
pub const SANDBOX_FACTORY: &str = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
/// What stands for the account contract's init code in the sandbox.
pub const SANDBOX_INIT_CODE: &[u8] = b"customerd sandbox card account";
/// Where accounts of owners are deployed whose own chain has no CREATE2 (Solana): Ethereum's test network Sepolia.
pub const SANDBOX_CHAIN: &str = "eip155:11155111";

impl Factory {
    /// Where it deploys a sandbox account, CAIP-10: on its owner's chain, at the CREATE2 address (EIP-1014) of
    /// [`SANDBOX_INIT_CODE`], the account's id being the last 16 bytes of the salt.
    pub fn chain_id(self, account_id: Uuid, owner: &str) -> String {
        let mut salt = [0; 32];
        salt[16..].copy_from_slice(account_id.as_bytes());
        let address = create2(&self.0, &salt, &keccak256(&[SANDBOX_INIT_CODE]));
        let chain = match owner.rsplit_once(':') {
            Some((chain, _)) if chain.starts_with("eip155:") => chain,
            _ => SANDBOX_CHAIN,
        };
        format!("{chain}:{address}")
    }
}

impl FromStr for Factory {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Address::evm(text)? {
            Address::Evm(bytes) => Ok(Self(bytes)),
            Address::Solana(_) => Err("not an EVM address"),
        }
    }
}

/// The one type of account.
pub const TYPE: &str = "card_account";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    id: Uuid,
    customer_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<&'a str>,
    r#type: &'a str,
    currencies: [&'a str; 1],
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
            (Status::Initiating, Move::Sign, Status::Pending),
            (Status::Initiating, Move::Close, Status::Closed),
            (Status::Pending, Move::Deploy, Status::Active),
            (Status::Pending, Move::DeployAsleep, Status::Inactive),
            (Status::Pending, Move::Fail, Status::Failed),
            (Status::Pending, Move::Close, Status::Closed),
            (Status::Active, Move::Deactivate, Status::Inactive),
            (Status::Active, Move::Close, Status::Closed),
            (Status::Inactive, Move::Activate, Status::Active),
            (Status::Inactive, Move::Close, Status::Closed),
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

    #[test]
    fn sandbox_accounts_have_addresses_of_their_own_on_their_owners_chain() {
        let factory: Factory = SANDBOX_FACTORY.parse().unwrap();
        let at = |id, owner| factory.chain_id(Uuid::from_u128(id), owner);
        let owner = "eip155:8453:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";
        let solana = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv";
        // By another implementation of Keccak.
        assert_eq!(at(1, owner), "eip155:8453:0x5682c205e580657a104A8F8475C0F92994aa6E1D");
        let address = |account: String| account.rsplit_once(':').map(|(_, address)| address.to_owned());
        assert_eq!(address(at(1, solana)), address(at(1, owner)));
        assert_eq!(at(1, solana).rsplit_once(':').map(|(chain, _)| chain.to_owned()).as_deref(), Some(SANDBOX_CHAIN));
        assert_ne!(at(2, owner), at(1, owner));
        assert!(at(2, owner).parse::<crate::domain::chain::ChainAccount>().is_ok());
        let other: Factory = "0xdeadbeef00000000000000000000000000000000".parse().unwrap();
        assert_ne!(other.chain_id(Uuid::from_u128(1), owner), at(1, owner));
        assert!("0x4E59b44847b379578588920cA78FbF26c0B4956C".parse::<Factory>().is_err(), "EIP-55");
    }
}
