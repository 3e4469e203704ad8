//! `customerd keys …`: the service's own keys. None of them is ever shown.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::acting;
use crate::app::{self, encryption};
use crate::clock::Clock;
use crate::config::{Common, Span};
use crate::domain::Timestamp;
use crate::store::acts::{self, Act};
use crate::store::keyring::{self, Purpose, ServiceKey};
use crate::store::{self, Change, Migrations, Store, Tx};

/// What to do with the service's keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// List the keys as JSON lines: id, purpose, state, since when, until when. Never the keys
    List,
    /// Let a new key take over at once, on every node; the old one goes on for a while. Prints the new key's id as JSON
    Rotate {
        /// Which key
        #[arg(value_enum)]
        key: Which,
        /// How long what the old key has signed goes on being accepted; 0s after it was lost [default: jwt and
        /// fingerprint 1h, webhook 24h, links 30d, cursor 366d]
        #[arg(long, value_name = "TIME", value_parser = Span::or_none)]
        overlap: Option<Span>,
    },
}

/// A key that can be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Signs bearer tokens
    Jwt,
    /// Signs webhooks (RFC 9421); its public half is in the JWKS
    Webhook,
    /// Signs verification links
    Links,
    /// Binds an idempotency key to its request
    Fingerprint,
    /// Seals cursors of the event stream
    Cursor,
    /// Seals the secrets in the database: seals all of them again, in small transactions
    Encryption,
}

/// Does it.
///
/// # Errors
///
/// The database cannot, or the key file cannot be written.
pub(super) async fn run(command: Keys, common: &Common) -> anyhow::Result<()> {
    let store = app::open_store(common, Migrations::Check).await?;
    let done = act(command, common, &store).await;
    store.close().await?;
    done
}

async fn act(command: Keys, common: &Common, store: &Store) -> anyhow::Result<()> {
    let clock = Clock::system();
    let (key, overlap) = match command {
        Keys::List => return list(store, &clock).await,
        Keys::Rotate { key, overlap } => (key, overlap),
    };
    let purpose = match key {
        Which::Jwt => Purpose::Jwt,
        Which::Webhook => Purpose::Webhook,
        Which::Links => Purpose::Links,
        Which::Fingerprint => Purpose::Fingerprint,
        Which::Cursor => Purpose::Cursor,
        Which::Encryption => {
            anyhow::ensure!(overlap.is_none(), "--overlap: every value is sealed again before the command ends");
            return rotate_encryption(store, common, &clock).await;
        }
    };
    let fresh = ServiceKey::fresh(purpose, &clock)?;
    let until = fresh.created_at + overlap.map_or_else(|| purpose.overlap(), |Span(overlap)| overlap);
    let act = acting::act(&clock, "key.rotate", purpose.as_str());
    let rotation = Rotation { fresh, until, act };
    store.transact(&rotation).await?;
    let line = json!({"kid": rotation.fresh.kid, "purpose": purpose.as_str(), "earlierVerifyUntil": until.to_string()});
    super::print(&line.to_string())
}

async fn list(store: &Store, clock: &Clock) -> anyhow::Result<()> {
    for key in keyring::load(&mut store.reader().await?, clock.now()).await? {
        let line = json!({
            "kid": key.kid,
            "purpose": key.purpose.as_str(),
            "state": if key.signs() { "signs" } else { "verifies" },
            "createdAt": key.created_at.to_string(),
            "verifiesUntil": key.verifies_until.map(|until| until.to_string()),
        });
        super::print(&line.to_string())?;
    }
    for (index, id) in store.sealer().keyring().ids().into_iter().enumerate() {
        let state = if index == 0 { "seals" } else { "opens" };
        super::print(&json!({"kid": id.to_string(), "purpose": "encryption", "state": state}).to_string())?;
    }
    Ok(())
}

struct Rotation {
    fresh: ServiceKey,
    until: Timestamp,
    act: Act,
}

impl Change for Rotation {
    type Out = ();
    type Error = store::Error;

    async fn apply(&self, tx: &mut Tx) -> Result<(), store::Error> {
        keyring::rotate(tx, &self.fresh, self.until).await?;
        acts::record(tx, &self.act)
    }
}

async fn rotate_encryption(store: &Store, common: &Common, clock: &Clock) -> anyhow::Result<()> {
    let rotated = encryption::rotate(store, common, clock).await?;
    let mut tx = store.begin().await?;
    acts::record(&mut tx, &acting::act(clock, "key.rotate", "encryption"))?;
    tx.commit().await?;
    let unused: Vec<_> = rotated.unused.iter().map(ToString::to_string).collect();
    let line =
        json!({"kid": rotated.key.to_string(), "purpose": "encryption", "sealed": rotated.sealed, "unused": unused});
    super::print(&line.to_string())?;
    super::note(
        "Keys under \"unused\" open nothing in this database any more. Backups made before need them: take their lines out of \
         the key file when those are gone.",
    );
    Ok(())
}
