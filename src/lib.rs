//! customerd: the map of the house.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod kyc;
pub mod outbound;
pub mod partner;
pub mod screening;
pub mod serve;
pub mod service;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod worker;
