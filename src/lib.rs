//! customerd.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod outbound;
pub mod serve;
