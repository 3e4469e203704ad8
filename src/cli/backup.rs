//! `customerd backup`: a copy of the database while it is in use.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::acting;
use crate::app::{self, encryption};
use crate::clock::Clock;
use crate::config::Common;
use crate::store::acts::{self, Act};
use crate::store::{self, Dialect, Migrations, Store};

/// How often a terminal is shown how far it is.
const PROGRESS: Duration = Duration::from_millis(200);

/// Where to put the copy.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Makes the copy; prints where it is, its size and where the key is, as JSON.
///
/// # Errors
///
/// There is no database, FILE exists, or it cannot be written.
pub(super) async fn run(args: &Backup, common: &Common) -> anyhow::Result<ExitCode> {
    let file = std::path::absolute(&args.file).context("FILE")?;
    if Dialect::of_url(common.database.url().expose_secret()) == Some(Dialect::Postgres) {
        super::note(&on_postgres(&file, common));
        return Ok(ExitCode::from(2));
    }
    absent(&file)?;
    let key_file = encryption::path(common, Dialect::Sqlite).map(std::path::absolute).transpose()?;
    // Any version, and without the key: who makes backups need not be able to read what is sealed.
    let store = app::open_locked(common, Migrations::Ignore).await?;
    let made = make(&store, &file).await;
    store.close().await?;
    let key_file = key_file.unwrap_or_default().display().to_string();
    super::print(
        &json!({"file": file.display().to_string(), "bytes": made?, "encryptionKeyFile": key_file}).to_string(),
    )?;
    super::note(&format!(
        "The encryption key is not in this backup: no service starts on it without {key_file}. Keep a copy of that file, apart \
         from the backups: the two together give every secret away."
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes the copy beside its place, has it on disk, and moves it there. Gives its size.
async fn make(store: &Store, file: &Path) -> anyhow::Result<u64> {
    let clock = Clock::system();
    let part = format!("{}.part", file.to_str().context("FILE: its path must be UTF-8")?);
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let draft = match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => anyhow::bail!(
            "{part} exists: another backup is writing it, or one was interrupted; if none is running, remove {part}"
        ),
        created => created.with_context(|| format!("cannot create {part}"))?,
    };
    // SQLite's, which it deletes at the end: there is one where a backup was killed. None of it belongs to the new file.
    let journal = format!("{part}-journal");
    let _ = std::fs::remove_file(&journal);
    let written = write(store, &clock, &part, &draft).await.with_context(|| format!("cannot write {part}"));
    let published = match written {
        Ok(size) => {
            record(store, &clock, file).await;
            publish(&part, file).map(|()| size)
        }
        failed => failed,
    };
    if published.is_err() {
        // The first error says more than one about what is left of it.
        let _ = [&part, &journal].map(std::fs::remove_file);
    }
    published
}

async fn write(store: &Store, clock: &Clock, part: &str, draft: &File) -> anyhow::Result<u64> {
    let whole = store.copy_size().await?;
    tokio::select! {
        copied = store.copy_to(part) => copied?,
        () = show_progress(clock, draft, whole), if std::io::stderr().is_terminal() => {}
    }
    draft.sync_all()?;
    Ok(draft.metadata()?.len())
}

/// Shows on the terminal how much is written, until dropped.
async fn show_progress(clock: &Clock, draft: &File, whole: u64) {
    const MIB: u64 = 1024 * 1024;
    let _line = Line;
    loop {
        clock.sleep(PROGRESS).await;
        let written = draft.metadata().map_or(0, |it| it.len());
        // A terminal that is gone does not matter.
        let _ = write!(std::io::stderr(), "\r{} of about {} MiB ", written / MIB, whole.div_ceil(MIB));
    }
}

/// Ends the line of the progress.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// Records the act before the file is there. A database of an earlier version, or on a full disk, cannot, and is copied all the
/// same.
async fn record(store: &Store, clock: &Clock, file: &Path) {
    let act = acting::act(clock, "database.backup", &file.display().to_string());
    if let Err(error) = try_record(store, &act).await {
        super::note(&format!("this backup is not among the recorded acts: {error}"));
    }
}

async fn try_record(store: &Store, act: &Act) -> Result<(), store::Error> {
    let mut tx = store.begin().await?;
    acts::record(&mut tx, act)?;
    tx.commit().await
}

fn absent(file: &Path) -> anyhow::Result<()> {
    let exists = std::fs::symlink_metadata(file).is_ok();
    anyhow::ensure!(!exists, "{} exists already: it may be the only backup, so that it is left alone", file.display());
    Ok(())
}

/// Gives the copy its name, durably.
fn publish(part: &str, file: &Path) -> anyhow::Result<()> {
    absent(file)?;
    let renamed = std::fs::rename(part, file).and_then(|()| match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    });
    renamed.with_context(|| format!("cannot write {}", file.display()))
}

fn on_postgres(file: &Path, common: &Common) -> String {
    let (file, url) = (file.display(), common.database.shown());
    let key = encryption::path(common, Dialect::Postgres).map_or_else(
        || "Where nodes have an --encryption-key-file, the encryption key is not in it".to_owned(),
        |path| format!("The encryption key, {}, is not in it", path.display()),
    );
    let pooler = if common.database.database_pooler.is_some() {
        "
The URL leads to a pooler: give both tools the address of PostgreSQL itself."
    } else {
        ""
    };
    format!(
        "\
backup copies SQLite databases. PostgreSQL is copied by its own tools, consistently and while nodes serve:

  pg_dump --format=custom --no-owner --no-privileges --file='{file}' --dbname='{url}'

To restore, stop every node, then restore into a new, empty database as the user that the nodes connect as:

  pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname=URL '{file}'

The URL is shown without its password and parameters; libpq takes a password from PGPASSWORD or ~/.pgpass.{pooler}
{key}: no service starts on the backup without it. Keep a copy of that file, apart from the backups."
    )
}
