//! What HTTP alone can check of a request: its headers, its body's digest, the form and coverage of its signatures.
//!
//! Identities are the service's business: what is found here travels to it as metadata. Where a request fails here, the
//! service is still asked about the bearer first, because the contract's order puts it first. What the headers alone decide
//! is refused without waiting for the body.

use rest_bridge::{Early, Gate, Head, Incoming, Problem};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code as Grpc, Status};

use crate::api::access::{self, Callers, Signature};
use crate::api::v1::WhoAmIRequest;
use crate::api::v1::auth_service_client::AuthServiceClient;
use crate::api::{error, metadata};
use crate::clock::Clock;
use crate::domain::{Code, Error};
use crate::signature::{self, Message, Origins, Policy, digest};

/// Whether an RPC needs neither bearer nor signature, as the proto says.
fn is_open(rpc: &str) -> bool {
    access::rpc(rpc).is_some_and(|rpc| rpc.callers == Callers::Anybody)
}

/// Whether an RPC needs no signature while the programme has no key, as the proto says.
fn may_be_unsigned(rpc: &str) -> bool {
    access::rpc(rpc).is_some_and(|rpc| rpc.signature == Signature::AfterFirstKey)
}

/// The bridge's gate.
pub struct Edge {
    origins: Origins,
    clock: Clock,
    auth: AuthServiceClient<rest_bridge::Transport>,
}

impl Edge {
    /// An edge for a front that is reached under `origins` and whose services lie behind `transport`.
    pub fn new(origins: Origins, clock: Clock, transport: rest_bridge::Transport) -> Self {
        Self { origins, clock, auth: AuthServiceClient::new(transport) }
    }

    /// Presence and form of the headers. Gives whether the request is signed, and whether its digest can be checked.
    fn headers(call: &Head<'_>, metadata: &mut MetadataMap) -> Result<(bool, Result<(), Error>), Error> {
        if !call.method.is_safe() {
            let key = signature::idempotency_key(call.headers).map_err(|error| refusal(&error))?.ok_or_else(|| {
                let detail =
                    "Idempotency-Key is missing: send a new UUID with every new request, and the same with a retry.";
                Error::new(Code::IdempotencyKeyInvalid, detail)
            })?;
            metadata.insert(metadata::IDEMPOTENCY_KEY, value(&key.to_string())?);
        }
        if call.has_body == Some(true) && !call.headers.contains_key(digest::CONTENT_DIGEST) {
            let detail = "Content-Digest is missing: send sha-256 or sha-512 of the body (RFC 9530).";
            return Err(Error::new(Code::DigestMissing, detail));
        }
        let digest = digest::check_form(call.headers).map_err(|error| refusal(&error));
        if let Err(error) = &digest
            && error.code == Code::DigestMissing
        {
            return Err(error.clone());
        }
        let signed = ["signature", "signature-input"].map(|name| call.headers.contains_key(name));
        match signed {
            [false, false] if may_be_unsigned(call.route.rpc) => Ok((false, digest)),
            [true, true] => Ok((true, digest)),
            _ => {
                let detail = "The request is not signed: send Signature-Input and Signature (RFC 9421).";
                Err(Error::new(Code::SignatureMissing, detail))
            }
        }
    }

    /// The policy for signatures.
    fn policy(&self, call: &Head<'_>, signed: bool, metadata: &mut MetadataMap) -> Result<(), Error> {
        if signed {
            let head =
                signature::Head { method: call.method, uri: call.uri, version: call.version, headers: call.headers };
            let policy = Policy::for_request(call.method, call.has_body == Some(true));
            let now = self.clock.now().unix_seconds();
            let evidence =
                Message::received(head, &self.origins).and_then(|message| signature::check(&message, policy, now));
            let evidence = evidence.map_err(|error| refusal(&error))?.to_bytes();
            metadata.insert_bin(metadata::SIGNATURE_EVIDENCE, MetadataValue::from_bytes(&evidence));
        }
        let front = if signed { "signed" } else { "unsigned" };
        metadata.insert(metadata::FRONT, MetadataValue::from_static(front));
        Ok(())
    }

    /// The service's own refusal of the caller, if it has one; else `status`.
    async fn caller_first(&self, call: &Head<'_>, carried: MetadataMap, status: Status) -> Status {
        let mut request = tonic::Request::new(WhoAmIRequest {});
        *request.metadata_mut() = carried;
        for name in [metadata::AUTHORIZATION, metadata::REQUEST_ID, metadata::TRACEPARENT, metadata::CLIENT_ADDRESS] {
            let sent = call.headers.get(name).and_then(|value| MetadataValue::try_from(value.as_bytes()).ok());
            if let Some(sent) = sent {
                request.metadata_mut().insert(name, sent);
            }
        }
        self.auth.clone().who_am_i(request).await.err().unwrap_or(status)
    }
}

impl Gate for Edge {
    fn head(&self, call: &Head<'_>) -> Early {
        let status = |error: Error| error::status(&error, request_id(call));
        let mut metadata = MetadataMap::new();
        if is_open(call.route.rpc) {
            return match digest::check_form(call.headers).map_err(|error| refusal(&error)) {
                Ok(()) => Early::Admitted(metadata),
                Err(error) => Early::Refused(status(error)),
            };
        }
        let (signed, digest) = match Self::headers(call, &mut metadata) {
            Ok(found) => found,
            Err(error) => return Early::Refused(status(error)),
        };
        match digest.and_then(|()| self.policy(call, signed, &mut metadata)) {
            Ok(()) => Early::Admitted(metadata),
            Err(error) => Early::RefusedAfterCaller(status(error)),
        }
    }

    async fn admit(&self, call: &Incoming<'_>, early: Result<MetadataMap, Status>) -> Result<MetadataMap, Status> {
        let digest = match call.body {
            Some(body) if call.headers.contains_key(digest::CONTENT_DIGEST) => digest::check(call.headers, body),
            _ => Ok(()),
        };
        let digest = digest.map_err(|error| error::status(&refusal(&error), request_id(call)));
        match digest.and(early) {
            Err(status) if !is_open(call.route.rpc) => {
                let mut unchecked = MetadataMap::new();
                unchecked.insert(metadata::FRONT, MetadataValue::from_static("unchecked"));
                Err(self.caller_first(call, unchecked, status).await)
            }
            settled => settled,
        }
    }

    async fn invalid(&self, call: &Incoming<'_>, metadata: &MetadataMap, status: Status) -> Status {
        if is_open(call.route.rpc) {
            return status;
        }
        self.caller_first(call, metadata.clone(), status).await
    }

    fn problem(&self, code: Grpc, reason: Option<&str>) -> Problem {
        match error::by_reason(reason) {
            Some(row) => Problem {
                status: http::StatusCode::from_u16(row.http).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR),
                code: row.code.into(),
                title: row.title.into(),
                kind: "about:blank".into(),
            },
            // The contract knows no 504: a deadline that passed is a service that is not available. A caller that still waits
            // for a response has cancelled nothing.
            None if matches!(code, Grpc::DeadlineExceeded | Grpc::Cancelled) => {
                self.problem(Grpc::Unavailable, Some("UNAVAILABLE"))
            }
            None => Problem::standard(code, reason),
        }
    }
}

fn refusal(error: &signature::Error) -> Error {
    Error::new(error::code_of(error.code()).unwrap_or(Code::SignatureInvalid), error.to_string())
}

fn value(text: &str) -> Result<tonic::metadata::AsciiMetadataValue, Error> {
    text.parse().map_err(|_| Error::internal())
}

fn request_id<'a>(call: &Head<'a>) -> Option<&'a str> {
    call.headers.get(metadata::REQUEST_ID).and_then(|value| value.to_str().ok())
}
