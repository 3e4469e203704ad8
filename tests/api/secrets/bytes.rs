//! The raw bytes of a database, and the search for secrets in them.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sqlx::{Connection as _, PgConnection};

/// Every file of a database. Of PostgreSQL the files of the database itself, after a checkpoint, without the server's
/// write-ahead log: that is recycled, and part of every physical backup until then.
pub struct Bytes(Vec<Vec<u8>>);

/// A secret, in every form that it may be kept in.
pub struct Needle {
    pub name: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    /// Bytes: as they are, in hexadecimal, in base64.
    pub fn bytes(name: &str, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 8, "{name} is too short to be searched for");
        let forms = vec![
            bytes.to_vec(),
            hex::encode(bytes).into(),
            hex::encode_upper(bytes).into(),
            STANDARD_NO_PAD.encode(bytes).into(),
            URL_SAFE_NO_PAD.encode(bytes).into(),
        ];
        Self { name: name.to_owned(), forms }
    }

    /// A text, and its bytes likewise.
    pub fn text(name: &str, text: &str) -> Self {
        Self::bytes(name, text.as_bytes())
    }

    /// A `whsec_` secret: the text, and the key that it stands for.
    pub fn webhook(name: &str, text: &str) -> Self {
        let key = base64::engine::general_purpose::STANDARD.decode(text.strip_prefix("whsec_").unwrap()).unwrap();
        let mut needle = Self::text(name, text);
        needle.forms.extend(Self::bytes(name, &key).forms);
        needle
    }

    /// A link: its token, and the half of it that is not the customer's id.
    pub fn link(name: &str, url: &str) -> Self {
        let token = url.rsplit('/').next().unwrap();
        let mut needle = Self::text(name, token);
        needle.forms.extend(Self::bytes(name, &URL_SAFE_NO_PAD.decode(token).unwrap()[16..]).forms);
        needle
    }
}

impl Bytes {
    /// What a command printed.
    pub fn printed(text: &str) -> Self {
        Self(vec![text.as_bytes().to_vec()])
    }

    pub async fn of(url: &str) -> Self {
        let paths = match url.strip_prefix("sqlite://") {
            Some(path) => ["", "-wal", "-shm", "-journal"].map(|suffix| format!("{path}{suffix}").into()).to_vec(),
            None => postgres(url).await,
        };
        let read = |path: &std::path::PathBuf| std::fs::read(path).ok();
        Self(paths.iter().filter_map(read).collect())
    }

    /// The names of those that are found, in one pass over the files.
    pub fn found<'n>(&self, needles: &'n [Needle]) -> BTreeSet<&'n str> {
        let mut forms: HashMap<[u8; 8], Vec<(&'n str, &'n [u8])>> = HashMap::new();
        for needle in needles {
            for form in &needle.forms {
                let begin = *form.first_chunk().expect("8 bytes at least");
                forms.entry(begin).or_default().push((&needle.name, form));
            }
        }
        let mut found = BTreeSet::new();
        for file in &self.0 {
            for (at, begin) in file.windows(8).enumerate() {
                let Some(candidates) = forms.get(begin) else { continue };
                found.extend(candidates.iter().filter(|(_, form)| file[at..].starts_with(form)).map(|(name, _)| *name));
            }
        }
        found
    }

    /// Shows that the search finds what is there.
    pub fn must_hold(&self, text: &str) {
        assert!(!self.found(&[Needle::text(text, text)]).is_empty(), "{text} is not found");
    }

    pub fn must_not_hold(&self, needles: &[Needle]) {
        assert_eq!(self.found(needles), BTreeSet::new(), "in the database");
    }
}

async fn postgres(url: &str) -> Vec<std::path::PathBuf> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await.unwrap();
    let (directory,): (String,) = sqlx::query_as("SHOW data_directory").fetch_one(&mut connection).await.unwrap();
    let (oid,): (String,) =
        sqlx::query_as("SELECT CAST(oid AS TEXT) FROM pg_database WHERE datname = current_database()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    let files = std::fs::read_dir(format!("{directory}/base/{oid}")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}
