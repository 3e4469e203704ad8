//! `customerd token`: a bearer token, for curl and grpcurl.

use std::path::PathBuf;

use super::call::{Client, profile};
use crate::config::Common;

/// Whose token.
#[derive(Debug, clap::Args)]
pub struct Token {
    /// The programme's profile [default: DATA_DIR/sandbox.json]
    #[arg(long, env = "CUSTOMERD_PROFILE", value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// Gets one from the running service and prints it.
///
/// # Errors
///
/// No profile, no connection, or credentials that are refused.
pub(super) async fn run(args: &Token, common: &Common) -> anyhow::Result<()> {
    let client = Client::new(profile(args.profile.as_ref(), common)?)?;
    super::print(&client.token().await?)
}
