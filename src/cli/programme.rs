//! `customerd programme …`: partners and their credentials.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::acting;
use crate::app::{self, NewPartner, enrol};
use crate::clock::Clock;
use crate::config::Common;
use crate::service::hash_secret;
use crate::signature::PublicKey;
use crate::store::acts::{self, Act};
use crate::store::signing_keys::SigningKey;
use crate::store::{self, Migrations, Store, Tx, programmes, signing_keys};

/// What to do with programmes.
#[derive(Debug, Subcommand)]
pub enum Programme {
    /// Make a programme; prints its profile as JSON, the only time its secrets are shown
    Create {
        /// A name for people
        #[arg(long)]
        name: String,
        /// A sandbox programme: simulator, sandbox portal, private callback addresses
        #[arg(long)]
        sandbox: bool,
        /// The partner's public key, SubjectPublicKeyInfo in PEM: it keeps the private one. Without it a key pair is made,
        /// and the profile has the private key
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Let it have the name of another programme
        #[arg(long)]
        allow_duplicate_name: bool,
    },
    /// List the programmes as JSON lines
    List,
    /// Give a programme a new API key and secret; every token of the old ones dies. Prints them as JSON
    RotateSecret {
        /// The programme
        #[arg(long, value_name = "UUID")]
        id: Uuid,
    },
    /// Register a public key (PEM file) for a programme's signatures; prints its keyid as JSON
    AddKey {
        /// The programme
        #[arg(long, value_name = "UUID")]
        id: Uuid,
        /// SubjectPublicKeyInfo, PEM
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
    },
    /// Lock a programme out: its tokens and keys stop working at once, its streams end, its webhooks pause. Screening and
    /// verification of its customers go on. Operators may read it, reject its customers, report deployments and issuances
    /// that they claimed before, and enable it
    Disable {
        /// The programme
        #[arg(long, value_name = "UUID")]
        id: Uuid,
    },
    /// Let a programme in again: its credentials and keys work as before, with new tokens, and its webhooks go on
    Enable {
        /// The programme
        #[arg(long, value_name = "UUID")]
        id: Uuid,
    },
}

/// Does it.
///
/// # Errors
///
/// The database cannot, or there is no such programme.
pub(super) async fn run(command: Programme, common: &Common) -> anyhow::Result<()> {
    let migrations = match command {
        Programme::Create { .. } => app::made_if_named(common),
        Programme::List => Migrations::Check,
        _ => Migrations::Check,
    };
    let store = app::open_store(common, migrations).await?;
    let done = act(command, common, &store).await;
    store.close().await?;
    done
}

async fn act(command: Programme, common: &Common, store: &Store) -> anyhow::Result<()> {
    let clock = Clock::system();
    match command {
        Programme::Create { name, sandbox, public_key, allow_duplicate_name } => {
            let public_key = public_key.map(|file| key_of(&file)).transpose()?;
            let listen = &common.listen;
            let public = listen.public_urls(listen.http_addr, false);
            let origin = public.first().context("--public-url")?.as_str().trim_end_matches('/').to_owned();
            let addresses = (format!("{origin}/v1"), app::local(listen.grpc_addr).to_string());
            let act = Some(acting::act(&clock, "programme.create", ""));
            let new = NewPartner { name: &name, sandbox, public_key, credentials: None, allow_duplicate_name, act };
            let profile = enrol(store, &clock, new, addresses).await?.with_context(|| {
                format!("there is a programme named {name} already: choose another name, or insist with --allow-duplicate-name")
            })?;
            super::print(&serde_json::to_string_pretty(&profile)?)
        }
        Programme::List => list(store).await,
        Programme::RotateSecret { id } => rotate(store, &clock, id).await,
        Programme::AddKey { id, public_key } => add_key(store, &clock, id, &key_of(&public_key)?).await,
        Programme::Disable { id } => set_disabled(store, &clock, id, true).await,
        Programme::Enable { id } => set_disabled(store, &clock, id, false).await,
    }
}

async fn set_disabled(store: &Store, clock: &Clock, id: Uuid, disabled: bool) -> anyhow::Result<()> {
    let (act, state) = if disabled { ("programme.disable", "disabled") } else { ("programme.enable", "enabled") };
    let mut tx = store.begin().await?;
    if !programmes::set_disabled(&mut tx, id, disabled, clock.now()).await? {
        anyhow::ensure!(programmes::listed(&mut tx, id).await?.is_some(), "there is no programme {id}");
        anyhow::bail!("the programme {id} is {state} already");
    }
    record(&mut tx, clock, (act, id)).await?;
    tx.commit().await?;
    super::print(&json!({"programmeId": id, "disabled": disabled}).to_string())
}

/// Records who did this to a programme.
async fn record(tx: &mut Tx, clock: &Clock, (act, id): (&str, Uuid)) -> Result<(), store::Error> {
    let act = Act { programme_id: Some(id), ..acting::act(clock, act, &id.to_string()) };
    acts::record(tx, &act)
}

/// The public key in a PEM file.
fn key_of(file: &Path) -> anyhow::Result<PublicKey> {
    let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    PublicKey::parse(&pem).with_context(|| file.display().to_string())
}

async fn list(store: &Store) -> anyhow::Result<()> {
    for programme in programmes::list(&mut store.reader().await?).await? {
        let line = json!({
            "programmeId": programme.id,
            "name": programme.name,
            "sandbox": programme.sandbox,
            "disabled": programme.disabled,
            "apiKey": programme.api_key,
            "createdAt": programme.created_at.to_string(),
        });
        super::print(&line.to_string())?;
    }
    Ok(())
}

async fn rotate(store: &Store, clock: &Clock, id: Uuid) -> anyhow::Result<()> {
    let api_key = uuid::Builder::from_random_bytes(clock.random()).into_uuid();
    let secret = clock.token(32);
    let hash = hash_secret(secret.as_str().into(), clock.random()).await?;
    let mut tx = store.begin().await?;
    anyhow::ensure!(programmes::get(&mut tx, id).await?.is_some(), "there is no live programme {id}");
    programmes::set_credentials(&mut tx, id, Some((api_key, &hash)), clock.now()).await?;
    record(&mut tx, clock, ("programme.rotate_secret", id)).await?;
    tx.commit().await?;
    super::print(&serde_json::to_string_pretty(&json!({"programmeId": id, "apiKey": api_key, "apiSecret": secret}))?)
}

async fn add_key(store: &Store, clock: &Clock, id: Uuid, public: &PublicKey) -> anyhow::Result<()> {
    let key = SigningKey {
        key_id: clock.id().to_string(),
        algorithm: public.algorithm().name().to_owned(),
        public_key: public.spki_der().to_vec(),
        created_at: clock.now(),
    };
    let mut tx = store.begin().await?;
    anyhow::ensure!(programmes::get(&mut tx, id).await?.is_some(), "there is no live programme {id}");
    anyhow::ensure!(signing_keys::insert(&mut tx, id, &key).await?, "the programme has this key already");
    record(&mut tx, clock, ("programme.add_key", id)).await?;
    tx.commit().await?;
    super::print(&json!({"programmeId": id, "keyId": key.key_id, "algorithm": key.algorithm}).to_string())
}
