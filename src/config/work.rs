//! What the worker can be told, in `serve` and alone.

use super::Screening;

/// Settings of the worker.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Worker")]
pub struct Work {
    /// Let sandbox programmes have webhooks at http and private addresses, loopback included
    #[arg(long, env = "CUSTOMERD_ALLOW_PRIVATE_CALLBACKS")]
    pub allow_private_callbacks: bool,

    /// Screening.
    #[command(flatten)]
    pub screening: Screening,
}
