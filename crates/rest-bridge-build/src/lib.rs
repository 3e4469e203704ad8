//! Generates REST routes from protobuf annotations.
