//! What several test programmes share.
#![allow(dead_code, unused_imports, reason = "no programme uses all of it")]

pub(crate) mod cancel;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod stores;
