//! `customerd verify-audit`: whether anybody has altered what the audit trail says, or deleted some of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::app;
use crate::clock::Clock;
use crate::config::Common;
use crate::domain::checkpoint::Checkpoint;
use crate::store::Migrations;
use crate::store::audit::checkpoints::{self, Covered};
use crate::store::audit::{self, Found, Read};

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long the worker may take until a checkpoint covers an event: twice what it takes.
const GRACE: Duration = Duration::from_mins(2);

/// What to verify against.
#[derive(Debug, Args)]
pub struct VerifyAudit {
    /// A file of checkpoints that were copied before, one a line, as the log shows them: finds what was deleted even where
    /// later checkpoints were deleted with it. May be given more than once
    #[arg(long, env = "CUSTOMERD_CHECKPOINT", value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

/// Verifies; prints each fault on a line. Exit code 1 when there is one.
///
/// # Errors
///
/// The database or a file cannot be opened or read.
pub(super) async fn run(args: &VerifyAudit, common: &Common) -> anyhow::Result<ExitCode> {
    let copies = args.checkpoint.iter().map(|path| copied(path)).collect::<anyhow::Result<Vec<_>>>()?.concat();
    let clock = Clock::system();
    let store = app::open_store(common, Migrations::Check).await?;
    let (mut faults, mut told, mut failed) = (0_u64, clock.monotonic(), None);
    let mut print = |fault: &str, faults: &mut u64| {
        *faults += 1;
        failed = failed.take().or_else(|| super::print(fault).err());
    };
    let read = audit::verify(&store, |found| match found {
        Found::Fault(fault) => print(&fault.to_string(), &mut faults),
        Found::Progress(read) if clock.monotonic() - told >= PROGRESS => {
            told = clock.monotonic();
            super::note(&format!("so far customers: {}, events: {}, faults: {faults}", read.customers, read.events));
        }
        Found::Progress(_) => {}
    })
    .await?;
    let Covered { checkpoints, until } =
        checkpoints::verify(&store, &copies, |fault| print(&fault, &mut faults)).await?;
    store.close().await?;
    if let Some(error) = failed {
        return Err(error);
    }
    let Read { customers, events } = read;
    if faults > 0 {
        super::print(&format!(
            "customers: {customers}, events: {events}, checkpoints: {checkpoints}, faults: {faults}"
        ))?;
        return Ok(ExitCode::FAILURE);
    }
    let read_of = format!("customers: {customers}, events: {events}, checkpoints: {checkpoints}");
    super::print(&match until.filter(|until| clock.now() >= *until + GRACE) {
        _ if read == Read::default() && checkpoints == 0 => "nothing to verify: there are no customers".to_owned(),
        None => format!("{read_of}; the audit trail is whole"),
        Some(until) => format!(
            "{read_of}; nothing was altered, but no checkpoint covers the events since {}: what was deleted since then does \
             not show. A worker covers them within a minute",
            until.json()
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The checkpoints of a file: its lines that hold one, alone or inside a line of the log.
fn copied(path: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("--checkpoint: cannot read {shown}"))?;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        // In the log as JSON the checkpoint is a string within a string.
        let line = line.replace("\\\"", "\"");
        let Some(from) = line.find("{\"seq\"") else { continue };
        let object = line[from..].find('}').map_or(&line[from..], |to| &line[from..=from + to]);
        let checkpoint = Checkpoint::parse(object);
        found.push(checkpoint.map_err(|error| anyhow::anyhow!("--checkpoint {shown}, line {}: {error}", at + 1))?);
    }
    anyhow::ensure!(!found.is_empty(), "--checkpoint {shown}: no line holds a checkpoint");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_found_alone_and_in_lines_of_the_log() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let checkpoint =
            Checkpoint::after(None, crate::domain::checkpoint::Extent::default(), crate::domain::Timestamp(1));
        let json = checkpoint.json();
        let escaped = json.replace('"', "\\\"");
        let text = format!("started\n{json}\nINFO checkpoint of the audit trail checkpoint=\"{escaped}\" n=1\n");
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(copied(file.path()).unwrap(), [checkpoint.clone(), checkpoint]);
        std::fs::write(file.path(), "{\"seq\":1}").unwrap();
        let refused = copied(file.path()).unwrap_err().to_string();
        assert!(refused.contains("line 1: missing field"), "{refused}");
        std::fs::write(file.path(), "nothing").unwrap();
        assert!(copied(file.path()).unwrap_err().to_string().contains("no line holds a checkpoint"));
    }
}
