//! `customerd operator …`: internal services that may act for any programme over gRPC.

use clap::Subcommand;
use serde_json::json;

use crate::app;
use crate::clock::Clock;
use crate::config::Common;
use crate::domain::text;
use crate::service::{OPERATOR_TOKEN, token_hash};
use crate::store::{Migrations, operators};

/// What to do with operators.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Make an operator; prints its name and token as JSON, the only time the token is shown
    Create {
        /// Its name, which the audit trail shows
        #[arg(long)]
        name: String,
    },
}

/// Does it.
///
/// # Errors
///
/// The name is taken or not printable, or the database cannot.
pub(super) async fn run(command: Operator, common: &Common) -> anyhow::Result<()> {
    let Operator::Create { name } = command;
    text::printable("name", &name, 64).map_err(|error| {
        anyhow::anyhow!("the name: {}", error.violations.first().map_or("", |v| v.message.as_str()))
    })?;
    let clock = Clock::system();
    let store = app::open_store(common, Migrations::Run).await?;
    let secret = clock.token(32);
    let mut tx = store.begin().await?;
    let made = operators::insert(&mut tx, clock.id(), (&name, &token_hash(&secret)), clock.now()).await?;
    anyhow::ensure!(made, "there is an operator named {name} already");
    tx.commit().await?;
    store.close().await?;
    super::print(&json!({"name": name, "token": format!("{OPERATOR_TOKEN}{secret}")}).to_string())
}
