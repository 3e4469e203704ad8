//! Documents that anybody may read: the OpenAPI description.

use axum::Router;
use axum::routing::get;
use http::header;

/// The OpenAPI 3.1 description of the REST API, generated from the protobuf contract.
const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// `GET /openapi.json`.
pub fn documents() -> Router {
    let openapi =
        || async { ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], OPENAPI) };
    Router::new().route("/openapi.json", get(openapi))
}
