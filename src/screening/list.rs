//! The lists of `--screening-list`, as they are published: what a file is written in is told by its content.
//!
//! - Plain text, one entry a line; blank lines, and everything from `#` to the end of the line, do not count. An entry is a
//!   bare address, which matches on every chain of its namespace, or a CAIP-10 account id, `eip155:1:0x…`, which matches on
//!   that chain only.
//! - OFAC's SDN_ADVANCED.XML.
//! - OpenSanctions' entities, a JSON object a line.
//!
//! Addresses of chains that no customer can have are counted and passed over. What is no address of any chain spoils the file,
//! as does a file without a single address: it is more likely half written than meant. Where all lists together have no address
//! that a customer can have they are refused, since they would clear everybody. At start that is an error; later the
//! old list stays in force, with an error in the log at each try. Replace a file by renaming a complete one over it.

mod ofac;
mod opensanctions;
mod plain;
mod source;
mod table;

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};
use sha2::{Digest as _, Sha256};

use super::address::Entry;
use super::{Outage, Screened, ScreeningProvider, Verdict, unreadable};
use crate::domain::Timestamp;
use source::{Format, Source};
use table::Table;

/// How long after a failed try an unchanged file is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How this version reads lists. Another number has every customer screened again by lists that did not change.
const READING: u8 = 2;

/// Why a list file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is a directory, a pipe or the like.
    #[error("not a regular file")]
    NotAFile,
    /// Something in it is not what it should be.
    #[error("line {line}: {problem}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// It names nobody.
    #[error("holds no address; a list that names nobody would clear everybody")]
    Empty,
    /// Neither it nor another list names anybody whom a customer can be.
    #[error("no list holds an address of a chain that customers can have; that would clear everybody")]
    NobodyHere,
}

/// A list file, read again when it changes.
#[derive(Debug)]
pub struct ListFile {
    path: PathBuf,
    name: String,
    current: RwLock<FileState>,
}

#[derive(Debug)]
struct FileState {
    /// The file as it was when last read, for good or ill; `None` when it was missing.
    stamp: Option<Stamp>,
    /// When the last try failed, by the clock of the caller.
    failed: Option<Duration>,
    list: Arc<LoadedList>,
}

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

/// A list in force.
#[derive(Debug)]
struct LoadedList {
    table: Table,
    sha256: [u8; 32],
    bytes: u64,
    /// The file's time of modification.
    modified: Option<Timestamp>,
}

impl ListFile {
    /// Reads the file for the first time. Blocks; a million lines take a fraction of a second.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ListError> {
        let path = path.into();
        let (stamp, list) = read(&path)?;
        let name = path.file_name().map_or_else(|| "list".to_owned(), |name| name.to_string_lossy().into_owned());
        tell("screening list loaded", &path, &list);
        let current = FileState { stamp: Some(stamp), failed: None, list: Arc::new(list) };
        Ok(Self { path, name, current: RwLock::new(current) })
    }

    /// How many addresses are in force.
    pub fn addresses(&self) -> usize {
        self.list().table.len()
    }

    /// How many addresses were passed over, because no customer can have them.
    pub fn passed_over(&self) -> usize {
        self.list().table.foreign()
    }

    /// Reads the file again if it has changed, or if the last try failed a minute ago. `now` is a monotonic time. Blocks.
    pub fn reload(&self, now: Duration) {
        self.reload_beside(now, 0);
    }

    /// The same, beside lists with so many addresses.
    fn reload_beside(&self, now: Duration, others: usize) {
        let stamp = std::fs::metadata(&self.path).ok().as_ref().map(Stamp::of);
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            let again = current.failed.is_some_and(|failed| now.saturating_sub(failed) >= AGAIN);
            if stamp == current.stamp && !again {
                return;
            }
        }
        let outcome = read(&self.path).and_then(|(stamp, list)| match list.table.len() + others {
            0 => Err(ListError::NobodyHere),
            _ => Ok((stamp, list)),
        });
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok((stamp, list)) => {
                tell("screening list reloaded", &self.path, &list);
                *current = FileState { stamp: Some(stamp), failed: None, list: Arc::new(list) };
            }
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, in_force = %current.list, "screening list not usable: the old one stays in force");
                counter!("screening_list_reload_failures_total", "list" => path.to_string()).increment(1);
                (current.stamp, current.failed) = (stamp, Some(now));
            }
        }
    }

    /// Says in `/metrics` how old the list in force is, by the time of its file.
    pub fn measure(&self, now: Timestamp) {
        let path = self.path.display().to_string();
        if let Some(modified) = self.list().modified {
            gauge!("screening_list_age_seconds", "list" => path.clone()).set(now.since(modified).as_secs_f64());
        }
        // There from the start, so that an alert can be made of it.
        counter!("screening_list_reload_failures_total", "list" => path).increment(0);
    }

    /// Screens an account by the list in force.
    ///
    /// # Errors
    /// [`Outage`] when the account cannot be read.
    pub fn find(&self, account: &str) -> Result<Screened, Outage> {
        let Ok(Entry::On(chain, address)) = Entry::parse(account) else {
            return Err(unreadable("screening list"));
        };
        let list = self.list();
        let verdict = list.table.find(chain, &address, &self.name).map_or(Verdict::Clear, Verdict::Hit);
        Ok(Screened { verdict, by: format!("{} ({list})", self.name) })
    }

    fn list(&self) -> Arc<LoadedList> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).list)
    }
}

impl ScreeningProvider for ListFile {
    async fn screen(&self, account: &str) -> Result<Screened, Outage> {
        self.find(account)
    }
}

/// What the audit trail says of a list.
impl fmt::Display for LoadedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256 {}, ", hex::encode(self.sha256))?;
        if let Some(modified) = self.modified {
            write!(f, "file of {}, ", modified.json())?;
        }
        write!(f, "{} bytes, {} addresses", self.bytes, self.table.len())
    }
}

fn tell(what: &str, path: &Path, list: &LoadedList) {
    let (path, addresses, passed_over) = (path.display(), list.table.len(), list.table.foreign());
    let sha256 = hex::encode(list.sha256);
    tracing::info!(%path, addresses, passed_over, sha256, "{what}");
    if addresses == 0 {
        tracing::warn!(%path, passed_over, "no address of this list is of a chain that customers can have");
    }
}

fn read(path: &Path) -> Result<(Stamp, LoadedList), ListError> {
    // A pipe is recognised before it is opened, because opening one waits for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ListError::NotAFile);
    }
    let file = File::open(path)?;
    // Stamped as it was before it was read: a write meanwhile shows as another change.
    let metadata = file.metadata()?;
    let (mut source, mut table) = (Source::new(file), Table::default());
    match source.format()? {
        Format::Plain => plain::read(&mut source, &mut table)?,
        Format::JsonLines => opensanctions::read(&mut source, &mut table)?,
        Format::Xml => source = ofac::read(source, &mut table)?,
    }
    if table.is_empty() {
        return Err(ListError::Empty);
    }
    table.seal();
    let (sha256, bytes) = source.finish()?;
    let since_epoch = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = since_epoch.map(|since| Timestamp::EPOCH + since);
    Ok((Stamp::of(&metadata), LoadedList { table, sha256, bytes, modified }))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { length: metadata.len(), modified: metadata.modified().ok(), inode }
    }
}

/// Every list of this node.
#[derive(Debug, Default)]
pub struct Lists {
    files: Vec<ListFile>,
    outdated: AtomicBool,
}

impl Lists {
    /// These lists, asked in this order.
    pub fn new(files: Vec<ListFile>) -> Self {
        Self { files, outdated: AtomicBool::new(false) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Each list.
    pub fn iter(&self) -> impl Iterator<Item = &ListFile> {
        self.files.iter()
    }

    /// Reads again what has changed. `now` is a monotonic time. Blocks.
    pub fn reload(&self, now: Duration) {
        for list in &self.files {
            list.reload_beside(now, self.addresses().saturating_sub(list.addresses()));
        }
    }

    /// How many addresses are in force. With none nobody may be cleared: that is no list.
    pub fn addresses(&self) -> usize {
        self.files.iter().map(ListFile::addresses).sum()
    }

    /// Checks that they name somebody whom a customer can be, if there are any.
    ///
    /// # Errors
    /// [`ListError::NobodyHere`]
    pub fn check(self) -> Result<Self, ListError> {
        if self.is_empty() || self.addresses() > 0 { Ok(self) } else { Err(ListError::NobodyHere) }
    }

    /// Whether other lists are in force, as far as this node knows: it leaves customers to the nodes that have those.
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Notes whether other lists are in force; what was noted before.
    pub fn set_outdated(&self, outdated: bool) -> bool {
        self.outdated.swap(outdated, Ordering::Relaxed)
    }

    /// What the lists say, as one number: another whenever the content of one is another. The order does not count. Without
    /// lists it is one of its own.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hashes: Vec<[u8; 32]> = self.files.iter().map(|list| list.list().sha256).collect();
        hashes.sort_unstable();
        let mut hash = Sha256::new_with_prefix([READING]);
        hashes.iter().for_each(|list| hash.update(list));
        hash.finalize().into()
    }

    /// The first list that names an account, if any does.
    ///
    /// # Errors
    /// [`Outage`] when the account cannot be read.
    pub fn hit(&self, account: &str) -> Result<Option<Screened>, Outage> {
        for list in &self.files {
            let screened = list.find(account)?;
            if matches!(screened.verdict, Verdict::Hit(_)) {
                return Ok(Some(screened));
            }
        }
        Ok(None)
    }
}
