//! The service from outside: real sockets, real databases, the clock in the test's hands.
//!
//! Each story is an `async fn(House)` named in its module's [`everywhere!`](support::everywhere), which runs it on SQLite
//! and on PostgreSQL, in one process and with the REST front apart from its backend.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/nginx.rs"]
mod nginx;
#[path = "../support/pgbouncer.rs"]
mod pgbouncer;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/sumsub.rs"]
mod sumsub;
mod support;

mod accounts;
mod audit;
mod auth;
mod backend_gone;
mod backup;
mod bodies;
mod browser;
mod cards;
mod cascade;
mod claims_before;
mod cli;
mod clocks;
mod crash;
mod crash_worker;
mod create;
mod deliveries_crash;
mod disk;
mod drain;
mod errors;
mod events;
mod exact;
mod failover;
mod files;
mod fronts;
mod grpc;
mod guesses;
mod headers;
mod hostile;
mod http;
mod idempotency;
mod kyc;
mod kyc_sequences;
mod leases;
mod life;
mod list;
mod listen;
mod many;
mod model;
mod mutated;
mod nodes;
mod operator_limits;
mod operators;
mod ownership;
mod pan;
mod pooler;
mod process;
mod race;
mod readiness;
mod replicated;
mod revocation;
mod round_trips;
mod screening;
mod screening_lists;
mod secrets;
mod signature;
mod signing;
mod simulator;
mod sizes;
mod statuses;
mod streams;
mod subscriptions;
mod two_builds;
mod unread;
mod version_before;
mod webhooks;
mod worker;
