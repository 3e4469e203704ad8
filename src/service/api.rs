//! What runs every RPC: authenticate, decide, answer.

use std::sync::Arc;
use std::time::Duration;

use prost::{Message, Name};
use secrecy::SecretString;
use tokio::sync::watch;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::acts::Recorded;
use super::caller::{self, Caller};
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::keys::{CurrentKeys, Keys};
use super::known::Known;
use super::once::{self, Change, Key};
use super::recent_secrets::RecentSecrets;
use super::revocation::Revocations;
use super::streams::Streams;
use super::throttle::{Guesses, Left, Rate};
use crate::api::access::{Called, Callers, Rpc};
use crate::api::metadata;
use crate::clock::Clock;
use crate::domain::chain::ChainSet;
use crate::domain::event::Origin;
use crate::domain::webhook::new_secret;
use crate::domain::{Code, Error, Timestamp};
use crate::kyc::Kyc;
use crate::signature::Origins;
use crate::store::{self, Store, holds, keyring};

/// What the operator of the service decides about it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the service is reached from outside: the first is the one that links and challenges name.
    pub origins: Origins,
    /// The chains that customers may come from.
    pub chains: ChainSet,
    /// Requests per window for each programme; no limit with `None`.
    pub rate: Option<(u32, Duration)>,
    /// Who verifies people.
    pub kyc: Arc<Kyc>,
    /// Whether sandbox programmes may have webhooks at http and private addresses.
    pub private_callbacks: bool,
    /// Event streams that a programme may follow here at once.
    pub streams: usize,
    /// Turns true when the service is to stop: streams end then.
    pub stopping: watch::Receiver<bool>,
}

/// The service. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

/// What the handlers work with.
pub struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(super) keys: CurrentKeys,
    pub(crate) guesses: Guesses,
    pub(crate) recent_secrets: RecentSecrets,
    pub(crate) revocations: Revocations,
    pub(crate) known: Known,
    pub(crate) streams: Arc<Streams>,
    rate: Option<Rate>,
}

impl std::ops::Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// A call that only reads. Implemented by its request message, in the file named after the RPC.
pub(crate) trait Read: Called + Sized + Send {
    /// The answer.
    type Reply: Message;
    /// Whether its statements ask for rows of [`Context::owner`] alone, so that a caller may come in by memory. Then [`Self::is_found`]
    /// tells whether any were found; where none were, the caller is asked about.
    const OWNED: bool = false;

    /// Whether the reply shows a row of the owner's.
    fn is_found(_reply: &Self::Reply) -> bool {
        false
    }

    /// Reads.
    fn read(self, cx: &Context<'_>) -> impl Future<Output = Outcome<Self::Reply>> + Send;
}

/// A call that reads one thing of the programme's own by its id. Implemented by its request message, in the file named
/// after the RPC.
pub(crate) trait Find: Called + Sized + Send + Sync {
    /// The answer.
    type Reply: Message;

    /// Finds it, asking for rows of [`Context::owner`] alone.
    fn find(&self, cx: &Context<'_>) -> impl Future<Output = Outcome<Option<Self::Reply>>> + Send;

    /// The refusal when there is none.
    fn missing() -> Error;
}

/// A call that changes something. Implemented by its request message, in the file named after the RPC.
pub(crate) trait Prepare: Called + Message + Name + Default {
    /// The change.
    type Change: Change;
    /// Whether the change may end what its own call rests on: the credentials, or the key that signed.
    const ENDS_STANDING: bool = false;

    /// Checks the request and makes the change ready: everything that needs no transaction.
    fn prepare(self, cx: &Context<'_>) -> impl Future<Output = Outcome<Self::Change>> + Send;
}

/// A call without a bearer, which authenticates itself by what it brings. Implemented by its request message, in the
/// file named after the RPC.
pub(crate) trait Open: Called + Sized + Send {
    /// The answer.
    type Reply: Message;

    /// Answers.
    fn answer(self, api: &Api) -> impl Future<Output = Outcome<Self::Reply>> + Send;
}

/// How a caller comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// By the database's word.
    Asked,
    /// By memory, where the statement of the call asks whether its standing holds.
    Remembered,
}

/// Whether a call is for this caller, and within its programme's rate.
type Taken = Result<(), Error>;

impl Api {
    /// The service on a store. Reads the service's own keys from it, or makes them.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn new(store: Store, clock: Clock, settings: Settings) -> Result<Self, store::Error> {
        let keyring = keyring::ensure(&store, &clock).await?;
        let keys = CurrentKeys::new(Keys::new(&keyring, settings.origins.primary())?);
        let rate = settings.rate.map(|(requests, window)| Rate::new(requests, window));
        let (guesses, recent_secrets, known) = (Guesses::new(), RecentSecrets::new(&clock), Known::default());
        let (streams, revocations) = (Streams::new(settings.streams), Revocations::new(store.clone(), clock.clone()));
        let inner = Inner { store, clock, settings, keys, guesses, recent_secrets, revocations, known, streams, rate };
        Ok(Self(Arc::new(inner)))
    }

    /// A new secret for a webhook.
    pub(crate) fn webhook_secret(&self) -> SecretString {
        new_secret(&self.clock.random())
    }

    /// Authenticates a call that is answered with a stream.
    pub(crate) async fn stream<R: Called>(&self, request: &Request<R>) -> Outcome<Context<'_>> {
        let (cx, _, taken) = self.context(request.metadata(), R::RPC, Trust::Asked).await?;
        taken?;
        Ok(cx)
    }

    /// Runs a call that only reads.
    pub(crate) async fn read<R: Read>(&self, request: Request<R>) -> Result<Response<R::Reply>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request_id = request_id(&metadata);
        let trust = if R::OWNED { Trust::Remembered } else { Trust::Asked };
        let (cx, left, taken) =
            self.context(&metadata, R::RPC, trust).await.map_err(|f| f.status(request_id.as_deref()))?;
        let reply = match taken {
            Ok(()) => message.read(&cx).await,
            Err(refused) => Err(refused.into()),
        };
        let reply = match reply {
            Ok(reply) if R::is_found(&reply) => Ok(reply),
            other => self.ask(&cx, &metadata).await.and(other),
        };
        let reply = reply.map_err(|failure| failure.status(request_id.as_deref()));
        answer(reply, left.as_ref(), false)
    }

    /// Runs a call that reads one thing, in one statement where the caller is known.
    pub(crate) async fn find<F: Find>(&self, request: Request<F>) -> Result<Response<F::Reply>, Status> {
        let (metadata, _, message) = request.into_parts();
        let id = request_id(&metadata);
        let id = id.as_deref();
        let (cx, left, taken) = self.context(&metadata, F::RPC, Trust::Remembered).await.map_err(|f| f.status(id))?;
        let found = match taken {
            Ok(()) => message.find(&cx).await,
            Err(refused) => Err(refused.into()),
        };
        let reply = match found {
            Ok(Some(reply)) => Ok(reply),
            nothing => self.ask(&cx, &metadata).await.and_then(|()| {
                nothing?;
                Err(F::missing().into())
            }),
        };
        answer(reply.map_err(|failure| failure.status(id)), left.as_ref(), false)
    }

    /// Runs a call that authenticates itself.
    pub(crate) async fn open<O: Open>(&self, request: Request<O>) -> Result<Response<O::Reply>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request_id = request_id(&metadata);
        message.answer(self).await.map(Response::new).map_err(|failure| failure.status(request_id.as_deref()))
    }

    /// Runs a call that changes something, at most once under its idempotency key.
    pub(crate) async fn change<P: Prepare>(
        &self,
        request: Request<P>,
    ) -> Result<Response<<P::Change as Change>::Reply>, Status> {
        const { assert!(!P::RPC.act.is_empty(), "a call that changes something is named in the record of acts") }
        let (metadata, _, message) = request.into_parts();
        let id = request_id(&metadata);
        let id = id.as_deref();
        // The row of the idempotency key carries the question; without one, or where the change decides it, it comes first.
        let keyed = metadata.get(metadata::IDEMPOTENCY_KEY).is_some();
        let trust = if keyed && !P::ENDS_STANDING { Trust::Remembered } else { Trust::Asked };
        let (cx, left, taken) = self.context(&metadata, P::RPC, trust).await.map_err(|failure| failure.status(id))?;
        let done = match taken {
            Ok(()) => self.changed(&cx, &metadata, message).await,
            Err(refused) => Err(refused.into()),
        };
        let done = match done {
            Ok(done) if !done.replayed => Ok(done),
            other => self.ask(&cx, &metadata).await.and(other),
        };
        if P::ENDS_STANDING {
            self.revocations.check_now();
        }
        match done {
            Ok(done) => answer(done.reply, left.as_ref(), done.replayed),
            Err(failure) => answer(Err(failure.status(id)), left.as_ref(), false),
        }
    }

    async fn changed<P: Prepare>(
        &self,
        cx: &Context<'_>,
        metadata: &MetadataMap,
        message: P,
    ) -> Outcome<once::Answer<<P::Change as Change>::Reply>> {
        let key = idempotency_key(metadata)?;
        let fingerprints = self.keys().fingerprints(&message);
        let act = cx.act(&message);
        let change = Recorded { act, clock: &self.clock, change: message.prepare(cx).await? };
        let request_id = cx.request_id.as_deref();
        match key {
            Some(key) => {
                let key = Key {
                    scope: cx.caller.key_scope(),
                    unscoped: cx.caller.unscoped_keys(),
                    key,
                    fingerprints: &fingerprints,
                    now: self.clock.bounds(),
                    request_id,
                    standing: cx.caller.standing(),
                };
                once::once(&self.store, key, &change).await
            }
            None => once::unkeyed(&self.store, request_id, &change).await,
        }
    }

    /// Who calls, what is left of their rate, and whether this call is within it.
    async fn context(
        &self,
        metadata: &MetadataMap,
        rpc: &'static Rpc,
        trust: Trust,
    ) -> Outcome<(Context<'_>, Option<Left>, Taken)> {
        let now = self.clock.now();
        // What a rate counts is charged before the call: only callers who may call are to use it up.
        let by_memory = trust == Trust::Remembered && self.rate.is_none();
        let remembered = if by_memory { caller::remembered(self, metadata, rpc, now) } else { None };
        let caller = match remembered {
            Some(caller) => caller,
            None => caller::authenticate(self, metadata, rpc, now).await?,
        };
        let operators_only = matches!(rpc.callers, Callers::Operator | Callers::OperatorOfAll);
        if operators_only && caller.operator().is_none() {
            let refused = Error::new(Code::OperatorOnly, "Only operators may make this call.");
            return Ok((self.begun((caller, rpc), metadata, now), None, Err(refused)));
        }
        let (left, taken) = match &self.rate {
            Some(rate) => {
                let (left, taken) = rate.take(caller.programme().id, self.clock.monotonic());
                (Some(left), taken)
            }
            None => (None, Ok(())),
        };
        Ok((self.begun((caller, rpc), metadata, now), left, taken))
    }

    fn begun(&self, (caller, rpc): (Caller, &'static Rpc), metadata: &MetadataMap, now: Timestamp) -> Context<'_> {
        let (traceparent, request_id) = (text(metadata, metadata::TRACEPARENT), request_id(metadata));
        let origin = Origin { actor: caller.actor(), traceparent, request_id: request_id.clone() };
        let client = client(metadata);
        Context { api: self, rpc, caller, origin, now, request_id, client }
    }

    /// Asks whether what a remembered caller's call rests on still holds, before anything is answered that no statement
    /// has asked for. The refusal is that of a caller who comes in fresh.
    async fn ask(&self, cx: &Context<'_>, metadata: &MetadataMap) -> Outcome<()> {
        if let Some(standing) = cx.caller.standing()
            && !holds(&mut self.store.reader().await?, standing).await?
        {
            caller::authenticate(self, metadata, cx.rpc, cx.now).await?;
        }
        Ok(())
    }
}

/// The id that the caller or the front gave the request.
pub(super) fn request_id(metadata: &MetadataMap) -> Option<String> {
    text(metadata, metadata::REQUEST_ID)
}

/// The caller's address.
pub(super) fn client(metadata: &MetadataMap) -> Option<String> {
    text(metadata, metadata::CLIENT_ADDRESS)
}

fn text(metadata: &MetadataMap, name: &str) -> Option<String> {
    metadata.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

pub(super) fn idempotency_key(metadata: &MetadataMap) -> Result<Option<Uuid>, Failure> {
    let Some(value) = metadata.get(metadata::IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    match Uuid::try_parse(bare) {
        Ok(key) if bare.len() == 36 => Ok(Some(key)),
        _ => Err(Error::new(Code::IdempotencyKeyInvalid, "The idempotency key must be a UUID.").into()),
    }
}

fn answer<T>(reply: Result<T, Status>, left: Option<&Left>, replayed: bool) -> Result<Response<T>, Status> {
    let mut reply = reply.map(Response::new);
    let metadata = match &mut reply {
        Ok(response) => response.metadata_mut(),
        Err(status) => status.metadata_mut(),
    };
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = AsciiMetadataValue::try_from(value) {
            metadata.insert(name, value);
        }
    };
    if replayed {
        set(metadata::IDEMPOTENT_REPLAYED, "true");
    }
    if let Some(left) = left {
        set(metadata::RATE_LIMIT, &left.limit);
        set(metadata::RATE_LIMIT_POLICY, &left.policy);
    }
    reply
}
