//! `WatchEvents` while it catches up, against a bare tonic stream of the same messages.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use customerd::api::v1::auth_service_client::AuthServiceClient;
use customerd::api::v1::webhook_service_client::WebhookServiceClient;
use customerd::api::v1::{CreateTokenRequest, Event, WatchEventsRequest};
use customerd::app;
use customerd::cli::{Cli, Command};
use customerd::clock::Clock;
use customerd::serve::Shutdown;
use customerd::store::events;
use futures::{Stream, future, stream};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::Place;
use super::scene::Scene;
use super::table::{Bar, Row, Table, median};

const EVENTS: usize = 200_000;
const ROUNDS: usize = 5;
/// Events a second that are enough, whatever the floor.
const ENOUGH: f64 = 50_000.0;

pub(crate) async fn measure(table: &mut Table, place: &Place<'_>) {
    let url = place.url("stream").await;
    let scene = Scene::open(&url).await;
    scene.fill(EVENTS).await;
    events::place(&scene.store).await.unwrap();
    let shutdown = Shutdown::new();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let flags =
        ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--data-dir", data, "--database-url", &url];
    let cli = Cli::read(["customerd", "serve", "--no-sandbox"].iter().chain(&flags).map(Into::into)).unwrap();
    let Some(Command::Serve(serve)) = &cli.command else { panic!("not serve") };
    let service = app::start(&cli.common, serve, Clock::system(), shutdown.clone()).await.unwrap();
    let mut ours = Watcher::new(service.grpc.unwrap().to_string()).await;
    ours.sign_in(&scene).await;
    let mut bare = Watcher::new(bare(ours.read(EVENTS).await.1).await).await;
    let (mut rates, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (rate, floor) = (ours.read(EVENTS).await.0, bare.read(EVENTS).await.0);
        eprintln!("{}: {rate:.0}/s, bare {floor:.0}/s", place.name());
        rates.push(rate);
        floors.push(floor);
        ratios.push(rate / floor);
    }
    let rate = median(rates);
    table.add(Row {
        what: match place {
            Place::Sqlite(_) => {
                "events/s on one WatchEvents stream catching up on SQLite, against 50,000/s or half of a bare tonic stream"
            }
            Place::Postgres(_) => "the same on PostgreSQL",
        },
        measured: format!("{rate:.0}/s"),
        floor: format!("{:.0}/s", median(floors)),
        figure: (rate / ENOUGH).max(median(ratios) / 0.5),
        unit: "",
        bar: Bar::AtLeast(1.0),
    });
    shutdown.start();
    service.finish().await.unwrap();
}

struct Watcher {
    channel: Channel,
    token: String,
}

impl Watcher {
    async fn new(address: String) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { channel, token: "none".to_owned() }
    }

    async fn sign_in(&mut self, scene: &Scene) {
        let (api_key, api_secret) = (scene.profile.api_key.to_string(), &scene.profile.api_secret);
        let request = CreateTokenRequest { api_key, api_secret: api_secret.expose_secret().to_owned() };
        let answer = AuthServiceClient::new(self.channel.clone()).create_token(request).await.unwrap();
        self.token = answer.into_inner().token;
    }

    /// Reads so many events from the beginning: how many a second, and the events.
    async fn read(&mut self, count: usize) -> (f64, Vec<Event>) {
        let mut request = Request::new(WatchEventsRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        let mut read = Vec::with_capacity(count);
        let mut client = WebhookServiceClient::new(self.channel.clone());
        let begun = Instant::now();
        let mut events = client.watch_events(request).await.unwrap().into_inner();
        while read.len() < count {
            read.push(events.message().await.unwrap().expect("more events"));
        }
        (count as f64 / begun.elapsed().as_secs_f64(), read)
    }
}

/// A server whose stream is in memory; where it listens.
async fn bare(events: Vec<Event>) -> String {
    let events = Arc::new(events);
    let answer = move |request: axum::extract::Request| {
        let events = Bare(Arc::clone(&events));
        async move {
            let mut grpc = Grpc::new(ProstCodec::<Event, WatchEventsRequest>::default());
            grpc.server_streaming(events, request).await.map(axum::body::Body::new)
        }
    };
    let path = "/customerd.v1.WebhookService/WatchEvents";
    let routes = Routes::from(axum::Router::new().route(path, axum::routing::post(answer)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tonic::transport::Server::builder().add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

struct Bare(Arc<Vec<Event>>);

impl ServerStreamingService<WatchEventsRequest> for Bare {
    type Response = Event;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;
    type Future = future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<WatchEventsRequest>) -> Self::Future {
        let events = Arc::clone(&self.0);
        let all = (0..events.len()).map(move |index| Ok(events[index].clone()));
        let all: Self::ResponseStream = Box::pin(stream::iter(all));
        future::ready(Ok(Response::new(all)))
    }
}
