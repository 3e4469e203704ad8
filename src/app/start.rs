//! The parts that starting is made of.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::transport::Channel;
use tower::{Service, ServiceBuilder};

use super::backend::rpcs;
use super::{Backend, providers};
use crate::api;
use crate::clock::Clock;
use crate::config::{CertFiles, Common, Serve};
use crate::domain::chain::ChainSet;
use crate::serve::{Certificates, GuardLayer, IdentifyLayer, Limits, Listener, MalformedLayer, Shutdown, TlsFiles};
use crate::service::Settings;
use crate::signature::Origins;
use crate::store::{self, Change, Store, Tx, programmes};
use crate::telemetry::{Check, Metrics, ObserveLayer, Observed};
use crate::worker::Heartbeat;

/// What a front and its backend carry for each other in headers: the base of a signature that covers a whole header list,
/// in base64, either way.
pub(super) const FRONT_HEADERS: usize = 64 * 1024;

/// What every part has at hand.
pub(super) struct Start<'a> {
    pub(super) common: &'a Common,
    pub(super) serve: &'a Serve,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    /// What REST may take.
    pub(super) rest_guard: GuardLayer,
    /// What gRPC may take, which REST leaves alone.
    pub(super) grpc_guard: GuardLayer,
}

impl Start<'_> {
    /// Takes an address, with TLS if there are certificates for it.
    pub(super) async fn listen(
        &self,
        addr: SocketAddr,
        cert: Option<CertFiles>,
        grpc: bool,
    ) -> anyhow::Result<Listener> {
        let alpn: &[&str] = if grpc { &["h2"] } else { &["h2", "http/1.1"] };
        let client_ca = self.serve.tls.grpc_client_ca.clone().filter(|_| grpc);
        let tls = match cert {
            Some(CertFiles { cert, key }) => Some(Certificates::read(TlsFiles { cert, key, client_ca }, alpn)?),
            None => None,
        };
        let mut limits = self.limits.clone();
        if grpc {
            limits.header_bytes = limits.header_bytes.max(FRONT_HEADERS);
        }
        let listener =
            Listener::bind(addr, self.clock.clone(), limits).await?.tls(tls).clients(self.serve.clients.clients());
        if grpc {
            return Ok(listener.http2_only());
        }
        let urls = self.common.listen.public_urls(listener.addr(), self.serve.tls.http().is_some());
        Ok(listener.hsts(urls.first().is_some_and(|url| url.scheme() == "https")))
    }

    /// How many connections may be open at once.
    pub(super) fn connections(&self, listeners: [bool; 3]) -> u64 {
        let open = listeners.into_iter().filter(|listens| *listens).count();
        u64::try_from(open.saturating_mul(self.limits.connections)).unwrap_or(u64::MAX)
    }

    /// The URLs that the front at `http` is known under.
    pub(super) fn origins(&self, http: SocketAddr) -> anyhow::Result<Origins> {
        let urls = self.common.listen.public_urls(http, self.serve.tls.http().is_some());
        Origins::new(urls.iter().map(url::Url::as_str)).context("--public-url")
    }

    pub(super) fn settings(&self, origins: Origins) -> anyhow::Result<Settings> {
        let chains = match self.serve.chains.as_slice() {
            [] => ChainSet::default(),
            ids => ChainSet::parse(ids).context("--chains")?,
        };
        let rate = self.serve.limits.rate_limit.map(|rate| (rate.requests, rate.window));
        let kyc = Arc::new(providers::kyc(&self.serve.kyc)?);
        let private_callbacks = self.serve.work.allow_private_callbacks;
        let (stopping, streams) = (self.shutdown.flag(), self.serve.limits.max_event_streams as usize);
        Ok(Settings { origins, chains, rate, kyc, private_callbacks, streams, stopping })
    }

    /// The REST door at work: health is answered even when requests are shed.
    pub(super) fn rest(&self, listener: Listener, routes: Router, health: Router) -> impl Future<Output = ()> + use<> {
        let guarded = ServiceBuilder::new()
            .layer(ObserveLayer::http(self.clock.clone(), |method, path| {
                rest_bridge::template::<api::rest::Api>(method, path).or_else(|| crate::http::template(path))
            }))
            .layer(self.rest_guard.clone())
            .service(routes);
        let door = health.fallback_service(guarded);
        let identified = ServiceBuilder::new().layer(IdentifyLayer::new(self.clock.clone()));
        run(listener, identified.map_response(crate::http::say_methods).service(door), self.shutdown.clone())
    }

    /// The gRPC door at work.
    pub(super) fn grpc(&self, listener: Listener, backend: &Backend) -> impl Future<Output = ()> + use<> {
        let door = ServiceBuilder::new()
            .layer(IdentifyLayer::new(self.clock.clone()))
            .map_response(|response: Response<Observed<Body>>| response.map(Body::new))
            .layer(ObserveLayer::grpc(self.clock.clone(), rpcs()))
            .layer(self.grpc_guard.clone())
            .layer(MalformedLayer)
            .service(backend.public.clone().into_axum_router());
        run(listener, door, self.shutdown.clone())
    }
}

/// A listener at work until the shutdown is over.
pub(super) async fn run<S>(listener: Listener, service: S, shutdown: Shutdown)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    listener.run(service, shutdown).await;
}

/// Ready when the database takes writes: a statement that would, and those by which a node with a worker says that it is alive.
pub(super) fn store_check(store: Store, heartbeat: Option<Heartbeat>) -> Check {
    Arc::new(move || {
        let (store, heartbeat) = (store.clone(), heartbeat.clone());
        Box::pin(async move {
            store.can_write().await.map_err(|error| error.to_string())?;
            store.transact(&WriteNothing).await.map_err(|error| error.to_string())?;
            match heartbeat {
                Some(heartbeat) if !heartbeat.beats().await => {
                    Err("this node cannot write that it is alive".to_owned())
                }
                _ => Ok(()),
            }
        })
    })
}

/// Writes nothing, where something might be written.
struct WriteNothing;

impl Change for WriteNothing {
    type Out = ();
    type Error = store::Error;

    const DURABLE: bool = false;

    async fn apply(&self, tx: &mut Tx) -> Result<(), store::Error> {
        programmes::write_nothing(tx).await
    }
}

/// Ready when the backend is.
pub(super) fn upstream_check(channel: Channel) -> Check {
    Arc::new(move || {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
        Box::pin(async move {
            let asked = health.check(tonic_health::pb::HealthCheckRequest { service: String::new() }).await;
            let answer =
                asked.map_err(|status| format!("the backend does not answer: {}", status.message()))?.into_inner();
            let serving = answer.status() == tonic_health::pb::health_check_response::ServingStatus::Serving;
            if serving { Ok(()) } else { Err("the backend is not serving".to_owned()) }
        })
    })
}
