//! The service that the generated `router` mounts: it finds the route and hands over to its exchange.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::OriginalUri;
use axum::response::Response;
use futures::future::BoxFuture;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use tonic::Code;

use crate::accept::{Form, negotiate};
use crate::exchange::Exchange;
use crate::fail::refusal;
use crate::gate::{Gate, reason};
use crate::nearest;
use crate::options::Options;
use crate::problem::problem_response;
use crate::route::{self, Found, Node, Route};
use crate::transport::Transport;

/// What the generator writes: the routes, and which call each makes.
pub trait Api: Send + Sync + 'static {
    /// Every route.
    fn routes() -> &'static [Route];
    /// The tree of their paths.
    fn tree() -> &'static Node;
    /// Answers a request of route `index`.
    fn serve<G: Gate>(index: usize, exchange: Exchange<G>) -> BoxFuture<'static, Response>;
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared<G> {
    pub(crate) transport: Transport,
    pub(crate) gate: G,
    pub(crate) options: Options,
}

/// The generated routes as a tower service.
#[derive(Debug)]
pub struct Bridge<A, G> {
    shared: Arc<Shared<G>>,
    api: PhantomData<fn() -> A>,
}

impl<A, G> Clone for Bridge<A, G> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), api: PhantomData }
    }
}

/// A router whose fallback is the bridge: other routes can be added, and those of the bridge answer the rest, unknown
/// paths included.
pub fn router<A: Api, G: Gate>(transport: Transport, gate: G, options: Options) -> axum::Router {
    axum::Router::new().fallback_service(Bridge::<A, G>::new(transport, gate, options))
}

/// The template of the route that would answer, `/v1/customers/{customerId}`: how metrics and logs name a request without
/// repeating what its caller wrote.
pub fn template<A: Api>(method: &Method, path: &str) -> Option<&'static str> {
    match route::find(A::tree(), A::routes(), method, path) {
        Found::Routes { candidates, .. } => A::routes().get(*candidates.first()?).map(|route| route.template),
        Found::Methods(_) | Found::Nothing => None,
    }
}

impl<A: Api, G: Gate> Bridge<A, G> {
    /// The service without a router around it.
    pub fn new(transport: Transport, gate: G, options: Options) -> Self {
        Self { shared: Arc::new(Shared { transport, gate, options }), api: PhantomData }
    }

    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response> {
        let found = route::find(A::tree(), A::routes(), request.method(), request.uri().path());
        let (candidates, segments) = match found {
            Found::Routes { candidates, segments } => (candidates, segments),
            Found::Methods(methods) => return ready(self.wrong_method(&request, &methods)),
            Found::Nothing => {
                let there = nearest::described(A::routes(), request.uri().path());
                let text = format!("There is nothing at this path. {there}");
                let status = refusal(Code::NotFound, reason::ROUTE_NOT_FOUND, &text);
                return ready(self.refuse(&request, &status));
            }
        };
        let (unary, streaming) = candidates_of::<A>(candidates, request.method());
        let offered: &[Form] = match (unary, streaming) {
            (_, None) => &[Form::Json],
            (None, Some(_)) => &[Form::Ndjson, Form::Events],
            (Some(_), Some(_)) => &[Form::Json, Form::Ndjson, Form::Events],
        };
        let form = negotiate(request.headers(), offered);
        let chosen = match form {
            Some(Form::Ndjson | Form::Events) => streaming,
            _ => unary.or(streaming),
        };
        match chosen.and_then(|index| Some((index, A::routes().get(index)?))) {
            Some((index, route)) => {
                A::serve(index, Exchange { shared: Arc::clone(&self.shared), route, segments, form, request })
            }
            None => ready(self.wrong_method(&request, &[])),
        }
    }

    fn wrong_method(&self, request: &Request<Body>, methods: &[Method]) -> Response {
        let mut response = if request.method() == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        } else {
            let text = format!("This path has no such method. It has {}.", route::allow(methods));
            let status = refusal(Code::Unimplemented, reason::METHOD_NOT_ALLOWED, &text);
            self.refuse(request, &status)
        };
        if let Ok(allow) = HeaderValue::try_from(route::allow(methods)) {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }

    fn refuse(&self, request: &Request<Body>, status: &tonic::Status) -> Response {
        problem_response(&self.shared.gate, status, original_uri(request).path(), request.headers())
    }
}

/// The unary and the streaming route of a method; `HEAD` is `GET`'s.
fn candidates_of<A: Api>(candidates: &[usize], method: &Method) -> (Option<usize>, Option<usize>) {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let pick = |streaming: bool| {
        let fits = |route: &Route| route.streaming == streaming && route.method == *method;
        candidates.iter().copied().find(|&index| A::routes().get(index).is_some_and(fits))
    };
    (pick(false), pick(true))
}

/// The target as sent, before a router took a prefix off.
pub(crate) fn original_uri<B>(request: &Request<B>) -> &Uri {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |original| &original.0)
}

fn ready(response: Response) -> BoxFuture<'static, Response> {
    Box::pin(std::future::ready(response))
}

impl<A: Api, G: Gate> tower::Service<Request<Body>> for Bridge<A, G> {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        Answer(self.handle(request))
    }
}

/// The answer of a [`Bridge`].
pub struct Answer(BoxFuture<'static, Response>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Capture, Leaf, RequestBody};

    struct One;

    static ROUTES: [Route; 1] = [Route {
        method: Method::GET,
        template: "/customers/{id}",
        rpc: "a.B/Get",
        body: RequestBody::None,
        success: 200,
        streaming: false,
        empty: false,
        captures: &[Capture { from: 1, to: Some(2) }],
    }];
    static ID: Node = Node { literals: &[], any: None, rest: &[], leaves: &[Leaf { verb: "", routes: &[0] }] };
    static TREE: Node = Node { literals: &[("customers", CUSTOMERS)], any: None, rest: &[], leaves: &[] };
    const CUSTOMERS: Node = Node { literals: &[], any: Some(&ID), rest: &[], leaves: &[] };

    impl Api for One {
        fn routes() -> &'static [Route] {
            &ROUTES
        }

        fn tree() -> &'static Node {
            &TREE
        }

        fn serve<G: Gate>(_: usize, exchange: Exchange<G>) -> BoxFuture<'static, Response> {
            Box::pin(exchange.unserved())
        }
    }

    #[test]
    fn a_request_is_named_by_its_template() {
        let named = |method, path| template::<One>(&method, path);
        assert_eq!(named(Method::GET, "/customers/1"), Some("/customers/{id}"));
        assert_eq!(named(Method::HEAD, "/customers/1"), Some("/customers/{id}"));
        assert_eq!(named(Method::PUT, "/customers/1"), None);
        assert_eq!(named(Method::GET, "/customers"), None);
    }
}
