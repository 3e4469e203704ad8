//! `/healthz`, `/readyz`, `/metrics`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use http::{StatusCode, header};

use super::Metrics;
use crate::clock::Clock;
use crate::serve::Shutdown;

/// How long the service's own check may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The service's own check: an error says, in words for an operator, what is missing. Called for every question.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Whether the service is fit for work: it has started, its check passes within two seconds and it is neither draining nor
/// shutting down.
#[derive(Clone)]
pub struct Readiness {
    clock: Clock,
    shutdown: Shutdown,
    check: Arc<OnceLock<Check>>,
}

impl Readiness {
    /// Of a service that is not ready before [`Readiness::started`].
    pub fn starting(clock: Clock, shutdown: Shutdown) -> Self {
        Self { clock, shutdown, check: Arc::default() }
    }

    /// It has started. `check` is the app's, which alone knows what the service needs.
    pub fn started(&self, check: Check) {
        // A service starts once.
        let _ = self.check.set(check);
    }

    /// Asks.
    ///
    /// # Errors
    /// Why it is not fit.
    pub async fn ask(&self) -> Result<(), String> {
        if self.shutdown.is_started() {
            return Err("shutting down".to_owned());
        }
        if self.shutdown.is_draining() {
            return Err("draining".to_owned());
        }
        let Some(check) = self.check.get() else {
            return Err("starting: opening and migrating the database".to_owned());
        };
        let checked = self.clock.timeout(PATIENCE, check()).await;
        checked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }
}

/// The three routes. `/healthz` says only that the process answers.
pub fn routes(readiness: Readiness, metrics: Metrics) -> Router {
    let healthz = || async { plain(StatusCode::OK, "ok\n".to_owned()) };
    let readyz = |State(readiness): State<Readiness>| async move {
        match readiness.ask().await {
            Ok(()) => plain(StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        }
    };
    let scrape =
        move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()) };
    let health = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(readiness);
    health.route("/metrics", get(scrape))
}

fn plain(status: StatusCode, text: String) -> impl IntoResponse {
    (status, [(header::CACHE_CONTROL, "no-store")], text)
}
