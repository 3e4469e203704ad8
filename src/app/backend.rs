//! The gRPC side: the services on a store, reflection, health.

use std::sync::Arc;

use rest_bridge::Local;
use tonic::body::Body;
use tonic::service::{LayerExt as _, Routes};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::MapResponseLayer;

use crate::api;
use crate::api::v1::account_service_server::{AccountService, AccountServiceServer, SERVICE_NAME as ACCOUNTS};
use crate::api::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN};
use crate::api::v1::auth_service_server::{AuthService, AuthServiceServer, SERVICE_NAME as AUTH};
use crate::api::v1::card_service_server::{CardService, CardServiceServer, SERVICE_NAME as CARDS};
use crate::api::v1::customer_service_server::{CustomerService, CustomerServiceServer, SERVICE_NAME as CUSTOMERS};
use crate::api::v1::portal_service_server::{PortalServiceServer, SERVICE_NAME as PORTAL};
use crate::api::v1::simulator_service_server::{SERVICE_NAME as SIMULATOR, SimulatorService, SimulatorServiceServer};
use crate::api::v1::webhook_service_server::{SERVICE_NAME as WEBHOOKS, WebhookServiceServer};
use crate::serve::Anonymous;
use crate::service::Api;
use crate::telemetry::{ObserveLayer, Rpcs};

/// The services that reflection and health show, besides the whole server (the empty name).
const SERVICES: [&str; 8] = [AUTH, CUSTOMERS, ACCOUNTS, CARDS, SIMULATOR, PORTAL, WEBHOOKS, ADMIN];

/// Every descriptor set that reflection shows.
const DESCRIPTORS: [&[u8]; 3] =
    [api::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_types::pb::FILE_DESCRIPTOR_SET];

/// The longest message, in bytes, that reflection and health read: a name.
const QUESTION: usize = 4096;

/// A server of tonic's that reads messages of at most so many bytes.
macro_rules! server {
    ($server:ident, $api:expr, $limit:expr) => {
        $server::new($api.clone()).max_decoding_message_size($limit)
    };
}

/// The gRPC services, ready to be served.
pub struct Backend {
    /// Everything that the gRPC listener serves.
    pub public: Routes,
    health: HealthReporter,
}

impl Backend {
    /// The services of `api`, which read messages of at most `message_limit` bytes.
    ///
    /// # Errors
    ///
    /// The descriptors do not belong together: a mistake in the build.
    pub async fn new(api: &Api, message_limit: usize) -> anyhow::Result<Self> {
        let services = Routes::new(server!(AuthServiceServer, api, message_limit))
            .add_service(server!(CustomerServiceServer, api, message_limit))
            .add_service(server!(PortalServiceServer, api, message_limit))
            .add_service(server!(AccountServiceServer, api, message_limit))
            .add_service(server!(CardServiceServer, api, message_limit))
            .add_service(server!(SimulatorServiceServer, api, message_limit))
            .add_service(server!(WebhookServiceServer, api, message_limit))
            .add_service(server!(AdminServiceServer, api, message_limit));
        let (health, health_service) = tonic_health::server::health_reporter();
        let builder = || {
            DESCRIPTORS.into_iter().fold(tonic_reflection::server::Builder::configure(), |builder, set| {
                builder.register_encoded_file_descriptor_set(set)
            })
        };
        let marked = MapResponseLayer::new(anonymous);
        let public = services
            .add_service(marked.named_layer(health_service.max_decoding_message_size(QUESTION)))
            .add_service(marked.named_layer(builder().build_v1()?.max_decoding_message_size(QUESTION)))
            .add_service(marked.named_layer(builder().build_v1alpha()?.max_decoding_message_size(QUESTION)));
        let backend = Self { public, health };
        backend.report(ServingStatus::Serving).await;
        Ok(backend)
    }

    /// Tells health checkers.
    pub async fn report(&self, status: ServingStatus) {
        for service in SERVICES.into_iter().chain([""]) {
            self.health.set_service_status(service, status).await;
        }
    }
}

/// Marks the response of a service that anybody may call.
fn anonymous(mut response: http::Response<Body>) -> http::Response<Body> {
    response.extensions_mut().insert(Anonymous);
    response
}

/// The services without reflection and health, as the REST front of this process calls them: it has read a body of its own
/// limit already.
pub(super) fn in_process(api: &Api, observe: &ObserveLayer) -> Local {
    Local::new()
        .service(observe.named_layer(server!(AuthServiceServer, api, usize::MAX)))
        .service(observe.named_layer(server!(CustomerServiceServer, api, usize::MAX)))
        .service(observe.named_layer(server!(PortalServiceServer, api, usize::MAX)))
        .service(observe.named_layer(server!(AccountServiceServer, api, usize::MAX)))
        .service(observe.named_layer(server!(CardServiceServer, api, usize::MAX)))
        .service(observe.named_layer(server!(SimulatorServiceServer, api, usize::MAX)))
        .service(observe.named_layer(server!(WebhookServiceServer, api, usize::MAX)))
        .direct::<dyn AuthService>(Arc::new(api.clone()))
        .direct::<dyn CustomerService>(Arc::new(api.clone()))
        .direct::<dyn AccountService>(Arc::new(api.clone()))
        .direct::<dyn CardService>(Arc::new(api.clone()))
        .direct::<dyn SimulatorService>(Arc::new(api.clone()))
        .watched(observe.watch())
}

/// The names of every RPC, for metrics.
pub(super) fn rpcs() -> Rpcs {
    Rpcs::of(DESCRIPTORS)
}
