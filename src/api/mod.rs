//! The protobuf contract as code, and the one error table.

pub mod access;
pub mod error;
pub mod metadata;

/// Messages, clients and servers of `customerd.v1`, generated from `proto/customerd/v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("customerd.v1");
}

/// The REST routes and JSON codecs of `customerd.v1`, generated from the same files.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod rest {
    include!(concat!(env!("OUT_DIR"), "/rest.rs"));
}

/// The raw file descriptor set of everything in `proto/`, options and comments included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
