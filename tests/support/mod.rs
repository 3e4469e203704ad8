//! What several test programmes share.

pub mod postgres;
pub mod stores;
