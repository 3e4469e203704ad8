//! Health: on a listener of its own, or beside REST.

use std::net::SocketAddr;

use axum::Router;
use tokio::task::JoinSet;
use tower::ServiceBuilder;

use super::start::run;
use crate::clock::Clock;
use crate::config;
use crate::http::{say_methods, wrong_method};
use crate::serve::{IdentifyLayer, Limits, Listener, Shutdown};
use crate::telemetry::{self, Check, Metrics, Readiness};

/// Health of a node that is starting, and then of one that has started.
pub(super) struct Health {
    /// Its own listener's address, if it has one.
    pub(super) addr: Option<SocketAddr>,
    readiness: Readiness,
    routes: Router,
}

impl Health {
    /// If it has a listener of its own, it is answered from now on, so that a long migration is not taken for a process that
    /// hangs. It is apart from everything that could hold it up, its limits are its own.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub(super) async fn open(
        args: &config::Health,
        metrics: &Metrics,
        (clock, shutdown): (&Clock, &Shutdown),
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let readiness = Readiness::starting(clock.clone(), shutdown.clone());
        let routes = telemetry::routes(readiness.clone(), metrics.clone()).method_not_allowed_fallback(wrong_method);
        let Some(addr) = args.health_addr else { return Ok(Self { addr: None, readiness, routes }) };
        let listener = Listener::bind(addr, clock.clone(), Limits::default()).await?;
        let addr = listener.addr();
        tracing::info!(health = %addr, "health is answered");
        let identified = ServiceBuilder::new().layer(IdentifyLayer::new(clock.clone()));
        let door = identified.map_response(say_methods).service(routes);
        tasks.spawn(run(listener, door, shutdown.clone()));
        Ok(Self { addr: Some(addr), readiness, routes: Router::new() })
    }

    /// The node has started: from now on it is ready when `check` passes.
    pub(super) fn started(&self, check: Check) {
        self.readiness.started(check);
    }

    /// The routes for the REST listener: none where health has its own.
    pub(super) fn routes(self) -> Router {
        self.routes
    }
}
