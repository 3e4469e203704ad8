//! The gRPC metadata keys of ours. Nothing else of a REST request reaches the services.

/// The caller's address as the listener found it: on every call, over REST too, and never what the caller claims.
pub const CLIENT_ADDRESS: &str = "x-client-address";
/// `Bearer <token>`: a programme's JWT, or an operator's token.
pub const AUTHORIZATION: &str = "authorization";
/// The programme that an operator acts for, a UUID.
pub const PROGRAMME_ID: &str = "x-programme-id";
/// A UUID that makes a modifying call happen at most once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `true` on an answer that was stored under the call's idempotency key.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
/// The caller's name for the request, echoed.
pub const REQUEST_ID: &str = "x-request-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Set by the REST front on every call but the exchange of a token: `signed`, `unsigned` (a first signing key), or
/// `unchecked`, with which it asks about the bearer alone before it refuses the request for a reason of its own.
pub const FRONT: &str = "x-rest-front";
/// What the REST front found in the signature headers, for the service to verify with the programme's key.
pub const SIGNATURE_EVIDENCE: &str = "x-signature-evidence-bin";
/// What is left of the programme's rate, as `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
pub const RATE_LIMIT: &str = "ratelimit";
/// The programme's rate, as `RateLimit-Policy`.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
