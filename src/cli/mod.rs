//! The command line: one file per subcommand, each with its `Args` and a `run`.
//!
//! A subcommand is added by a line in [`Command`] and one in [`Command::run`].

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::Common;

/// Customer onboarding for partners: signed REST and gRPC over one protobuf contract.
///
/// Without a subcommand it serves, on SQLite in ./data, REST on 127.0.0.1:8080 and gRPC on 127.0.0.1:9090.
#[derive(Debug, Parser)]
#[command(name = "customerd", version, after_long_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// What every subcommand knows.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  customerd                                                    serve, everything by default
  customerd --database-url postgres://me@localhost/customers   serve on PostgreSQL

Every flag has an environment variable, shown beside it. Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    pub async fn run(self, _common: &Common) -> anyhow::Result<()> {
        match self {}
    }
}

impl Cli {
    /// Reads arguments and environment; without a subcommand it is `serve`.
    ///
    /// # Errors
    /// Wrong usage, or a request for help or the version: clap's own error, which knows how to show itself.
    pub fn read(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, clap::Error> {
        let mut arguments: Vec<_> = arguments.into_iter().collect();
        let cli = Self::try_parse_from(&arguments)?;
        if cli.command.is_some() {
            return Ok(cli);
        }
        arguments.push("serve".into());
        Self::try_parse_from(&arguments)
    }
}

/// Runs the command line that this process was started with. Results go to stdout; failures and logs to stderr.
#[expect(clippy::print_stderr, reason = "the end of a command is told to whoever typed it")]
pub fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("customerd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    match cli.command {
        Some(command) => runtime.block_on(command.run(&cli.common)),
        None => anyhow::bail!("nothing to do"),
    }
}
