//! The command line: one file per subcommand, each with its `Args` and a `run`.
//!
//! A subcommand is added by a line in [`Command`] and one in [`Command::run`].

mod acting;
mod arguments;
mod audit;
mod backup;
mod call;
mod customer;
mod environment;
mod keygen;
mod keys;
mod listen;
mod migrate;
mod operator;
mod programme;
mod serve;
mod token;
mod unused;
mod verify_audit;
mod wallet;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::{Common, Serve, WorkAlone};

/// Customer onboarding for partners: signed REST and gRPC over one protobuf contract.
///
/// Without a subcommand it serves, on SQLite in ./data, REST on 127.0.0.1:8080 and gRPC on 127.0.0.1:50051.
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
  customerd call GET /v1/customers                             call it as the sandbox programme
  customerd programme create --name Wallet                     let a partner in

Every flag has an environment variable, shown beside it. Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve (what happens without a subcommand)
    Serve(Box<Serve>),
    /// Run the worker alone (webhooks, screening, sweeps), on a database that `serve` or `migrate` has made: `serve` includes it
    Worker(Box<WorkAlone>),
    /// Bring the database up to date and end. Makes one where --database-url or --data-dir says where
    Migrate,
    /// Copy the database to a file while it is in use (SQLite)
    ///
    /// The copy is consistent and holds everything that was acknowledged before the command began. Copying customerd.db with cp
    /// does not do this: what was committed lately is in customerd.db-wal, and a copy of customerd.db alone loses it.
    ///
    /// FILE appears when the copy is complete and on disk, readable by its owner alone; until then it is FILE.part. A FILE that
    /// exists is refused.
    ///
    /// The encryption key is not in the copy: without it no service starts on the copy, and what is sealed there is lost. Keep a
    /// copy of the key file, apart from the backups.
    ///
    /// To restore: stop every node, move customerd.db, customerd.db-wal and customerd.db-shm away, put FILE in the place of
    /// customerd.db and the key file in its own place, and start. Never leave the old customerd.db-wal beside a restored file.
    ///
    /// On PostgreSQL this prints the commands of pg_dump and pg_restore that do the same, and exits with 2.
    Backup(backup::Backup),
    /// Recompute every customer's audit trail and compare it with what is stored
    VerifyAudit(verify_audit::VerifyAudit),
    /// Partners and their credentials
    #[command(subcommand)]
    Programme(programme::Programme),
    /// People and internal services that act over gRPC
    #[command(subcommand)]
    Operator(operator::Operators),
    /// What operators decide about customers
    #[command(subcommand)]
    Customer(customer::Customer),
    /// What operators and the command line did
    #[command(subcommand)]
    Audit(audit::Audit),
    /// The service's own keys: list them, replace them
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make a key pair for signing requests, or a key that seals the database's secrets
    Keygen(keygen::Keygen),
    /// Get a bearer token from the running service
    Token(token::Token),
    /// A throw-away wallet, to try the service without one
    #[command(subcommand)]
    Wallet(wallet::Wallet),
    /// Sign and send one REST request
    Call(call::Call),
    /// Forward events, signed as webhooks, to a receiver on this machine
    Listen(listen::Listen),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        // Those two log it.
        if !matches!(self, Self::Serve(_) | Self::Worker(_))
            && let Some(warning) = environment::warning()
        {
            note(&warning);
        }
        let done = match self {
            Self::Serve(args) => serve::run(*args, common).await,
            Self::Worker(args) => worker::run(&args, common).await,
            Self::Migrate => migrate::run(common).await,
            Self::Backup(args) => return backup::run(&args, common).await,
            Self::VerifyAudit(args) => return verify_audit::run(&args, common).await,
            Self::Programme(command) => programme::run(command, common).await,
            Self::Operator(command) => operator::run(command, common).await,
            Self::Customer(command) => customer::run(command, common).await,
            Self::Audit(command) => audit::run(command, common).await,
            Self::Keys(command) => keys::run(command, common).await,
            Self::Keygen(args) => keygen::run(&args),
            Self::Wallet(command) => wallet::run(command),
            Self::Token(args) => token::run(&args, common).await,
            Self::Listen(args) => listen::run(&args, common).await,
            Self::Call(args) => return call::run(&args, common).await,
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// Prints a result.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Tells the user of the command something beside the result. Unlike `eprintln!` it goes on where stderr is closed: there is
/// nobody left to tell.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs the command line that this process was started with. Results go to stdout; failures and logs to stderr.
pub fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::read_checked(typed.clone()) {
        Ok(cli) => cli,
        Err(error) => {
            // There is nobody left to tell that it could not be told.
            let _ = error.print();
            if let Some(variable) = arguments::blamed(&error, &typed) {
                note(&format!("The value comes from the environment: {variable}."));
            }
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            note(&format!("customerd: {}", told(&error)));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, without those whose words stand there already: many errors quote their cause.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| match cause.to_string() {
        cause if told.is_empty() => cause,
        cause if told.contains(&cause) => told,
        cause => format!("{told}: {cause}"),
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    match cli.command {
        Some(command) => runtime.block_on(command.run(&cli.common)),
        None => anyhow::bail!("nothing to do"),
    }
}
