//! What the worker can be told, in `serve` and alone.

use clap::builder::BoolishValueParser;

use super::{Health, Screening, Span};
use crate::domain::account::{Factory, SANDBOX_FACTORY};

/// Settings of the worker.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Worker")]
pub struct Work {
    /// Let sandbox programmes have webhooks at http and private addresses, loopback included
    #[arg(long, env = "CUSTOMERD_ALLOW_PRIVATE_CALLBACKS", value_parser = BoolishValueParser::new())]
    pub allow_private_callbacks: bool,

    /// Webhooks a second that one subscription gets at most, whichever node sends them
    #[arg(long, env = "CUSTOMERD_WEBHOOK_RATE", default_value_t = 1000, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub webhook_rate: u32,

    /// Contract whose CREATE2 addresses the accounts of sandbox programmes get
    #[arg(long, env = "CUSTOMERD_SANDBOX_FACTORY", value_name = "ADDRESS", default_value = SANDBOX_FACTORY)]
    pub sandbox_factory: Factory,

    /// Screening.
    #[command(flatten)]
    pub screening: Screening,
}

/// Settings of the worker alone.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkAlone {
    /// Where health is answered.
    #[command(flatten)]
    pub health: Health,

    /// What it needs in `serve` too.
    #[command(flatten)]
    pub work: Work,

    /// Time that what is in flight gets after SIGTERM
    #[arg(long, env = "CUSTOMERD_SHUTDOWN_GRACE", value_name = "TIME", default_value = "25s")]
    pub shutdown_grace: Span,

    /// Variables of the environment that it does not use: for a warning.
    #[arg(skip)]
    pub unused: Vec<String>,
}
