//! The HTTP side: the edge in front of the generated routes, and what is no API: documents and pages.

mod documents;
mod edge;
pub mod pages;
mod portal;

pub use documents::{documents, wrong_method};
pub use edge::Edge;
pub use portal::portal;
