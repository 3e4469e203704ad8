//! `customerd keygen`: a key pair for signing requests.

use std::path::PathBuf;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::signature::{Algorithm, PrivateKey};

/// What kind of key, and where to.
#[derive(Debug, clap::Args)]
pub struct Keygen {
    /// ecdsa-p384-sha384, ecdsa-p256-sha256, ed25519 or rsa-pss-sha512
    #[arg(long, default_value = "ecdsa-p384-sha384", value_parser = algorithm)]
    algorithm: Algorithm,
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
