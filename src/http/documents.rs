//! Documents that anybody may read: the OpenAPI description, and the keys that verify the signatures of webhooks.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, header};
use rest_bridge::Transport;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::pages::{reference_page, see_other};
use crate::api::error::DOMAIN;
use crate::api::v1::GetPublicKeysRequest;
use crate::api::v1::webhook_service_client::WebhookServiceClient;
use crate::signature::PublicKey;

/// The OpenAPI 3.1 description of the REST API, generated from the protobuf contract.
const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// `GET /openapi.json`, the same to read at `GET /docs` (where `GET /` leads), `GET /.well-known/jwks.json`.
pub fn documents(services: Transport) -> Router {
    let openapi =
        || async { ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], OPENAPI) };
    Router::new()
        .route("/", get(|| async { see_other("/docs") }))
        .route("/docs", get(|| async { reference_page(OPENAPI) }))
        .route("/openapi.json", get(openapi))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(WebhookServiceClient::new(services))
}

/// The response to a method that a path of ours outside of the generated routes does not have: all of them are read only;
/// axum adds `Allow`.
pub async fn wrong_method(OriginalUri(uri): OriginalUri, method: Method, headers: HeaderMap) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let mut details = ErrorDetails::new();
    let none = std::collections::HashMap::<String, String>::new();
    details.set_error_info(rest_bridge::reason::METHOD_NOT_ALLOWED, DOMAIN, none);
    let status = Status::with_error_details(
        Code::Unimplemented,
        "This path has no such method. It has GET, HEAD, OPTIONS.",
        details,
    );
    rest_bridge::problem_response(&(), &status, uri.path(), &headers)
}

/// The service's public keys as a JWK set (RFC 7517).
async fn jwks(State(mut services): State<WebhookServiceClient<Transport>>) -> Response {
    let Ok(answer) = services.get_public_keys(GetPublicKeysRequest {}).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response();
    };
    let keys = answer.into_inner().keys.into_iter();
    let keys: Vec<_> =
        keys.filter_map(|key| Some(PublicKey::from_spki_der(&key.spki).ok()?.jwk(&key.key_id))).collect();
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, json!({ "keys": keys }).to_string()).into_response()
}
