//! `customerd operator …`: people and internal services that act over gRPC.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use super::acting::act;
use crate::app;
use crate::clock::Clock;
use crate::config::{Common, Span};
use crate::domain::Error;
use crate::domain::operator::{Operator, Role};
use crate::service::{OPERATOR_TOKEN, token_hash};
use crate::store::{Migrations, Store, acts, operators, programmes};

/// What to do with operators.
#[derive(Debug, Subcommand)]
pub enum Operators {
    /// Make an operator; prints its name and token as JSON, the only time the token is shown
    Create {
        /// Its name, which the audit trail and the record of acts show
        #[arg(long)]
        name: String,
        /// What it may call: service, viewer, support, compliance, fulfilment or admin [default: admin]
        #[arg(long)]
        role: Option<Role>,
        /// A programme that it may act for, repeatable; `service` needs it, `admin` refuses it [default: every programme]
        #[arg(long = "programme", value_name = "UUID")]
        programmes: Vec<Uuid>,
        /// How long its token works, such as 90d [default: until it is rotated or revoked]
        #[arg(long, value_name = "TIME")]
        expires: Option<Span>,
    },
    /// List the operators as JSON lines
    List,
    /// Give an operator a new token with the lifetime of the present one, which stops working at once
    Rotate {
        /// The operator
        name: String,
    },
    /// Lock an operator out for good: its token stops working at once
    Revoke {
        /// The operator
        name: String,
    },
}

/// Does it.
///
/// # Errors
///
/// The name is taken, unknown or not printable, role and programmes do not go together, or the database cannot.
pub(super) async fn run(command: Operators, common: &Common) -> anyhow::Result<()> {
    let clock = Clock::system();
    let migrations = match command {
        Operators::Create { .. } => app::made_if_named(common),
        Operators::List => Migrations::Check,
        Operators::Rotate { .. } | Operators::Revoke { .. } => Migrations::Check,
    };
    let store = app::open_store(common, migrations).await?;
    let done = match command {
        Operators::Create { name, role, programmes, expires } => {
            let role = role.unwrap_or_else(|| {
                super::note("without --role the operator is admin, which may do everything; name the role: a later version demands it");
                Role::Admin
            });
            create(&store, &clock, (&name, expires), (role, programmes)).await
        }
        Operators::List => list(&store).await,
        Operators::Rotate { name } => rotate(&store, &clock, &name).await,
        Operators::Revoke { name } => revoke(&store, &clock, &name).await,
    };
    store.close().await?;
    done
}

async fn create(
    store: &Store,
    clock: &Clock,
    (name, expires): (&str, Option<Span>),
    (role, programmes): (Role, Vec<Uuid>),
) -> anyhow::Result<()> {
    let new = Operator::new((clock.id(), clock.now()), name, (role, programmes), expires.map(|span| span.0));
    let operator = new.map_err(|error| explained(&error))?;
    let secret = clock.token(32);
    let mut tx = store.begin().await?;
    if let Some(unknown) = programmes::unknown(&mut tx, &operator.programmes).await? {
        anyhow::bail!("--programme: there is no programme {unknown}");
    }
    let made = operators::insert(&mut tx, &operator, &token_hash(&secret)).await?;
    anyhow::ensure!(made, "there is an operator named {name} already");
    acts::record(&mut tx, &act(clock, "operator.create", name))?;
    tx.commit().await?;
    super::print(&shown(&operator, Some(&secret)).to_string())
}

async fn list(store: &Store) -> anyhow::Result<()> {
    for operator in operators::list(&mut store.reader().await?).await? {
        super::print(&shown(&operator, None).to_string())?;
    }
    Ok(())
}

async fn rotate(store: &Store, clock: &Clock, name: &str) -> anyhow::Result<()> {
    let secret = clock.token(32);
    let mut tx = store.begin().await?;
    let mut operator = operators::lock(&mut tx, name).await?.with_context(|| unknown(name))?;
    operator.rotate(clock.now())?;
    operators::update(&mut tx, &operator, Some(&token_hash(&secret))).await?;
    acts::record(&mut tx, &act(clock, "operator.rotate", name))?;
    tx.commit().await?;
    super::print(&shown(&operator, Some(&secret)).to_string())
}

async fn revoke(store: &Store, clock: &Clock, name: &str) -> anyhow::Result<()> {
    let mut tx = store.begin().await?;
    let mut operator = operators::lock(&mut tx, name).await?.with_context(|| unknown(name))?;
    operator.revoke(clock.now())?;
    operators::update(&mut tx, &operator, None).await?;
    acts::record(&mut tx, &act(clock, "operator.revoke", name))?;
    tx.commit().await?;
    super::print(&shown(&operator, None).to_string())
}

fn unknown(name: &str) -> String {
    format!("there is no operator named {name}")
}

/// What is wrong, by the flags that say it.
fn explained(error: &Error) -> anyhow::Error {
    let flag = |field: &str| if field == "programmes" { "programme".to_owned() } else { field.to_owned() };
    let told = error.violations.iter().map(|fault| format!("--{}: {}", flag(&fault.field), fault.message));
    anyhow::anyhow!("{}", told.collect::<Vec<_>>().join(" "))
}

fn shown(operator: &Operator, secret: Option<&str>) -> Value {
    let at = |time: Option<crate::domain::Timestamp>| time.map(|time| time.to_string());
    let mut shown = json!({"name": operator.name});
    if let Some(secret) = secret {
        shown["token"] = format!("{OPERATOR_TOKEN}{secret}").into();
    }
    shown["role"] = operator.role.as_str().into();
    shown["everyProgramme"] = operator.every_programme.into();
    shown["programmes"] = json!(operator.programmes);
    shown["createdAt"] = operator.created_at.to_string().into();
    shown["rotatedAt"] = at(operator.rotated_at).into();
    shown["expiresAt"] = at(operator.expires_at).into();
    shown["revokedAt"] = at(operator.revoked_at).into();
    shown
}
