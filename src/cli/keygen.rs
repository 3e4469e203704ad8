//! `customerd keygen`: a key pair for signing requests, or an encryption key.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::clock::Clock;
use crate::config::KeyFile;
use crate::sealing::EncryptionKey;
use crate::signature::{Algorithm, PrivateKey};

/// What kind of key, and where to.
#[derive(Debug, clap::Args)]
pub struct Keygen {
    /// ecdsa-p384-sha384, ecdsa-p256-sha256, ed25519 or rsa-pss-sha512
    #[arg(long, default_value = "ecdsa-p384-sha384", value_parser = algorithm)]
    algorithm: Algorithm,
    /// Make a key file for --encryption-key-file instead: with it the database's secrets are sealed
    #[arg(long, conflicts_with = "algorithm")]
    encryption: bool,

    /// File for the private key, PKCS #8 PEM, readable by its owner alone [default: both keys on stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(name).ok_or_else(|| format!("want one of {}", Algorithm::ALL.map(Algorithm::name).join(", ")))
}

/// Makes it. The public key goes to stdout.
///
/// # Errors
///
/// The file exists, or cannot be written.
pub(super) fn run(args: &Keygen) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if args.encryption {
        return encryption(args.out.as_deref());
    }
    let key = PrivateKey::generate(args.algorithm)?;
    let private = key.to_pem();
    match &args.out {
        Some(path) => {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            file.write_all(private.expose_secret().as_bytes())?;
        }
        None => super::print(private.expose_secret().trim_end())?,
    }
    super::print(key.public_key().to_pem().trim_end())
}

/// An encryption key; its id goes to stdout.
fn encryption(out: Option<&Path>) -> anyhow::Result<()> {
    let key = EncryptionKey::new(Clock::system().random());
    let id = key.id();
    let file = KeyFile::of(key);
    let Some(path) = out else { return super::print(file.to_text().expose_secret().trim_end()) };
    anyhow::ensure!(!path.exists(), "{} exists already: what is sealed under its keys needs it", path.display());
    file.create(path)?;
    super::print(&id.to_string())
}
