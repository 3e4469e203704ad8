//! The file with the encryption keys: one a line in base64, the first seals, the others only open. `# …` is a comment; a key
//! followed by `next` opens already and does not seal yet, so that every node knows it before the first value needs it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::sealing::{EncryptionKey, Keyring};

const HEAD: &str = "# Encryption keys of customerd: the first seals, the others only open. Keep a copy where the database's\n\
    # backups are not: without these keys what is sealed in them is lost.\n";
const NEXT: &str = "next";

/// What a key file holds.
#[derive(Debug, Clone, Default)]
pub struct KeyFile {
    /// The first seals.
    pub keys: Vec<EncryptionKey>,
    /// The key that is to seal next.
    pub next: Option<EncryptionKey>,
}

impl KeyFile {
    /// A file of one key.
    pub fn of(key: EncryptionKey) -> Self {
        Self { keys: vec![key], next: None }
    }

    /// Every key, for a sealer.
    pub fn keyring(&self) -> Keyring {
        Keyring::new(self.keys.iter().chain(&self.next).cloned().collect())
    }

    /// Its text.
    pub fn to_text(&self) -> SecretString {
        let mut text = HEAD.to_owned();
        for key in &self.keys {
            text = text + key.to_text().expose_secret() + "\n";
        }
        if let Some(key) = &self.next {
            text = text + key.to_text().expose_secret() + " " + NEXT + "\n";
        }
        text.into()
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<_> = line.split_whitespace().collect();
            let key = |word: &str| word.parse().with_context(|| format!("line {}", index + 1));
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [word] => file.keys.push(key(word)?),
                [word, NEXT] if file.next.is_none() => file.next = Some(key(word)?),
                _ => anyhow::bail!("line {}: one key a line", index + 1),
            }
        }
        anyhow::ensure!(!file.keys.is_empty(), "it holds no key");
        Ok(file)
    }

    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no key file.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let shown = || format!("encryption key file {}", path.display());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => SecretString::from(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(shown),
        };
        Self::parse(text.expose_secret()).with_context(shown).map(Some)
    }

    /// Whether others than its owner may read the file.
    pub fn is_open_to_others(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o077 != 0)
    }

    /// Makes the file, readable by its owner alone and durable when this returns; one that is there already is left alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(&self, path: &Path) -> anyhow::Result<()> {
        self.put(path, |draft| match std::fs::hard_link(draft, path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        })
    }

    /// Writes the file in the place of the one that is there, at once or not at all, durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn replace(&self, path: &Path) -> anyhow::Result<()> {
        self.put(path, |draft| std::fs::rename(draft, path))
    }

    /// Lets nobody else lock the key file until what is given is dropped, or the process ends. `None` when somebody has it
    /// locked.
    ///
    /// # Errors
    /// The file beside it that stands for the lock cannot be made or locked.
    pub fn lock(path: &Path) -> anyhow::Result<Option<File>> {
        // The key file itself is replaced by another. This one stays: who removed it might remove the lock of the next.
        let lock = path.with_extension("key.lock");
        let shown = || format!("cannot lock {}", lock.display());
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let file = open.with_context(shown)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(shown),
        }
    }

    fn put(&self, path: &Path, publish: impl Fn(&Path) -> std::io::Result<()>) -> anyhow::Result<()> {
        // Two nodes that start at once do not share it.
        let draft = path.with_extension(format!("key.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            remove(&draft)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(self.to_text().expose_secret().as_bytes())?;
            file.sync_all()?;
            publish(&draft)?;
            remove(&draft)?;
            File::open(directory(path))?.sync_all()
        };
        write().with_context(|| format!("cannot write the encryption key file {}", path.display()))
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(file: &KeyFile) -> Vec<String> {
        file.keyring().keys().iter().map(|key| key.id().to_string()).collect()
    }

    #[test]
    fn a_file_is_made_once_and_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("encryption.key");
        assert!(KeyFile::read(&path).unwrap().is_none());
        let (one, two) = (EncryptionKey::new([1; 32]), EncryptionKey::new([2; 32]));
        KeyFile::of(one.clone()).create(&path).unwrap();
        KeyFile::of(two.clone()).create(&path).unwrap();
        let read = KeyFile::read(&path).unwrap().unwrap();
        assert_eq!(ids(&read), [one.id().to_string()]);
        assert!(!KeyFile::is_open_to_others(&path));
        let alone = KeyFile::lock(&path).unwrap();
        assert!(alone.is_some() && KeyFile::lock(&path).unwrap().is_none());
        drop(alone);
        std::fs::remove_file(path.with_extension("key.lock")).unwrap();
        KeyFile { next: Some(two.clone()), ..read }.replace(&path).unwrap();
        let read = KeyFile::read(&path).unwrap().unwrap();
        assert_eq!(ids(&read), [one.id().to_string(), two.id().to_string()]);
        assert_eq!(read.next.map(|key| key.id()), Some(two.id()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(KeyFile::is_open_to_others(&path));
    }

    #[test]
    fn what_is_no_key_file_is_refused_by_its_line() {
        let key = EncryptionKey::new([1; 32]).to_text();
        let key = key.expose_secret();
        for (text, wanted) in [
            (String::new(), "it holds no key"),
            ("# nothing\n\n".to_owned(), "it holds no key"),
            (format!("{key} next"), "it holds no key"),
            (format!("{key}\n{key} soon"), "line 2: one key a line"),
            ("\nAAAA".to_owned(), "line 2: an encryption key is 32 bytes"),
        ] {
            let error = format!("{:#}", KeyFile::parse(&text).unwrap_err());
            assert!(error.contains(wanted) && !error.contains(key), "{error}");
        }
    }
}
