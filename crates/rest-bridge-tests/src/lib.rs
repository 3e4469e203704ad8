//! The test proto's generated code, and a service that answers it.

/// Messages, clients and servers, by tonic-prost-build.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod testing {
    include!(concat!(env!("OUT_DIR"), "/testing.v1.rs"));
}

/// Routes and codecs, by rest-bridge-build.
pub mod rest {
    include!(concat!(env!("OUT_DIR"), "/rest.rs"));
}

pub mod library;

/// The generated file.
pub const REST_SOURCE: &str = include_str!(concat!(env!("OUT_DIR"), "/rest.rs"));
/// The generated OpenAPI document.
pub const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));
/// The descriptors, with options.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
