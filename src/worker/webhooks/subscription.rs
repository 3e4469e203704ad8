//! Sends what is due of one subscription while there is something and this node has its lease.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use metrics::{counter, histogram};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use super::Shared;
use super::attempt::To;
use super::pace::{Pace, share, share_of};
use super::queue::{Key, Queue, START};
use super::recorder::Ended;
use crate::domain::Timestamp;
use crate::domain::delivery::{DeliveryStatus, Outcome};
use crate::store::deliveries::{self, Due, Lease, Scan};
use crate::store::{Error, webhooks};

/// Deliveries of one scan.
const SCANNED: usize = 128;
/// Where fewer are ready, more are scanned for.
const LOW: usize = 32;
/// How many may be known at once: while the store is slow to record, no more are sent.
const HELD: usize = 4 * SCANNED;
/// How old what is known of a subscription may be when an attempt begins; also how long scans go on where the last one ended. What
/// was committed late, behind that, waits no longer.
const FRESH: Duration = Duration::from_secs(1);

/// What other tasks tell a subscription's task.
#[derive(Default)]
pub(super) struct Signal {
    /// More may be due.
    pub(super) wake: Notify,
    /// Another node is to go on.
    pub(super) yields: AtomicBool,
}

/// An attempt: of which delivery, and what came of it, unless it panicked.
type Attempt = (Key, Option<(Ended, &'static str, Duration)>);
/// One that is recorded, or not: of which delivery, whether it failed, and how its delivery stands.
type Recorded = (Key, bool, Result<DeliveryStatus, Error>);
/// What a scan gave: nothing where nothing may be sent now; whether more is due.
type Scanned = Result<Option<(Arc<To>, Vec<Due>, bool)>, Error>;

pub(super) struct Task {
    shared: Arc<Shared>,
    pub(super) lease: Lease,
    pub(super) signal: Arc<Signal>,
    pub(super) began: Duration,
    queue: Queue,
    pace: Pace,
    to: Option<Arc<To>>,
    attempts: JoinSet<Attempt>,
    recording: FuturesUnordered<BoxFuture<'static, Recorded>>,
    scanning: Option<BoxFuture<'static, Scanned>>,
    permit: Option<OwnedSemaphorePermit>,
    /// When the last scan began, and the last one from the start.
    scanned: Duration,
    started: Duration,
    /// More is due behind the end of the last scan; somebody said so, or it must be scanned from the start for another reason.
    more: bool,
    rescan: bool,
    /// The last scan was from the start and gave nothing new.
    complete: bool,
    /// An attempt has failed since the subscription was read; the current scan began after that was recorded.
    failed: bool,
    reads_failure: bool,
    /// Attempts that failed and are not recorded.
    failures: usize,
    /// Nothing more is to be sent.
    ended: bool,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, lease: Lease, signal: Arc<Signal>) -> Self {
        let (began, pace) = (shared.clock().monotonic(), Pace::new(shared.options.rate));
        Self {
            shared,
            lease,
            signal,
            began,
            queue: Queue::new(),
            pace,
            to: None,
            attempts: JoinSet::new(),
            recording: FuturesUnordered::new(),
            scanning: None,
            permit: None,
            scanned: began,
            started: began,
            more: false,
            rescan: true,
            complete: false,
            failed: false,
            reads_failure: false,
            failures: 0,
            ended: false,
        }
    }

    /// Works until nothing is due any more, or this node may not send.
    pub(super) async fn run(mut self) {
        loop {
            self.drop_stale();
            self.begin();
            self.scan();
            let idle = self.attempts.is_empty() && self.recording.is_empty() && self.scanning.is_none();
            if idle && (self.queue.ready() == 0 || !self.may_send()) {
                let goes_on = self.may_send();
                if goes_on && !self.complete {
                    self.rescan = true;
                    continue;
                }
                if self.signal.yields.load(Ordering::Relaxed) {
                    self.shared.release(self.lease).await;
                }
                // What was sent is to be within the rate before it is forgotten.
                let is_paid = self.pace.paid() <= self.shared.clock().monotonic();
                if (is_paid || !goes_on) && self.shared.finish(&self.lease, &self.signal, goes_on) {
                    return;
                }
                self.rescan |= is_paid;
                if is_paid {
                    continue;
                }
            }
            self.step().await;
        }
    }

    fn may_send(&self) -> bool {
        let node = self.shared.engine.node();
        !self.ended
            && !self.signal.yields.load(Ordering::Relaxed)
            && !self.shared.engine.is_stopping()
            && node.is(self.lease.node)
    }

    /// Forgets what was scanned too long ago, or is not to be sent any more.
    fn drop_stale(&mut self) {
        let old = self.shared.clock().monotonic().saturating_sub(self.scanned) > FRESH;
        if self.queue.ready() > 0 && (!self.may_send() || old && self.scanning.is_none()) {
            self.queue.forget();
            self.rescan = true;
        }
    }

    /// Begins as many attempts as may be in flight.
    fn begin(&mut self) {
        let Some(to) = self.to.clone() else { return };
        while self.queue.ready() > 0 && self.may_send() {
            let now = self.shared.clock().monotonic();
            let free = self.shared.permits.available_permits();
            let most = share_of(share(&to.recipient.subscription), free + self.attempts.len());
            if self.attempts.len() >= most || self.pace.next() > now {
                return;
            }
            let permit = self.permit.take().or_else(|| Arc::clone(&self.shared.permits).try_acquire_owned().ok());
            let Some(permit) = permit else { return };
            if let Some(due) = self.queue.next() {
                self.pace.begin(now);
                self.attempts.spawn(attempt(Arc::clone(&self.shared), Arc::clone(&to), (due, self.lease), permit));
            }
        }
    }

    /// Begins a scan, if one is worth while.
    fn scan(&mut self) {
        // A probe is one attempt: what comes next depends on it.
        let probes = self.to.as_ref().is_some_and(|to| to.recipient.subscription.disabled_reason.is_some());
        let wanted = (self.more || self.rescan) && self.queue.ready() < LOW && self.queue.held() < HELD;
        if !wanted || self.scanning.is_some() || !self.may_send() || probes && self.queue.held() > 0 {
            return;
        }
        let now = self.shared.clock().monotonic();
        let from_start = self.rescan || now.saturating_sub(self.started) >= FRESH;
        let (after, held) = if from_start { (START, self.queue.held()) } else { (self.queue.end(), 0) };
        if from_start {
            self.started = now;
        }
        (self.more, self.rescan, self.complete, self.scanned) = (false, false, from_start, now);
        self.reads_failure = self.failures == 0;
        self.queue.begin_scan();
        self.scanning = Some(scan(Arc::clone(&self.shared), self.lease, (after, held)).boxed());
    }

    async fn step(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (now, next) = (shared.clock().monotonic(), self.pace.next());
        let waits = self.queue.ready() > 0 && self.may_send();
        let lingers = self.attempts.is_empty() && self.queue.ready() == 0 && self.pace.paid() > now;
        let until = if waits { next } else { self.pace.paid() };
        tokio::select! {
            Some(attempted) = self.attempts.join_next() => self.attempted(attempted),
            Some(recorded) = self.recording.next() => self.recorded(recorded),
            Some(scanned) = OptionFuture::from(self.scanning.as_mut()) => self.scanned(scanned),
            () = self.signal.wake.notified() => self.rescan = true,
            permit = Arc::clone(&shared.permits).acquire_owned(), if waits && self.attempts.is_empty() && next <= now => {
                self.permit = permit.ok();
            }
            () = shared.clock().sleep_to(until), if waits && next > now || lingers => {}
            () = shared.engine.stop(), if !shared.engine.is_stopping() => {}
        }
    }

    fn attempted(&mut self, attempted: Result<Attempt, JoinError>) {
        let (key, made) = match attempted {
            Ok(attempt) => attempt,
            // Not before the runtime ends: panics are caught.
            Err(_) => return self.ended = true,
        };
        let Some((mut ended, name, took)) = made else {
            tracing::error!(webhook = %self.lease.webhook_id, "an attempt panicked: it is made again");
            self.ended = true;
            self.queue.end_of(key, true);
            return;
        };
        if ended.outcome != Outcome::Delivered {
            self.failures += 1;
            (self.failed, self.reads_failure) = (true, false);
            // What it is to be sent from now on is to be read again.
            self.ended |= ended.outcome == Outcome::Gone;
        }
        ended.healthy = !self.failed && self.to.as_ref().is_some_and(|to| to.is_healthy());
        let (status, failed) = (ended.attempted.delivery.status, ended.outcome != Outcome::Delivered);
        counter!("worker_items_total", "queue" => "webhooks", "outcome" => name).increment(1);
        histogram!("worker_item_duration_seconds", "queue" => "webhooks").record(took.as_secs_f64());
        let recorded = self.shared.recorder.record(ended);
        let recorded = async move {
            let result = recorded.await.unwrap_or(Err(Error::Failed));
            if result.is_ok() {
                counter!("webhook_attempts_total", "outcome" => name).increment(1);
            }
            (key, failed, result.map(|()| status))
        };
        self.recording.push(recorded.boxed());
    }

    fn recorded(&mut self, (key, failed, result): Recorded) {
        self.failures -= usize::from(failed);
        match result {
            Ok(status) => {
                let is_pending = status == DeliveryStatus::Pending;
                self.rescan |= self.queue.end_of(key, is_pending);
                // Another attempt, or a probe, has a time of its own.
                if failed {
                    self.shared.again.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(webhook = %self.lease.webhook_id, %error, "cannot record an attempt: it is made again");
                self.queue.end_of(key, true);
                self.ended = true;
            }
        }
        self.complete = false;
    }

    fn scanned(&mut self, scanned: Scanned) {
        self.scanning = None;
        match scanned {
            Ok(Some((to, due, more))) => {
                if self.reads_failure {
                    self.failed = false;
                }
                let added = self.queue.add(due, to.recipient.subscription.settings.fifo);
                self.to = Some(to);
                self.more = more;
                self.complete &= added == 0;
            }
            Ok(None) => self.ended = true,
            Err(error) => {
                tracing::warn!(webhook = %self.lease.webhook_id, %error, "cannot scan for deliveries");
                self.ended = true;
            }
        }
    }
}

/// Makes an attempt. The permit is free when it has ended: the next may be in flight while this one is recorded.
async fn attempt(
    shared: Arc<Shared>,
    to: Arc<To>,
    (due, lease): (Due, Lease),
    permit: OwnedSemaphorePermit,
) -> Attempt {
    let (key, began) = (Key::from(&due), shared.clock().monotonic());
    let made = AssertUnwindSafe(async {
        let sent = shared.sender.send(&to, &due).await;
        drop(permit);
        let (attempted, outcome) = shared.sender.judge(sent, (&to, due), lease);
        let name = match attempted.delivery.status {
            DeliveryStatus::Pending => "retry",
            status => status.as_str(),
        };
        let took = shared.clock().monotonic().saturating_sub(began);
        (Ended { attempted, outcome, healthy: false }, name, took)
    });
    (key, made.catch_unwind().await.ok())
}

/// Reads the subscription, and what is due of it.
async fn scan(shared: Arc<Shared>, lease: Lease, (after, held): ((Timestamp, Uuid), usize)) -> Scanned {
    let _permit = shared.scans.acquire().await;
    let now = shared.clock().now();
    let mut reader = shared.store().reader().await?;
    let Some(recipient) = webhooks::leased(&mut reader, &lease).await? else { return Ok(None) };
    let subscription = &recipient.subscription;
    if !subscription.may_send(now) {
        return Ok(None);
    }
    let count = match share(subscription) {
        1 => 1,
        few if few < LOW / 2 => 4 * few,
        _ => SCANNED,
    };
    let limit = count + held;
    let (webhook_id, fifo) = (lease.webhook_id, subscription.settings.fifo);
    let scan = Scan { webhook_id, fifo, after, limit: i64::try_from(limit).unwrap_or(i64::MAX) };
    let due = deliveries::due(&mut reader, scan, now).await?;
    let more = due.len() >= limit;
    Ok(Some((Arc::new(To::new(recipient, shared.options, now)), due, more)))
}
