//! The runtime under the generated REST routes.
