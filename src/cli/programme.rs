//! `customerd programme …`: partners and their credentials.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use crate::app::{self, create_programme};
use crate::clock::Clock;
use crate::config::Common;
use crate::service::hash_secret;
use crate::signature::PublicKey;
use crate::store::signing_keys::SigningKey;
use crate::store::{Migrations, Store, programmes, signing_keys};

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
    /// Lock a programme out: its tokens and keys stop working at once
    Disable {
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
    let store = app::open_store(common, Migrations::Run).await?;
    let done = act(command, common, &store).await;
    store.close().await?;
    done
}

async fn act(command: Programme, common: &Common, store: &Store) -> anyhow::Result<()> {
    let clock = Clock::system();
    match command {
        Programme::Create { name, sandbox } => {
            let listen = &common.listen;
            let public = listen.public_urls(listen.http_addr, false);
            let origin = public.first().context("--public-url")?.as_str().trim_end_matches('/').to_owned();
            let addresses = (format!("{origin}/v1"), app::local(listen.grpc_addr).to_string());
            let profile = create_programme(store, &clock, (&name, sandbox), addresses).await?;
            super::print(&serde_json::to_string_pretty(&profile)?)
        }
        Programme::List => list(store).await,
        Programme::RotateSecret { id } => rotate(store, &clock, id).await,
        Programme::AddKey { id, public_key } => {
            let pem = std::fs::read_to_string(&public_key)
                .with_context(|| format!("cannot read {}", public_key.display()))?;
            add_key(store, &clock, id, &pem).await
        }
        Programme::Disable { id } => {
            let mut tx = store.begin().await?;
            anyhow::ensure!(programmes::disable(&mut tx, id, clock.now()).await?, "there is no programme {id}");
            tx.commit().await?;
            super::print(&json!({"programmeId": id, "disabled": true}).to_string())
        }
    }
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
    tx.commit().await?;
    super::print(&serde_json::to_string_pretty(&json!({"programmeId": id, "apiKey": api_key, "apiSecret": secret}))?)
}

async fn add_key(store: &Store, clock: &Clock, id: Uuid, pem: &str) -> anyhow::Result<()> {
    let public = PublicKey::parse(pem)?;
    let key = SigningKey {
        key_id: clock.id().to_string(),
        algorithm: public.algorithm().name().to_owned(),
        public_key: public.spki_der().to_vec(),
        created_at: clock.now(),
    };
    let mut tx = store.begin().await?;
    anyhow::ensure!(programmes::get(&mut tx, id).await?.is_some(), "there is no live programme {id}");
    anyhow::ensure!(signing_keys::insert(&mut tx, id, &key).await?, "the programme has this key already");
    tx.commit().await?;
    super::print(&json!({"programmeId": id, "keyId": key.key_id, "algorithm": key.algorithm}).to_string())
}
