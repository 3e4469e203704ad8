//! customerd.
