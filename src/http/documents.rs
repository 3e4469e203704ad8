//! Documents that anybody may read: the OpenAPI description, and the keys that verify the signatures of webhooks.

use axum::Extension;
use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
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

/// A request whose path has not its method, until it is known which it has: axum adds `Allow` when a router's fallback has
/// answered.
#[derive(Debug, Clone)]
struct WrongMethod {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// The fallback of routes beside the generated ones for methods that they do not have. [`say_methods`] goes around the router.
pub async fn wrong_method(OriginalUri(uri): OriginalUri, method: Method, headers: HeaderMap) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, Extension(WrongMethod { method, uri, headers })).into_response()
}

/// Says, as the generated routes do, which methods a path has, by the response's own `Allow`.
pub fn say_methods(mut response: Response) -> Response {
    let Some(WrongMethod { method, uri, headers }) = response.extensions_mut().remove() else { return response };
    let allow = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    let mut methods: Vec<&str> = allow.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    methods.push(Method::OPTIONS.as_str());
    methods.sort_unstable();
    let allow = methods.join(", ");
    let mut answer = if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let mut details = ErrorDetails::new();
        let none = std::collections::HashMap::<String, String>::new();
        details.set_error_info(rest_bridge::reason::METHOD_NOT_ALLOWED, DOMAIN, none);
        let detail = format!("This path has no such method. It has {allow}.");
        let status = Status::with_error_details(Code::Unimplemented, detail, details);
        rest_bridge::problem_response(&(), &status, uri.path(), &headers)
    };
    if let Ok(allow) = HeaderValue::try_from(allow) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
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
