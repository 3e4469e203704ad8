//! Starting and stopping: `customerd serve`, and what the tests run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rest_bridge::Transport;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic_health::ServingStatus;

use super::backend::{in_process, rpcs};
use super::front::Front;
use super::health::Health;
use super::sandbox::ProfileOwner;
use super::start::{Start, store_check, upstream_check};
use super::upstream::Upstream;
use super::work::worker;
use super::{Backend, encryption, files, gauges, key_watch, open_to_seal, providers, sandbox, seal_chains};
use crate::clock::Clock;
use crate::config::{Common, Only, Serve};
use crate::serve::{GuardLayer, Limits, Listener, Shutdown, Usage};
use crate::service::Api;
use crate::store::{Migrations, Store};
use crate::telemetry::{Metrics, ObserveLayer};

/// How long after the grace the tasks may take to end; the store then takes at most three seconds to close.
pub(super) const OVERTIME: Duration = Duration::from_secs(1);

/// The service at work.
pub struct Running {
    /// Where REST is, unless this node runs gRPC alone.
    pub http: Option<SocketAddr>,
    /// Where gRPC is, unless this node is a front alone.
    pub grpc: Option<SocketAddr>,
    /// Where health is, if it has a listener of its own.
    pub health: Option<SocketAddr>,
    /// The store, unless this node is a front alone.
    pub store: Option<Store>,
    /// The sandbox's profile, if one can call with it.
    pub profile: Option<PathBuf>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
    backend: Option<Arc<Backend>>,
    guards: [GuardLayer; 2],
    /// Why the node stops by itself.
    failure: oneshot::Receiver<anyhow::Error>,
    /// The clock, and how long the tasks may take to end.
    parts: (Clock, Duration),
    /// Of the sandbox's profile.
    _owner: Option<ProfileOwner>,
}

impl Running {
    /// How much of the budgets of REST and of gRPC is in use.
    pub fn used(&self) -> [Usage; 2] {
        self.guards.each_ref().map(GuardLayer::used)
    }

    /// Waits until it drains, which health says, and for the shutdown to start, lets what is in flight finish, closes the store.
    ///
    /// # Errors
    ///
    /// The store cannot be closed in order, or the node stopped because it could not go on.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.shutdown.draining().await;
        if let Some(backend) = &self.backend {
            backend.report(ServingStatus::NotServing).await;
        }
        self.shutdown.started().await;
        let (clock, limit) = self.parts;
        if clock.timeout(limit, async { while self.tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("not everything that was in flight ended within the grace; leaving without it");
            self.tasks.shutdown().await;
        }
        if let Some(store) = self.store {
            store.close().await?;
        }
        self.failure.try_recv().map_or(Ok(()), Err)
    }
}

/// Starts the service. It runs until `shutdown` starts; [`Running::finish`] waits for its end.
///
/// # Errors
///
/// What cannot be had (an address, a file, the database), and what to do.
pub async fn start(common: &Common, serve: &Serve, clock: Clock, shutdown: Shutdown) -> anyhow::Result<Running> {
    let (limits, metrics) = (limits(serve)?, Metrics::install(clock.clone()));
    let [rest_guard, grpc_guard] = [(); 2].map(|()| GuardLayer::new(clock.clone(), &limits));
    let guards = [rest_guard.clone(), grpc_guard.clone()];
    let parts = (clock.clone(), shutdown.clone());
    let start = Start { common, serve, clock: parts.0, shutdown: parts.1, limits, metrics, rest_guard, grpc_guard };
    let (with_http, with_grpc) = (serve.only != Some(Only::Grpc), serve.only != Some(Only::Rest));
    let mut tasks = JoinSet::new();
    let health = Health::open(&serve.health, &start.metrics, (&start.clock, &shutdown), &mut tasks).await?;
    let prepared = if with_grpc { sandbox::prepare(common, serve, &clock) } else { None };
    // Before any address is taken but that of health: a node that cannot reach its database draws no calls.
    let store = if with_grpc { Some(open(common, &clock).await?) } else { None };
    let http =
        if with_http { Some(start.listen(common.listen.http_addr, serve.tls.http(), false).await?) } else { None };
    let grpc =
        if with_grpc { Some(start.listen(common.listen.grpc_addr, serve.tls.grpc(), true).await?) } else { None };
    files::raise(start.connections([with_http, with_grpc, serve.health.health_addr.is_some()]));
    let health_addr = health.addr;
    let (http_addr, grpc_addr) = (http.as_ref().map(Listener::addr), grpc.as_ref().map(Listener::addr));
    let origins = start.origins(http_addr.unwrap_or(common.listen.http_addr))?;

    let (failed, failure) = oneshot::channel();
    let (transport, check, store, backend, (profile, owner)) = if let (Some(addr), Some(store)) = (grpc_addr, store) {
        let sandbox = start.sandbox(&store, (&origins, addr), prepared).await?;
        let settings = start.settings(origins.clone())?;
        providers::announce_kyc(&store, &settings.kyc).await?;
        let api = Api::new(store.clone(), clock.clone(), settings).await?;
        let parts = (clock.clone(), shutdown.clone());
        tasks.spawn(key_watch::run(store.clone(), common.clone(), parts, failed));
        tasks.spawn(until(shutdown.clone(), key_watch::refresh(api.clone(), clock.clone())));
        let services = in_process(&api, &ObserveLayer::in_process(clock.clone(), rpcs()));
        let backend = Arc::new(Backend::new(&api, serve.limits.message_limit()).await?);
        let mut heartbeat = None;
        if !serve.no_worker {
            let (worker, shutdown) = (worker(&store, &serve.work, clock.clone()).await?, shutdown.clone());
            heartbeat = Some(worker.heartbeat());
            tasks.spawn(worker.run(async move { shutdown.started().await }));
        }
        (Transport::from(services), store_check(store.clone(), heartbeat), Some(store), Some(backend), sandbox)
    } else {
        let upstream = Upstream::new(&serve.upstream)?;
        (
            Transport::from(upstream.calls),
            upstream_check(upstream.health),
            None,
            None,
            (Some(sandbox::path(common)).filter(|path| path.exists()), None),
        )
    };
    if let (Some(listener), Some(backend)) = (grpc, &backend) {
        tasks.spawn(start.grpc(listener, backend));
    }
    health.started(check);
    if let Some(listener) = http {
        let (body_limit, deadline) = (serve.limits.body_limit.0, start.limits.request_deadline);
        let routes = Front { transport, origins, clock, body_limit, deadline }.router();
        tasks.spawn(start.rest(listener, routes, health.routes()));
    }
    if let Some(store) = &store {
        tasks.spawn(until(shutdown.clone(), gauges::run(store.clone(), start.clock.clone())));
    }
    tasks.spawn(until(shutdown.clone(), start.metrics.clone().upkeep()));
    shutdown.set_drain_delay(serve.limits.drain_delay.0);
    let (http, grpc, health) = (http_addr, grpc_addr, health_addr);
    let parts = (start.clock.clone(), start.limits.shutdown_grace + OVERTIME);
    Ok(Running { http, grpc, health, store, profile, shutdown, tasks, backend, guards, failure, parts, _owner: owner })
}

/// Opens the database to serve it: migrated, with what was kept in the clear sealed.
async fn open(common: &Common, clock: &Clock) -> anyhow::Result<Store> {
    let store = open_to_seal(common, Migrations::Run).await?;
    encryption::seal(&store, common, clock, encryption::NewKey::WhereNothingIsSealed).await?;
    seal_chains(&store, clock).await?;
    Ok(store)
}

/// What each of the listeners may take. Says so.
fn limits(serve: &Serve) -> anyhow::Result<Limits> {
    let mut limits = serve.limits.limits(&serve.clients);
    if serve.only.is_none() {
        limits.body_bytes /= 2;
    }
    let (clients, share) = (serve.clients.clients(), serve.clients.client_share.0);
    let of_client = limits.body_bytes / 100 * usize::from(share);
    anyhow::ensure!(
        of_client >= serve.limits.body_limit.0,
        "a client's {share}% of a listener's body memory is {of_client} bytes, less than one body of --body-limit: raise \
         --body-memory or --client-share"
    );
    tracing::info!(
        "clients are told apart by {clients}; one may take {share}% of each listener's {} connections, {} request slots and \
         {} bytes of body memory, loopback and trusted proxies all",
        limits.connections,
        limits.requests,
        limits.body_bytes,
    );
    Ok(limits)
}

/// Works until the shutdown starts.
pub(super) async fn until(shutdown: Shutdown, work: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.started() => {}
        () = work => {}
    }
}
