//! customerd.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod kyc;
pub mod outbound;
pub mod partner;
pub mod screening;
pub mod serve;
pub mod signature;
pub mod telemetry;
pub mod store;
