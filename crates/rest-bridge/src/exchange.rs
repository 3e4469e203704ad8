//! One request and its answer: check, admit, decode, call, encode.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body as _;
use tonic::codec::Streaming;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::accept::{Form, is_json};
use crate::body::Reader;
use crate::bridge::{Shared, original_uri};
use crate::deadline;
use crate::fail::{Result as Decoded, of_call, refusal};
use crate::gate::{Early, Gate, Head, Incoming, reason};
use crate::input::Input;
use crate::json::Writer;
use crate::problem::{Rendered, copy_metadata, render, respond};
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
    /// The request; its body is taken out when it is read.
    pub(crate) request: Request<Body>,
}

impl<G: Gate> Exchange<G> {
    /// The answer of a route that no generated arm serves: the table and the arms come from one run, so this is a fault.
    pub async fn unserved(self) -> Response {
        self.problem(&Status::internal("the route has no call"))
    }

    /// Answers with one message.
    pub async fn unary<Req, Res, F, Fut>(mut self, decode: Decode<Req>, call: F, encode: Encode<Res>) -> Response
    where
        Req: Default,
        F: FnOnce(Transport, tonic::Request<Req>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<Res>, Status>>,
    {
        let mut request = match self.prepare(decode).await {
            Ok(request) => request,
            Err(status) => return self.problem(&status),
        };
        let deadline = match deadline::of(self.request.headers(), self.shared.options.deadline) {
            Ok(deadline) => deadline,
            Err(fail) => return self.problem(&fail.into_status(&self.shared.options.error_domain)),
        };
        let transport = self.shared.transport.clone();
        let answer = match deadline {
            None => call(transport, request).await,
            Some(deadline) => {
                request.set_timeout(deadline);
                let answer = tokio::time::timeout(deadline, call(transport, request)).await;
                answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("the deadline of the call passed")))
            }
        };
        match answer {
            Ok(answer) => self.success(&answer, encode),
            Err(status) => self.problem(&of_call(status)),
        }
    }

    /// Answers with a stream of messages.
    pub async fn streaming<Req, Res, F, Fut>(mut self, decode: Decode<Req>, call: F, frame: Follow<Res>) -> Response
    where
        Req: Default,
        Res: Send + 'static,
        F: FnOnce(Transport, tonic::Request<Req>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<Streaming<Res>>, Status>>,
    {
        let request = match self.prepare(decode).await {
            Ok(request) => request,
            Err(status) => return self.problem(&status),
        };
        let (metadata, messages, _) = match call(self.shared.transport.for_streams(), request).await {
            Ok(answer) => answer.into_parts(),
            Err(status) => return self.problem(&of_call(status)),
        };
        let form = self.form.unwrap_or(Form::Ndjson);
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        copy_metadata(metadata.as_ref(), &self.shared.options.reply, headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx and its kin gather a response unless it says otherwise.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        if self.request.method() != Method::HEAD {
            *response.body_mut() = follow(self, messages, frame, form);
        }
        response
    }

    /// Everything before the call.
    async fn prepare<Req: Default>(&mut self, decode: Decode<Req>) -> Result<tonic::Request<Req>, Status> {
        let mut reader = Reader::new(std::mem::take(self.request.body_mut()), self.shared.options.body_limit)?;
        let mut has_body = reader.announced();
        self.check_media(has_body == Some(true))?;
        let gate = &self.shared.gate;
        let mut early = gate.head(&self.head(has_body));
        if has_body.is_none() && matches!(early, Early::Admitted(_)) {
            has_body = Some(reader.begins().await?);
            if has_body == Some(true) {
                self.check_media(true)?;
                early = gate.head(&self.head(has_body));
            }
        }
        let (early, body) = match early {
            Early::Refused(status) => return Err(status),
            Early::RefusedAfterCaller(status) => (Err(status), reader.arrived().await),
            Early::Admitted(metadata) if has_body == Some(false) => (Ok(metadata), Some(Bytes::new())),
            Early::Admitted(metadata) => (Ok(metadata), Some(reader.read().await?)),
        };
        let incoming = Incoming { head: self.head(has_body), body: body.as_ref() };
        let admitted = gate.admit(&incoming, early).await?;
        let Some(body) = &body else { return Err(Status::internal("admitted without its body")) };
        let metadata = self.forward(admitted);
        let mut message = Req::default();
        if let Err(fail) = decode(&self.input(body), &mut message) {
            let status = fail.into_status(&self.shared.options.error_domain);
            return Err(gate.invalid(&incoming, &metadata, status).await);
        }
        Ok(tonic::Request::from_parts(metadata, http::Extensions::new(), message))
    }

    /// What the headers alone decide before the gate is asked.
    fn check_media(&self, has_body: bool) -> Result<(), Status> {
        if has_body && !is_json(self.request.headers()) {
            let message = "The body must be application/json in UTF-8.";
            return Err(refusal(Code::InvalidArgument, reason::UNSUPPORTED_MEDIA_TYPE, message));
        }
        if self.form.is_none() && !self.route.empty {
            let message = "None of the media types in Accept can be given here.";
            return Err(refusal(Code::InvalidArgument, reason::NOT_ACCEPTABLE, message));
        }
        Ok(())
    }

    fn head(&self, has_body: Option<bool>) -> Head<'_> {
        Head {
            route: self.route,
            method: self.request.method(),
            uri: original_uri(&self.request),
            version: self.request.version(),
            headers: self.request.headers(),
            extensions: self.request.extensions(),
            has_body,
        }
    }

    fn input<'a>(&'a self, body: &'a Bytes) -> Input<'a> {
        let last_event_id = if self.route.streaming { header(self.request.headers(), "last-event-id") } else { None };
        Input {
            route: self.route,
            path: self.request.uri().path(),
            segments: &self.segments,
            query: self.request.uri().query(),
            body,
            last_event_id,
        }
    }

    /// Copies the allow-listed request headers beside what the gate gave.
    fn forward(&self, metadata: MetadataMap) -> MetadataMap {
        let mut merged = metadata.into_headers();
        let own: Vec<_> = merged.keys().cloned().collect();
        for (name, value) in self.request.headers() {
            if self.shared.options.forward.contains(name) && !own.contains(name) {
                merged.append(name.clone(), value.clone());
            }
        }
        MetadataMap::from_headers(merged)
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

    /// The response of a status.
    fn problem(&self, status: &Status) -> Response {
        self.head_only(respond(self.rendered(status), status, &self.shared.options.reply))
    }

    /// The problem document of a status.
    pub(crate) fn rendered(&self, status: &Status) -> Rendered {
        render(&self.shared.gate, status, original_uri(&self.request).path(), self.request.headers())
    }

    /// `HEAD` gets the header of the answer and no body.
    fn head_only(&self, mut response: Response) -> Response {
        if self.request.method() == Method::HEAD {
            let length = response.body().size_hint().exact();
            *response.body_mut() = Body::empty();
            if let Some(length) = length.filter(|_| response.status() != StatusCode::NO_CONTENT) {
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        response
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}
