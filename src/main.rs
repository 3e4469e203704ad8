//! The `customerd` command.
fn main() {}
