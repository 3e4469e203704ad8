//! `customerd customer …`: what operators decide about customers.

use anyhow::{Context as _, ensure};
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::acting::act;
use crate::app;
use crate::clock::Clock;
use crate::config::Common;
use crate::domain::address::no_card_number;
use crate::domain::customer::Status;
use crate::domain::event::Origin;
use crate::domain::text;
use crate::lifecycle::decision::{self, Decision};
use crate::store::acts::{self, Act};
use crate::store::{Migrations, customers};

/// Characters of a reason at most.
const REASON: usize = 256;

/// What to do with customers.
#[derive(Debug, Subcommand)]
pub enum Customer {
    /// Approve or reject the identity of a customer who is verifying; prints the customer's new status as JSON
    #[command(group(clap::ArgGroup::new("decision").required(true).args(["approve", "reject"])))]
    Decide {
        /// The customer
        #[arg(long, value_name = "UUID")]
        id: Uuid,
        /// The customer becomes active
        #[arg(long)]
        approve: bool,
        /// The customer is rejected, for good
        #[arg(long)]
        reject: bool,
        /// Why: for operators, not for the partner
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Does it.
///
/// # Errors
///
/// There is no such customer, or it is not verifying, the reason is not printable, or the database cannot.
pub(super) async fn run(command: Customer, common: &Common) -> anyhow::Result<()> {
    let Customer::Decide { id, approve, reason, reject: _ } = command;
    text::printable("reason", &reason, REASON).and_then(|()| no_card_number("reason", &reason)).map_err(|error| {
        anyhow::anyhow!("--reason: {}", error.violations.first().map_or("", |v| v.message.as_str()))
    })?;
    let clock = Clock::system();
    let store = app::open_store(common, Migrations::Check).await?;
    let mut tx = store.begin().await?;
    let mut held = customers::lock(&mut tx, id).await?.with_context(|| format!("there is no customer {id}"))?;
    let status = held.customer.status;
    ensure!(
        status == Status::Verifying,
        "customer {id} is {status}: only a customer who is verifying can be approved or rejected by this command"
    );
    let programme_id = Some(held.customer.programme_id);
    let act = act(&clock, "customer.decide_verification", &id.to_string());
    let origin = Origin::internal(&act.actor);
    decision::decide(&mut tx, &mut held, Decision { approve, reason: &reason, origin: &origin }, &clock).await?;
    acts::record(&mut tx, &Act { programme_id, reason: Some(reason), ..act })?;
    tx.commit().await?;
    store.close().await?;
    super::print(&json!({"customerId": id, "status": held.customer.status.as_str()}).to_string())
}
