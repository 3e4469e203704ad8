//! The three servers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use rest_bridge::{Local, Options};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use crate::echo::Echo;
use crate::echo::echo_service_client::EchoServiceClient;
use crate::echo::echo_service_server::{EchoService, EchoServiceServer};

/// Serves a router on a free port.
pub(crate) async fn start(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The gRPC service under both bridges.
#[derive(Debug, Clone)]
struct Service;

#[tonic::async_trait]
impl EchoService for Service {
    async fn get_echo(&self, request: Request<Echo>) -> Result<Response<Echo>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn post_echo(&self, request: Request<Echo>) -> Result<Response<Echo>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

/// Ours, over the services of this process.
pub(crate) fn bridge() -> Router {
    let services = Local::new().service(EchoServiceServer::new(Service)).direct::<dyn EchoService>(Arc::new(Service));
    crate::bridge::router(services, (), Options::default())
}

/// rest_over_grpc: its tonic bridge, which calls the service's trait without a client.
pub(crate) fn rival() -> Router {
    let bridge =
        crate::echo::__rest_over_grpc_bridge_EchoService::EchoServiceRestBridge::externally_authenticated(Service);
    let transcoder = crate::rival::Transcoder::new(bridge);
    Router::new().fallback_service(rest_over_grpc::serving::RestService::new(transcoder).with_max_body_bytes(1 << 20))
}

/// The message as one would write it for serde: 64-bit integers as strings, unknown fields refused.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Book {
    id: String,
    title: String,
    pages: i32,
    #[serde(with = "text")]
    reads: i64,
    rating: f64,
    lent: bool,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Place {
    street: String,
    city: String,
    floor: u32,
}

/// A 64-bit integer as a string.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(value: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl From<Book> for Echo {
    fn from(book: Book) -> Self {
        let Book { id, title, pages, reads, rating, lent, tags, place } = book;
        let place = place.map(|Place { street, city, floor }| crate::echo::Place { street, city, floor });
        Self { id, title, pages, reads, rating, lent, tags, place }
    }
}

impl From<Echo> for Book {
    fn from(echo: Echo) -> Self {
        let Echo { id, title, pages, reads, rating, lent, tags, place } = echo;
        let place = place.map(|crate::echo::Place { street, city, floor }| Place { street, city, floor });
        Self { id, title, pages, reads, rating, lent, tags, place }
    }
}

type Client = EchoServiceClient<rest_bridge::Transport>;

fn failed(_: Status) -> http::StatusCode {
    http::StatusCode::INTERNAL_SERVER_ERROR
}

/// axum and serde by hand, before the same gRPC service and through the same client as the bridge.
pub(crate) fn hand_written_front() -> Router {
    let client = Client::new(Local::new().service(EchoServiceServer::new(Service)).into());
    let one = |State(mut client): State<Client>, Path(id): Path<String>, Query(book): Query<Book>| async move {
        let answer = client.get_echo(Echo::from(Book { id, ..book })).await.map_err(failed)?;
        Ok::<_, http::StatusCode>(Json(Book::from(answer.into_inner())))
    };
    let other = |State(mut client): State<Client>, Json(book): Json<Book>| async move {
        let answer = client.post_echo(Echo::from(book)).await.map_err(failed)?;
        Ok::<_, http::StatusCode>(Json(Book::from(answer.into_inner())))
    };
    Router::new().route("/v1/echo/{id}", get(one)).route("/v1/echo", post(other)).with_state(client)
}

/// axum and serde by hand, with no gRPC behind it.
pub(crate) fn hand_written() -> Router {
    Router::new()
        .route(
            "/v1/echo/{id}",
            get(|Path(id): Path<String>, Query(book): Query<Book>| async move { Json(Book { id, ..book }) }),
        )
        .route("/v1/echo", post(|Json(book): Json<Book>| async move { Json(book) }))
}
