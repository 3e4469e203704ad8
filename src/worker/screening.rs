//! Screening: is the customer's blockchain account on a list?

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::lists::EVERY;
use super::tasks::{self, ClaimTasks, GiveBack};
use super::{Backlog, Failure, Queue, Taken};
use crate::clock::Clock;
use crate::domain::customer::{Move, Status};
use crate::domain::event::Origin;
use crate::domain::kyc::{KycState, KycStatus};
use crate::domain::{Timestamp, backoff};
use crate::lifecycle::{NotMoved, Step, moves, verification};
use crate::screening::{Outage, Screened, Screening, Verdict};
use crate::store::customers::{self, Held};
use crate::store::screening_scans::Fingerprint;
use crate::store::tasks::{Kind, NodeLease, Task, retry, settle, settle_cleared};
use crate::store::verifications::{self, Verification};
use crate::store::{Change, Error, Store, Tx};

/// The longest wait between two tries, unless the provider asks for more: a customer should not wait for hours after
/// the provider is back.
const WAIT_MAX: Duration = Duration::from_mins(15);
/// The longest that it may ask for.
const ASKED_MAX: Duration = backoff::RETRY_AFTER_MAX;

/// Asks the screening providers about each customer that has proven ownership, until there is a verdict.
pub struct ScreeningQueue {
    store: Store,
    clock: Clock,
    screening: Screening,
}

/// A claimed customer.
pub struct Claimed {
    task: Task,
    lease: Uuid,
    account: String,
    sandbox: bool,
}

impl ScreeningQueue {
    /// The queue on a store, with the providers to ask.
    pub fn new(store: Store, clock: Clock, screening: Screening) -> Self {
        Self { store, clock, screening }
    }

    /// Nothing is to be claimed while other lists are in force: a clear by this node's would not count.
    fn is_outdated(&self) -> bool {
        self.screening.lists().is_outdated()
    }

    /// A node that cannot screen customers of live programmes leaves them to one that can.
    fn sandboxes_only(&self) -> bool {
        !self.screening.is_configured()
    }

    fn settlement(&self, claimed: &Claimed, answer: Result<Judged, Outage>) -> Settlement<'_> {
        let next = match answer {
            Ok(judged) => Next::Decide(judged),
            Err(outage) => {
                let wait = self.wait(claimed.task.attempts, outage.retry_after);
                tracing::warn!(
                    customer = %claimed.task.customer_id, attempt = claimed.task.attempts, ?wait, %outage,
                    "screening did not take place: the customer stays in screening"
                );
                Next::Retry { wait, error: outage.message }
            }
        };
        Settlement {
            clock: &self.clock,
            task: claimed.task.id,
            customer: claimed.task.customer_id,
            lease: claimed.lease,
            next,
        }
    }

    fn wait(&self, attempts: i64, retry_after: Option<Duration>) -> Duration {
        let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
        let random = u64::from_be_bytes(self.clock.random());
        // However long it takes: there is no time after which a customer would pass unscreened, or be given up.
        let failure = backoff::Failure { attempts, elapsed: Duration::ZERO, retry_after, random };
        failure.next_delay().unwrap_or(WAIT_MAX).min(WAIT_MAX.max(retry_after.unwrap_or_default().min(ASKED_MAX)))
    }
}

impl Queue for ScreeningQueue {
    type Item = Claimed;
    type Done = Result<Judged, Outage>;

    const NAME: &'static str = "screening";
    const DEADLINE: Option<Duration> = Some(Duration::from_secs(10));
    /// Twice what may share a commit on SQLite: while as many are being settled, the next are claimed.
    const CONCURRENCY: usize = 128;

    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        if self.is_outdated() {
            return Ok(None);
        }
        tasks::next_due(&self.store, (Kind::Screening, self.sandboxes_only()), self.clock.now()).await
    }

    fn id(item: &Claimed) -> Uuid {
        item.task.id
    }

    async fn give_back(&self, node: Uuid, in_flight: &[Uuid]) -> Result<(), Failure> {
        self.store.transact(&GiveBack { kind: Kind::Screening, node, in_flight }).await?;
        Ok(())
    }

    async fn claim(&self, node: Uuid, now: Timestamp, limit: usize) -> Result<Taken<Claimed>, Failure> {
        if self.is_outdated() {
            return Ok(Taken::of(Vec::new(), limit));
        }
        let lease = self.clock.id();
        let sandboxes_only = self.sandboxes_only();
        let by = NodeLease { id: lease, node };
        let claim = ClaimTasks { kind: Kind::Screening, sandboxes_only, now, lease: by, limit };
        let claimed = claim.make(&self.store).await?;
        if claimed.is_empty() {
            return Ok(Taken::of(Vec::new(), limit));
        }
        let ids = claimed.iter().map(|task| task.customer_id);
        let customers = customers::to_screen(&mut self.store.reader().await?, ids).await?;
        let mut known: HashMap<Uuid, _> = customers.into_iter().map(|customer| (customer.id, customer)).collect();
        let with_account = |task: Task| {
            let customer = known.remove(&task.customer_id)?;
            Some(Claimed { task, lease, account: customer.chain_id, sandbox: customer.sandbox })
        };
        Ok(Taken::of(claimed.into_iter().filter_map(with_account).collect(), limit))
    }

    async fn perform(&self, item: &Claimed) -> Result<Judged, Outage> {
        let lists = self.screening.lists().fingerprint();
        let screened = self.screening.screen(&item.account, item.sandbox).await?;
        if self.screening.lists().fingerprint() != lists {
            return Err(Outage::new("the screening lists changed meanwhile"));
        }
        Ok(Judged { screened, lists })
    }

    async fn settle(&self, item: Claimed, done: Option<Self::Done>) -> Result<&'static str, Failure> {
        let answer = done.unwrap_or_else(|| Err(Outage::new("no answer before the deadline")));
        let outcome = self.store.transact(&self.settlement(&item, answer)).await?;
        if outcome == OUTDATED {
            tracing::warn!(
                customer = %item.task.customer_id,
                "cleared by screening lists that are not in force: the customer stays in screening and is screened again"
            );
        }
        Ok(outcome)
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        tasks::backlog(&self.store, Kind::Screening).await
    }
}

/// A verdict, and the lists by which it was found.
pub struct Judged {
    screened: Screened,
    lists: Fingerprint,
}

/// The outcome of a clear that does not count.
const OUTDATED: &str = "outdated";

enum Next {
    Decide(Judged),
    Retry { wait: Duration, error: String },
}

struct Settlement<'a> {
    clock: &'a Clock,
    task: Uuid,
    customer: Uuid,
    lease: Uuid,
    next: Next,
}

impl Change for Settlement<'_> {
    type Out = &'static str;
    type Error = NotMoved;

    async fn apply(&self, tx: &mut Tx) -> Result<&'static str, NotMoved> {
        let Judged { screened, lists } = match &self.next {
            Next::Retry { wait, error } => {
                return Ok(if self.retry(tx, *wait, error).await? { "retry" } else { "lost" });
            }
            Next::Decide(judged) => judged,
        };
        let held = customers::lock(tx, self.customer).await?;
        // A hit counts whatever the list. Somebody else may have decided meanwhile: the simulator, an operator.
        if let Verdict::Hit(_) = screened.verdict {
            if !settle(tx, self.task, self.lease).await? {
                return Ok("lost");
            }
            let Some(mut held) = held.filter(in_screening) else { return Ok("moot") };
            return reject(tx, &mut held, screened, self.clock).await.map(|()| "hit");
        }
        // Read with the customer held: a decision that comes later waits for us, and follows itself. So does a scan by lists that
        // come into force later: it finds this customer.
        let Some(decided) = settle_cleared(tx, (self.task, self.lease), lists).await? else {
            let error = "the screening lists of the node are not those in force";
            return Ok(if self.retry(tx, EVERY, error).await? { OUTDATED } else { "lost" });
        };
        let Some(mut held) = held.filter(in_screening) else { return Ok("moot") };
        clear(tx, &mut held, (screened, decided), self.clock).await
    }
}

impl Settlement<'_> {
    async fn retry(&self, tx: &mut Tx, wait: Duration, error: &str) -> Result<bool, Error> {
        retry(tx, (self.task, self.lease), (self.clock.now(), wait), error).await
    }
}

fn in_screening(held: &Held) -> bool {
    held.customer.status == Status::Screening
}

/// On to identity verification; where a provider decided early, that is followed at once.
async fn clear(
    tx: &mut Tx,
    held: &mut Held,
    (screened, decided): (&Screened, bool),
    clock: &Clock,
) -> Result<&'static str, NotMoved> {
    let origin = Origin::internal("screening");
    moves::make(tx, held, Step { by: Move::Clear, reason: Some(&screened.by), origin: &origin }, clock).await?;
    if decided && let Some(known) = verifications::get_any(tx, held.customer.id).await? {
        verification::follow(tx, held, &known.state, clock).await?;
    }
    Ok("clear")
}

/// Rejects a customer for a hit. What was found stands in the audit trail for operators, and nowhere else.
pub(super) async fn reject(tx: &mut Tx, held: &mut Held, screened: &Screened, clock: &Clock) -> Result<(), NotMoved> {
    let Verdict::Hit(hit) = &screened.verdict else { return Ok(()) };
    let reason = format!("{hit}; by {}", screened.by);
    let origin = Origin::internal("screening");
    moves::make(tx, held, Step { by: Move::Reject, reason: Some(&reason), origin: &origin }, clock).await?;
    let state = KycState { status: KycStatus::Rejected, ..KycState::default() };
    let provider = Some(verifications::SCREENING.to_owned());
    let verification = Verification { state, provider, updated_at: held.customer.updated_at };
    Ok(verifications::put(tx, held.customer.id, &verification).await?)
}
