//! A programme with everything its partner needs to call: made by `serve` for the sandbox and by `programme create`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::encryption::CLEAR;
use crate::clock::Clock;
use crate::domain::programme::Programme;
use crate::domain::text;
use crate::service::hash_secret;
use crate::signature::{Algorithm, PrivateKey, PublicKey};
use crate::store::acts::{self, Act};
use crate::store::programmes::{self, NewProgramme};
use crate::store::signing_keys::{self, SigningKey};
use crate::store::{Connection as _, Dialect, Store, Tx, clear, keyring};

/// Why PostgreSQL without an encryption key is for sandboxes alone. (On SQLite, `serve` makes one.)
const NO_KEY: &str = "a live programme needs an encryption key, so that its webhook secrets and the keys that sign its tokens are \
    not kept in the clear: `customerd keygen --encryption --out FILE` makes one; give the file to every node and command with \
    --encryption-key-file FILE (or CUSTOMERD_ENCRYPTION_KEY_FILE)";

/// How to call as a programme. The JSON of `sandbox.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The REST API, with its `/v1`.
    pub base_url: String,
    /// The gRPC address.
    pub grpc_addr: String,
    /// The API key.
    pub api_key: Uuid,
    /// The API secret. Here and nowhere else: the store has only its hash.
    #[serde(serialize_with = "exposed")]
    pub api_secret: SecretString,
    /// The `keyid` of the signing key.
    pub key_id: String,
    /// Its algorithm.
    pub algorithm: String,
    /// The signing key, PKCS #8. Here and nowhere else; absent where the partner made its key itself and keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub private_key_pem: Option<SecretString>,
    /// The programme.
    pub programme_id: Uuid,
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn exposed_if_any<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|secret| secret.expose_secret()).serialize(serializer)
}

impl Profile {
    /// Writes the profile to a file that only its owner can read, replacing what was there at once or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        // Two nodes that start at once do not share it.
        let draft = path.with_extension(format!("json.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            // What an interrupted start left behind may have another mode.
            match std::fs::remove_file(&draft) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&draft, path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// There is none, or it is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a profile", path.display()))
    }
}

/// The address under which a listener is reached from this machine: a listener on every address has none of its own.
#[must_use]
pub fn local(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// What a partner calls with.
pub struct Credentials {
    api_secret: SecretString,
    hash: String,
    /// `None` where the partner made its key itself.
    private: Option<PrivateKey>,
}

impl Credentials {
    /// Fresh ones, with a P-384 signing key if `with_key`. Takes some tens of milliseconds: the hash of the secret is slow on purpose.
    ///
    /// # Errors
    ///
    /// The machine has no randomness or memory for them.
    pub fn make(clock: &Clock, with_key: bool) -> impl Future<Output = anyhow::Result<Self>> + Send + use<> {
        let (api_secret, salt) = (SecretString::from(clock.token(32)), clock.random());
        async move {
            let hash = hash_secret(api_secret.clone(), salt).await?;
            let private = if with_key { Some(PrivateKey::generate(Algorithm::EcdsaP384Sha384)?) } else { None };
            Ok(Self { api_secret, hash, private })
        }
    }
}

/// A programme about to be made.
pub struct NewPartner<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is a sandbox.
    pub sandbox: bool,
    /// The key that the partner signs with; a fresh P-384 key is made without one.
    pub public_key: Option<PublicKey>,
    /// Made before; without them fresh ones are made.
    pub credentials: Option<Credentials>,
    /// Whether another programme may have this name.
    pub allow_duplicate_name: bool,
    /// What is recorded of who makes it; on what is filled in.
    pub act: Option<Act>,
}

/// Makes a programme of any name with fresh credentials and a fresh P-384 signing key.
///
/// # Errors
///
/// The name is not printable, or the store cannot.
pub async fn create_programme(
    store: &Store,
    clock: &Clock,
    (name, sandbox): (&str, bool),
    addresses: (String, String),
) -> anyhow::Result<Profile> {
    let new = NewPartner { name, sandbox, public_key: None, credentials: None, allow_duplicate_name: true, act: None };
    enrol(store, clock, new, addresses).await?.context("any name may be given again")
}

/// Makes a programme with fresh credentials. `None` when its name is taken and may not be given again.
///
/// # Errors
///
/// The name is not printable, or the store cannot.
pub async fn enrol(
    store: &Store,
    clock: &Clock,
    new: NewPartner<'_>,
    (base_url, grpc_addr): (String, String),
) -> anyhow::Result<Option<Profile>> {
    let NewPartner { name, sandbox, public_key, credentials, allow_duplicate_name, act } = new;
    text::printable("name", name, 64).map_err(|error| {
        anyhow::anyhow!("the name: {}", error.violations.first().map_or("", |v| v.message.as_str()))
    })?;
    anyhow::ensure!(sandbox || store.sealer().has_key() || store.dialect() == Dialect::Sqlite, NO_KEY);
    let programme = Programme { id: clock.id(), name: name.to_owned(), sandbox };
    let Credentials { api_secret, hash, private } = match credentials {
        Some(credentials) => credentials,
        None => Credentials::make(clock, public_key.is_none()).await?,
    };
    let public = public_key.as_ref().or(private.as_ref().map(PrivateKey::public_key)).context("no key")?;
    // Random through and through, unlike our other ids: whoever knows it may try secrets.
    let api_key = uuid::Builder::from_random_bytes(clock.random()).into_uuid();
    let at = clock.now();
    let key = SigningKey {
        key_id: clock.id().to_string(),
        algorithm: public.algorithm().name().to_owned(),
        public_key: public.spki_der().to_vec(),
        created_at: at,
    };
    let mut tx = store.begin().await?;
    if !sandbox && tx.sealer().has_key() {
        require_sealed(&mut tx).await?;
    }
    programmes::insert(&mut tx, &NewProgramme { programme: &programme, api_key, api_secret_hash: &hash, at }).await?;
    if !programmes::claim_name(&mut tx, name, programme.id).await? && !allow_duplicate_name {
        tx.rollback().await?;
        return Ok(None);
    }
    signing_keys::insert(&mut tx, programme.id, &key).await?;
    if let Some(act) = act {
        let act = Act { target_id: Some(programme.id.to_string()), programme_id: Some(programme.id), ..act };
        acts::record(&mut tx, &act)?;
    }
    tx.commit().await?;
    Ok(Some(Profile {
        base_url,
        grpc_addr,
        api_key,
        api_secret,
        key_id: key.key_id,
        algorithm: key.algorithm,
        private_key_pem: private.as_ref().map(PrivateKey::to_pem),
        programme_id: programme.id,
    }))
}

/// A live programme's secrets are sealed from its beginning on: no node without the key, however long it has been running, may write
/// any in the clear.
async fn require_sealed(tx: &mut Tx) -> anyhow::Result<()> {
    clear::forbid_in(tx).await?;
    anyhow::ensure!(!keyring::is_clear(tx).await?, CLEAR);
    Ok(())
}
