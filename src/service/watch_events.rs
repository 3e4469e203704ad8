//! WatchEvents: catches up in pages, then follows what is committed.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::api::request_id;
use super::failure::Outcome;
use super::revocation::{Guard, Guarded};
use super::streams::OpenStream;
use super::{Api, events};
use crate::api::v1::{Event, WatchEventsRequest};
use crate::store;
use crate::store::events::Wanted;

/// Events that are read at once, and how many may wait for a slow reader before no more are read. Five times as many, 225 KB, wait
/// 40 ms now and then on PostgreSQL: TCP's delayed acknowledgement, which sqlx 0.9.0 runs into (its issue 4335: no
/// `TCP_NODELAY`).
const PAGE: i64 = 100;
/// How often to poll for what other nodes committed.
const POLL: Duration = Duration::from_secs(1);
/// After how much silence a stream that was asked to sends a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The events of a call.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

/// Starts the stream. It ends at the service's shutdown, or within a second when the caller may no longer call.
pub(super) async fn watch_events(api: &Api, request: Request<WatchEventsRequest>) -> Result<Response<Events>, Status> {
    let id = request_id(request.metadata());
    let (watch, guard) = start(api, request).await.map_err(|failure| failure.status(id.as_deref()))?;
    let (sender, receiver) = mpsc::channel(PAGE as usize);
    tokio::spawn(watch.run(sender, id.clone()));
    Ok(Response::new(Box::pin(Guarded::new(ReceiverStream::new(receiver), guard, id))))
}

async fn start(api: &Api, request: Request<WatchEventsRequest>) -> Outcome<(Watch, Guard)> {
    let cx = api.stream(&request).await?;
    let message = request.get_ref();
    let wanted = events::wanted(&cx, &message.types, message.customer_id.as_deref())?;
    let after = events::position(&cx, &message.cursor).await?;
    let open = api.streams.open(wanted.programme_id, cx.caller.operator().is_some())?;
    let guard = api.revocations.watch(cx.caller.basis().clone());
    let heartbeats = message.heartbeats;
    Ok((Watch { api: api.clone(), wanted, after, heartbeats, sent: None, _open: open }, guard))
}

struct Watch {
    api: Api,
    wanted: Wanted,
    /// Up to where everything has been sent.
    after: i64,
    /// Whether silence is filled.
    heartbeats: bool,
    /// When the last message was sent, by the monotonic clock.
    sent: Option<Duration>,
    /// The stream's place among those that are open.
    _open: OpenStream,
}

impl Watch {
    async fn run(mut self, sender: mpsc::Sender<Result<Event, Status>>, request_id: Option<String>) {
        let mut stopping = self.api.settings.stopping.clone();
        let ended = tokio::select! {
            () = sender.closed() => Ok(()),
            // An error means that nobody is left who could stop the service.
            _ = stopping.wait_for(|stop| *stop) => Ok(()),
            ended = self.follow(&sender) => ended,
        };
        if let Err(failure) = ended {
            // The reader may be gone.
            let _ = sender.send(Err(failure.status(request_id.as_deref()))).await;
        }
    }

    /// Sends page after page, and waits for more at the end, until the reader is gone.
    async fn follow(&mut self, sender: &mpsc::Sender<Result<Event, Status>>) -> Outcome<()> {
        let mut recorded = self.api.store.recorded();
        loop {
            // Before looking: what is committed while we look wakes us again.
            recorded.mark_unchanged();
            store::events::place(&self.api.store).await?;
            while let Some(page) = self.page().await? {
                for event in page {
                    if sender.send(Ok(event)).await.is_err() {
                        return Ok(());
                    }
                }
                self.sent = Some(self.api.clock.monotonic());
            }
            if let Some(heartbeat) = self.heartbeat()?
                && sender.send(Ok(heartbeat)).await.is_err()
            {
                return Ok(());
            }
            tokio::select! {
                // The store lives while this service does: the channel is not closed.
                _ = recorded.changed() => {}
                () = self.api.clock.sleep(POLL) => {}
            }
        }
    }

    /// The message that fills a silence, where it is time for one.
    fn heartbeat(&mut self) -> Outcome<Option<Event>> {
        let now = self.api.clock.monotonic();
        if !self.heartbeats || self.sent.is_some_and(|sent| now.saturating_sub(sent) < HEARTBEAT) {
            return Ok(None);
        }
        self.sent = Some(now);
        let cursor = Some(events::cursor(&self.api, self.wanted.programme_id, self.after)?);
        Ok(Some(Event { cursor, ..Event::default() }))
    }

    /// The next page; `None` at the end of what there is.
    async fn page(&mut self) -> Outcome<Option<Vec<Event>>> {
        let mut reader = self.api.store.reader().await?;
        let placed = store::events::last_position(&mut reader, self.wanted.programme_id).await?;
        if placed <= self.after {
            return Ok(None);
        }
        let page = store::events::stream(&mut reader, &self.wanted, self.after, PAGE).await?;
        drop(reader);
        let last = page.last().map_or(self.after, |event| event.position);
        self.after = if page.len() as i64 == PAGE { last } else { last.max(placed) };
        Ok(Some(
            page.iter()
                .map(|event| events::message(&self.api, self.wanted.programme_id, event))
                .collect::<Outcome<_>>()?,
        ))
    }
}
