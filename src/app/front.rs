//! The HTTP side: the generated bridge behind the edge, health and metrics.

use std::sync::Arc;

use axum::Router;
use rest_bridge::Transport;

use crate::api;
use crate::clock::Clock;
use crate::http::{Edge, documents, portal, wrong_method};
use crate::signature::Origins;

/// What the front is made of.
pub(super) struct Front {
    /// Where the services are.
    pub(super) transport: Transport,
    /// Where the front is reached.
    pub(super) origins: Origins,
    /// Time for signatures' windows.
    pub(super) clock: Clock,
    /// Largest body, bytes.
    pub(super) body_limit: usize,
    /// Deadline of each call.
    pub(super) deadline: std::time::Duration,
}

impl Front {
    /// Every route but those of health and metrics.
    pub(super) fn router(self) -> Router {
        let edge = Arc::new(Edge::new(self.origins, self.clock, self.transport.clone()));
        let mut options = rest_bridge::Options {
            body_limit: self.body_limit,
            deadline: Some(self.deadline),
            error_domain: api::error::DOMAIN.to_owned(),
            ..rest_bridge::Options::default()
        };
        options.forward.push(crate::serve::CLIENT_ADDRESS);
        let documents = documents(self.transport.clone());
        let portal = portal(self.transport.clone());
        api::rest::router(self.transport, edge, options)
            .merge(documents)
            .merge(portal)
            .method_not_allowed_fallback(wrong_method)
    }
}
