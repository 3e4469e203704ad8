//! The database file of an open SQLite store: whether it is still the one at its path, and whether its disk has room.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::error::Error;

/// With less than this the disk counts as full: SQLite's write-ahead log grows by a few megabytes before it is used again.
const ROOM: u64 = 8 * 1024 * 1024;

/// A file that is open, by its device and inode: those that were at the path when it was opened.
pub(super) struct DatabaseFile {
    path: PathBuf,
    opened: (u64, u64),
}

impl DatabaseFile {
    /// The file that is at `path` now.
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        let opened = identity(path).map_err(|error| Error::Open(format!("{}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), opened })
    }

    /// [`Error::Unavailable`] where another file, or none, is at the path: what is written would be lost with the file that is
    /// open. Costs a microsecond.
    pub(super) fn check(&self) -> Result<(), Error> {
        if identity(&self.path).is_ok_and(|found| found == self.opened) {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "the file {} was moved, replaced or removed while it was open: put it back, or restart on the file that is there",
            self.path.display()
        )))
    }

    /// [`Error::Unavailable`] where its disk is full or read-only.
    pub(super) fn has_room(&self) -> Result<(), Error> {
        trouble(&self.path).map_or(Ok(()), |trouble| Err(Error::Unavailable(trouble)))
    }

    /// The size of the write-ahead log, bytes.
    pub(super) fn wal_bytes(&self) -> u64 {
        let mut wal = self.path.clone().into_os_string();
        wal.push("-wal");
        std::fs::metadata(wal).map_or(0, |it| it.len())
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// What is wrong with the disk that a path is on, and what to do; `None` if nothing is, or it cannot be told.
pub(super) fn trouble(path: &Path) -> Option<String> {
    let there = path.ancestors().find(|path| path.exists())?;
    let disk = statvfs(there).ok()?;
    let path = path.display();
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(format!(
            "{path} is on a disk that is mounted read-only: mount it for writing, or say where another database is with \
             --database-url or --data-dir"
        ));
    }
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    (left < ROOM).then(|| {
        format!(
            "the disk of {path} is full ({} KiB left, {} MiB are needed): make room on it, or move the data to another one while \
             no node runs",
            left / 1024,
            ROOM / 1024 / 1024
        )
    })
}
