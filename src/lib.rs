//! customerd: onboards customers who own a blockchain account. This page is the map of the house.
//!
//! # Rooms
//!
//! | room | what it does | imports |
//! |---|---|---|
//! | [`domain`] | rules and state machines: pure, no I/O | nothing of ours |
//! | [`signature`] | RFC 9421 and Content-Digest: parse, policy, base, sign, verify; pure | nothing of ours |
//! | [`clock`] | the only source of time, ids and randomness | domain |
//! | [`api`] | generated code, the one error table, metadata keys | domain |
//! | [`sealing`] | secrets at rest: seals what the database must not show; pure | clock |
//! | [`store`] | the only SQL, on SQLite and PostgreSQL; [`Tx`](store::Tx) *is* the transaction | domain, clock, sealing, signature |
//! | [`lifecycle`] | what moves entities: moves, what follows from them, the one append to the audit chain | store, domain, clock |
//! | [`partner`] | a bounded HTTP exchange with a provider | domain |
//! | [`screening`], [`kyc`] | one trait each, sandbox and real providers; lists as they are published | domain, partner |
//! | [`outbound`] | the guarded client that webhooks go out with, and their signatures | domain, signature, clock |
//! | [`service`] | the gRPC services: one line per RPC, one file per RPC | api, domain, lifecycle, store, signature, clock, kyc |
//! | [`worker`] | claim → do → settle: screening, deployments; webhooks of leased subscriptions; sweeps | lifecycle, store, domain, kyc, screening, outbound, signature, clock |
//! | [`http`] | the edge before the generated routes, pages, documents | api, domain, signature, clock |
//! | [`serve`] | listeners: timers, limits, TLS, shedding, shutdown | clock |
//! | [`telemetry`] | logs, metrics, health | clock, config, serve |
//! | [`config`] | every flag and its environment variable, the key file | domain, sealing, serve |
//! | [`app`], [`cli`] | wiring, and the commands | everything |
//!
//! The doors `http`, `service` and `worker` never import one another, so that the REST front can run on another machine by
//! changing one value: the transport under the generated client. `tests/tidy.rs` holds the table.
//!
//! # Rules that code cannot show
//!
//! - `http` opens no database connection.
//! - No network call happens while a `Tx` is open.
//! - A change, its event, its deliveries and the answer under its idempotency key commit in one transaction.
//! - Nothing is acknowledged, and no webhook sent, before it is durable.
//!
//! # One request, down once and up once: `POST /v1/customers`
//!
//! 1. `http::edge` checks what HTTP alone can: headers and the form and coverage of the signature before the body is awaited,
//!    its digest after; what it finds goes on as gRPC metadata. `serve` gives the request a slot once it is whole.
//! 2. The generated route decodes the JSON strictly and calls the service's trait in this process, or the generated client
//!    over a channel.
//! 3. `service::caller` turns bearer and evidence into a `Caller`, which only it can make and every handler needs. A caller
//!    that is known costs no look-up: whether it may still call is asked in the statement that the call needs anyway.
//! 4. `service::create_customer` is the only file to read for what create does. `service::once` makes it and its idempotency
//!    key one transaction (on PostgreSQL one statement), so that no crash leaves one in flight.
//! 5. Up: the reply as JSON, or `domain::Error` through the one table to `google.rpc.Status` and problem+json.
//! 6. After the commit the worker wakes.

#![cfg_attr(not(test), warn(clippy::large_futures))]

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod kyc;
pub mod lifecycle;
pub mod outbound;
pub mod partner;
pub mod screening;
pub mod sealing;
pub mod serve;
pub mod service;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod worker;
