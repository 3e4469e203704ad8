//! The one way by which an account moves, whoever moves it: see [`moves`](super::moves).

use super::accounts::{self, Held};
use super::cascade::{Cascade, Parent, What};
use super::moves::{NotMoved, Step, cause};
use super::tasks::{self, Kind, NewTask};
use super::{Error, Tx, events, programmes};
use crate::clock::Clock;
use crate::domain::account::{Move, Sleeper, Status};
use crate::domain::{self, Timestamp, customer};

/// Moves an account that `tx` holds: changes and writes it, records the event, asks for its deployment when its owner has
/// signed, which also uses up the challenge, and lets its cards follow.
///
/// [`Move::Deploy`] becomes [`Move::DeployAsleep`] while the customer sleeps. The caller sets `chain_id` beforehand.
///
/// # Errors
///
/// [`NotMoved`]: where its status does not allow the move, and for [`Move::Activate`] under a customer that is not active.
pub async fn make(tx: &mut Tx, held: &mut Held, step: Step<'_, Move>, clock: &Clock) -> Result<(), NotMoved> {
    let awake = held.customer.customer.status == customer::Status::Active;
    let by = match step.by {
        Move::Deploy if !awake => Move::DeployAsleep,
        by => by,
    };
    if by == Move::Activate && held.account.status == Status::Inactive && !awake {
        return Err(domain::Error::asleep("account", "customer", held.customer.customer.status).into());
    }
    let now = clock.now().max(held.account.updated_at).max(held.customer.customer.updated_at);
    let was_pending = held.account.status == Status::Pending;
    let from = held.account.make(by, now)?;
    if by == Move::DeployAsleep {
        held.account.slept_by = Some(Sleeper::Customer);
    }
    let draft = held.account.event(Some(from), cause(by.as_str(), step.reason));
    let event = held.customer.chain.append((clock.id(), now), draft, step.origin);
    events::insert(tx, &[event]).await?;
    if was_pending {
        tasks::withdraw(tx, &[held.account.id]).await?;
    }
    match by {
        Move::Sign | Move::Close => held.challenge = None,
        _ => {}
    }
    if by == Move::Sign {
        ask(tx, held, now).await?;
    }
    let what = match by {
        Move::Deactivate => Some(What::Sleep),
        Move::Activate => Some(What::Wake),
        Move::Close => Some(What::End),
        Move::Sign | Move::Deploy | Move::DeployAsleep | Move::Fail => None,
    };
    if let Some(what) = what {
        let parent = Parent::Account(held.account.id);
        Cascade { parent, what, now, origin: step.origin, clock }.run(tx, &mut held.customer.chain).await?;
    }
    accounts::update(tx, held).await?;
    Ok(())
}

/// Asks for the deployment: of the worker in a sandbox, of the deployment service elsewhere.
async fn ask(tx: &mut Tx, held: &Held, now: Timestamp) -> Result<(), Error> {
    let account = &held.account;
    let sandbox = programmes::get(tx, account.programme_id).await?.is_some_and(|programme| programme.sandbox);
    let task = NewTask {
        id: account.id,
        kind: if sandbox { Kind::SandboxDeployment } else { Kind::Deployment },
        programme_id: account.programme_id,
        customer_id: account.customer_id,
        entity_id: account.id,
        run_at: now,
        created_at: now,
    };
    tasks::enqueue(tx, &task).await
}
