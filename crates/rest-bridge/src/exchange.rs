//! One request and its answer: check, admit, decode, call, encode.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use tonic::codec::Streaming;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::accept::{Form, is_json};
use crate::bridge::{Shared, original_uri};
use crate::deadline;
use crate::fail::{Result as Decoded, refusal};
use crate::gate::{Gate, Incoming, reason};
use crate::input::Input;
use crate::json::Writer;
use crate::problem::{copy_metadata, render, respond};
use crate::route::{Route, Segments};
use crate::stream::{Follow, follow};
use crate::transport::Transport;

/// A generated decoder: fills the request message from body, path and query.
pub type Decode<Req> = fn(&Input<'_>, &mut Req) -> Decoded<()>;
/// A generated encoder: writes the response message.
pub type Encode<Res> = fn(&mut Writer, &Res);
/// Reads the SSE id from a message.
pub type EventId<Res> = fn(&Res) -> Option<&str>;

/// A routed request that waits for its answer.
#[derive(Debug)]
pub struct Exchange<G> {
    pub(crate) shared: Arc<Shared<G>>,
    pub(crate) route: &'static Route,
    pub(crate) segments: Segments,
    pub(crate) form: Option<Form>,
    pub(crate) request: Request<Body>,
}

/// What remains of the request once its body is read.
pub(crate) struct Head<G> {
    pub(crate) shared: Arc<Shared<G>>,
    pub(crate) route: &'static Route,
    segments: Segments,
    pub(crate) parts: Parts,
    original: Option<http::Uri>,
}

impl<G: Gate> Head<G> {
    fn uri(&self) -> &http::Uri {
        self.original.as_ref().unwrap_or(&self.parts.uri)
    }

    /// The response of a status.
    pub(crate) fn problem(&self, status: &Status) -> Response {
        let rendered = render(&self.shared.gate, status, self.uri().path(), &self.parts.headers);
        self.head_only(respond(rendered, status, &self.shared.options.reply))
    }

    /// The problem document of a status, on one line.
    pub(crate) fn problem_json(&self, status: &Status) -> Vec<u8> {
        render(&self.shared.gate, status, self.uri().path(), &self.parts.headers).json
    }

    /// `HEAD` gets the header of the answer and no body.
    fn head_only(&self, mut response: Response) -> Response {
        if self.parts.method == Method::HEAD {
            let length = response.body().size_hint().exact();
            *response.body_mut() = Body::empty();
            if let Some(length) = length.filter(|_| response.status() != StatusCode::NO_CONTENT) {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        response
    }

    /// Copies the allow-listed request headers beside what the gate gave.
    fn forward(&self, metadata: MetadataMap) -> MetadataMap {
        let mut merged = metadata.into_headers();
        let own: Vec<_> = merged.keys().cloned().collect();
        for (name, value) in &self.parts.headers {
            if self.shared.options.forward.contains(name) && !own.contains(name) {
                merged.append(name.clone(), value.clone());
            }
        }
        MetadataMap::from_headers(merged)
    }
}

impl<G: Gate> Exchange<G> {
    /// The answer of a route that no generated arm serves: the table and the arms come from one run, so this is a fault.
    pub async fn unserved(self) -> Response {
        let status = Status::internal("the route has no call");
        respond(
            render(&self.shared.gate, &status, original_uri(&self.request).path(), self.request.headers()),
            &status,
            &[],
        )
    }

    /// Answers with one message.
    pub async fn unary<Req, Res, F, Fut>(self, decode: Decode<Req>, call: F, encode: Encode<Res>) -> Response
    where
        Req: Default,
        F: FnOnce(Transport, tonic::Request<Req>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<Res>, Status>>,
    {
        let (head, mut request) = match self.prepare(decode).await {
            Ok(prepared) => prepared,
            Err(response) => return *response,
        };
        let deadline = match deadline::of(&head.parts.headers, head.shared.options.deadline) {
            Ok(deadline) => deadline,
            Err(fail) => return head.problem(&fail.into_status(&head.shared.options.error_domain)),
        };
        if let Some(deadline) = deadline {
            request.set_timeout(deadline);
        }
        let call = call(head.shared.transport.clone(), request);
        let answer = match deadline {
            None => call.await,
            Some(deadline) => tokio::time::timeout(deadline, call)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("the deadline of the call passed"))),
        };
        match answer {
            Ok(answer) => head.success(&answer, encode),
            Err(status) => head.problem(&status),
        }
    }

    /// Answers with a stream of messages.
    pub async fn streaming<Req, Res, F, Fut>(self, decode: Decode<Req>, call: F, frame: Follow<Res>) -> Response
    where
        Req: Default,
        Res: Send + 'static,
        F: FnOnce(Transport, tonic::Request<Req>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<Streaming<Res>>, Status>>,
    {
        let form = self.form.unwrap_or(Form::Ndjson);
        let (head, request) = match self.prepare(decode).await {
            Ok(prepared) => prepared,
            Err(response) => return *response,
        };
        match call(head.shared.transport.clone(), request).await {
            Ok(answer) => {
                let (metadata, messages, _) = answer.into_parts();
                let is_head = head.parts.method == Method::HEAD;
                let reply = head.shared.clone();
                let body = if is_head { Body::empty() } else { follow(head, messages, frame, form) };
                let mut response = Response::new(body);
                let headers = response.headers_mut();
                copy_metadata(metadata.as_ref(), &reply.options.reply, headers);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
                headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(status) => head.problem(&status),
        }
    }

    /// Everything before the call.
    async fn prepare<Req: Default>(self, decode: Decode<Req>) -> Result<(Head<G>, tonic::Request<Req>), Box<Response>> {
        let Self { shared, route, segments, form, request } = self;
        let original = request.extensions().get::<axum::extract::OriginalUri>().is_some();
        let original = original.then(|| original_uri(&request).clone());
        let (parts, body) = request.into_parts();
        let head = Head { shared, route, segments, parts, original };
        let refuse = |status: Status| Box::new(head.problem(&status));
        let body = read(&head, body).await.map_err(refuse)?;
        if !body.is_empty() && !is_json(&head.parts.headers) {
            let message = "The body must be application/json in UTF-8.";
            return Err(refuse(refusal(Code::InvalidArgument, reason::UNSUPPORTED_MEDIA_TYPE, message)));
        }
        if form.is_none() && !route.empty {
            let message = "None of the media types in Accept can be given here.";
            return Err(refuse(refusal(Code::InvalidArgument, reason::NOT_ACCEPTABLE, message)));
        }
        let incoming = head.incoming(&body);
        let gate = &head.shared.gate;
        let admitted = gate.admit(&incoming).await.map_err(refuse)?;
        let metadata = head.forward(admitted);
        let mut message = Req::default();
        if let Err(fail) = decode(&head.input(&body), &mut message) {
            let status = fail.into_status(&head.shared.options.error_domain);
            return Err(refuse(gate.invalid(&incoming, &metadata, status).await));
        }
        Ok((head, tonic::Request::from_parts(metadata, http::Extensions::new(), message)))
    }
}

/// Reads the body, and no more of it than the limit.
async fn read<G: Gate>(head: &Head<G>, body: Body) -> Result<Bytes, Status> {
    let limit = head.shared.options.body_limit;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_large = || {
        let message = format!("The body may have at most {limit} bytes.");
        refusal(Code::InvalidArgument, reason::PAYLOAD_TOO_LARGE, &message)
    };
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Status::cancelled("the body broke off")),
    }
}

impl<G: Gate> Head<G> {
    fn incoming<'a>(&'a self, body: &'a Bytes) -> Incoming<'a> {
        Incoming {
            route: self.route,
            method: &self.parts.method,
            uri: self.uri(),
            version: self.parts.version,
            headers: &self.parts.headers,
            extensions: &self.parts.extensions,
            body,
        }
    }

    fn input<'a>(&'a self, body: &'a Bytes) -> Input<'a> {
        let last_event_id = header(&self.parts.headers, "last-event-id").filter(|_| self.route.streaming);
        Input {
            route: self.route,
            path: self.parts.uri.path(),
            segments: &self.segments,
            query: self.parts.uri.query(),
            body,
            last_event_id,
        }
    }

    fn success<Res>(&self, answer: &tonic::Response<Res>, encode: Encode<Res>) -> Response {
        let mut response = if self.route.empty {
            Response::new(Body::empty())
        } else {
            let mut json = Writer::with_capacity(512);
            encode(&mut json, answer.get_ref());
            let Ok(json) = json.finish() else {
                return self.problem(&Status::internal("the answer has no JSON form"));
            };
            let mut response = Response::new(Body::from(json));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        };
        *response.status_mut() = StatusCode::from_u16(self.route.success).unwrap_or(StatusCode::OK);
        copy_metadata(answer.metadata().as_ref(), &self.shared.options.reply, response.headers_mut());
        self.head_only(response)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}
