//! The one way by which an account moves, whoever moves it: see [`moves`](super::moves).

use super::Recorder;
use super::cascade::Cascade;
use super::moves::{NotMoved, Step, cause};
use crate::clock::Clock;
use crate::domain::account::{Move, Sleeper, Status};
use crate::domain::{self, Timestamp, customer};
use crate::store::accounts::{self, Held};
use crate::store::children::{Follow, Parent};
use crate::store::tasks::{self, Kind, NewTask};
use crate::store::{Error, Tx, programmes};

/// Moves an account whose customer `tx` has locked: changes and writes it, records the event, asks for its deployment when its owner has
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
    let now = held.customer.chain.next_time(clock.now());
    let was_pending = held.account.status == Status::Pending;
    let from = held.account.make(by, now)?;
    if by == Move::DeployAsleep {
        held.account.slept_by = Some(Sleeper::Customer);
    }
    let draft = held.account.event(Some(from), cause(by.as_str(), step.reason));
    let recorder = Recorder { origin: step.origin, clock };
    recorder.append(tx, &mut held.customer.chain, vec![draft]).await?;
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
    let follow = match by {
        Move::Deactivate => Some(Follow::Deactivate),
        Move::Activate => Some(Follow::Reactivate),
        Move::Close => Some(Follow::End),
        Move::Sign | Move::Deploy | Move::DeployAsleep | Move::Fail => None,
    };
    if let Some(follow) = follow.filter(|_| !held.childless) {
        let parent = Parent::Account(held.account.id);
        Cascade { parent, follow, now, recorder }.run(tx, &mut held.customer.chain).await?;
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
        created_at: now,
    };
    tasks::enqueue(tx, &task)
}
