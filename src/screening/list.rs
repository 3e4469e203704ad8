//! The file of `--screening-list`.
//!
//! Text, one entry a line; blank lines, and everything from `#` to the end of the line, do not count. An entry is
//!
//! - a bare address: `0x` and 40 hexadecimal digits in any case (matches on every `eip155` chain), or base58 of 32
//!   bytes (matches on every `solana` chain), or
//! - a CAIP-10 account id, `eip155:1:0x…`, which matches on that chain only. Ids of other namespaces are accepted and
//!   match nobody.
//!
//! A byte order mark and CRLF are tolerated. One malformed line spoils the file, as does a file without a single
//! entry: it is more likely half written than meant. At start that is an error; later the old list stays in force and
//! a warning names the line. Replace the file by renaming a complete one over it.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;

use super::address::{Address, Entry};
use super::{Hit, Outage, ScreeningProvider, Verdict, unreadable};
use crate::domain::screening::SANCTIONED_ADDRESS;

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 512 * 1024 * 1024;

/// Why a list file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is a directory, a pipe or the like.
    #[error("not a regular file")]
    NotAFile,
    /// It is larger than 512 MiB.
    #[error("larger than {FILE_MAX} bytes")]
    TooLarge,
    /// A line is neither an address nor an account id.
    #[error("line {line}: {problem}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It names nobody.
    #[error("holds no entry; a list that names nobody would clear everybody")]
    Empty,
}

/// A list file, read again when it changes.
#[derive(Debug)]
pub struct ListFile {
    path: PathBuf,
    name: String,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// The file as it was when last read, for good or ill; `None` when it was missing.
    stamp: Option<Stamp>,
    list: Arc<List>,
}

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

#[derive(Debug, Default)]
struct List {
    everywhere: HashSet<Address>,
    by_chain: HashMap<Box<str>, HashSet<Address>>,
    entries: usize,
}

impl ListFile {
    /// Reads the file for the first time. Blocks; a million lines take a fraction of a second.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ListError> {
        let path = path.into();
        let stamp = Stamp::of(&std::fs::metadata(&path)?);
        let list = read(&path)?;
        tracing::info!(path = %path.display(), entries = list.entries, "screening list loaded");
        let name = path.file_name().map_or_else(|| "list".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { path, name, loaded: Mutex::new(Loaded { stamp: Some(stamp), list: Arc::new(list) }) })
    }

    /// How many entries are in force.
    pub async fn entries(&self) -> usize {
        self.current().await.entries
    }

    /// The list in force. Looks at the file's metadata each time (a microsecond), at its content when that changed;
    /// meanwhile others wait, so that once a change was seen, no later screening is by the old list.
    async fn current(&self) -> Arc<List> {
        let mut loaded = self.loaded.lock().await;
        let found = std::fs::metadata(&self.path);
        let stamp = found.as_ref().ok().map(Stamp::of);
        if stamp == loaded.stamp {
            return Arc::clone(&loaded.list);
        }
        let path = self.path.clone();
        let outcome = match found {
            Err(error) => Err(error.into()),
            Ok(_) => tokio::task::spawn_blocking(move || read(&path))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error).into())),
        };
        // Stamped as it was before it was read: a write meanwhile shows as another change.
        loaded.stamp = stamp;
        let path = self.path.display();
        match outcome {
            Ok(list) => {
                tracing::info!(%path, entries = list.entries, before = loaded.list.entries, "screening list reloaded");
                loaded.list = Arc::new(list);
            }
            Err(error) => {
                tracing::warn!(%path, %error, entries = loaded.list.entries, "screening list not usable, the old one stays in force");
            }
        }
        Arc::clone(&loaded.list)
    }
}

impl ScreeningProvider for ListFile {
    async fn screen(&self, account: &str) -> Result<Verdict, Outage> {
        let Ok(Entry::On(chain, address)) = Entry::parse(account) else {
            return Err(unreadable("screening list"));
        };
        Ok(if self.current().await.names(chain, &address) {
            Verdict::Hit(Hit::new(SANCTIONED_ADDRESS, &self.name))
        } else {
            Verdict::Clear
        })
    }
}

impl List {
    fn names(&self, chain: &str, address: &Address) -> bool {
        self.everywhere.contains(address) || self.by_chain.get(chain).is_some_and(|listed| listed.contains(address))
    }

    fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut list = Self::default();
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let entry = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
            if entry.is_empty() {
                continue;
            }
            list.add(entry).map_err(|problem| ListError::Malformed { line: index + 1, problem })?;
        }
        if list.entries == 0 { Err(ListError::Empty) } else { Ok(list) }
    }

    fn add(&mut self, entry: &[u8]) -> Result<(), &'static str> {
        let entry = std::str::from_utf8(entry).map_err(|_| "not UTF-8")?;
        match Entry::parse(entry)? {
            Entry::Everywhere(address) => {
                self.everywhere.insert(address);
            }
            Entry::On(chain, address) => match self.by_chain.get_mut(chain) {
                Some(listed) => {
                    listed.insert(address);
                }
                None => {
                    self.by_chain.insert(chain.into(), HashSet::from([address]));
                }
            },
            Entry::Foreign => {}
        }
        self.entries += 1;
        Ok(())
    }
}

fn read(path: &Path) -> Result<List, ListError> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(ListError::NotAFile);
    }
    if metadata.len() > FILE_MAX {
        return Err(ListError::TooLarge);
    }
    List::parse(&std::fs::read(path)?)
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
