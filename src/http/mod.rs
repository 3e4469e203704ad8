//! The HTTP side: the edge in front of the generated routes, and what is no API: documents and pages.

mod documents;
mod edge;
pub mod pages;
mod portal;

pub use documents::{documents, say_methods, wrong_method};
pub use edge::Edge;
pub use portal::portal;

/// Where the documents and pages are: a parameter is one segment.
const PATHS: [&str; 7] = [
    "/",
    "/docs",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/verify/{token}",
    "/kyc/sandbox/{token}",
    "/callbacks/kyc/{provider}",
];

/// The pattern of a document's or page's path, which metrics may name: the path itself may hold a token.
pub fn template(path: &str) -> Option<&'static str> {
    PATHS.into_iter().find(|pattern| match pattern.split_once('{') {
        Some((before, _)) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
        None => path == *pattern,
    })
}
