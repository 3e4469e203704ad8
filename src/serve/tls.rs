//! Certificates for a listener, read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::clock::Clock;

/// How often the files are compared with what was read: renewals replace them days before the old certificate ends.
const POLL: Duration = Duration::from_secs(5);

/// The PEM files of a listener.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of the clients' certificates. When set, a client without a certificate of theirs is turned away.
    pub client_ca: Option<PathBuf>,
}

/// A listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, not readable, or not PEM of that kind.
    #[error("cannot read {what} from {}: {source}", .file.display())]
    File {
        /// What was sought in it.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that rustls refuses.
    #[error("cannot use the certificate {}: {source}", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The client authorities cannot be used.
    #[error("cannot use the client authorities {}: {reason}", .file.display())]
    ClientAuthority {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What a listener shows: the newest certificate that could be read. New connections get it, those that are open keep theirs.
pub struct Certificates {
    files: TlsFiles,
    alpn: Vec<Vec<u8>>,
    config: watch::Sender<Arc<ServerConfig>>,
    /// What the files held before they were first read: a start may take minutes from then to [`Certificates::watch`].
    first: Contents,
}

/// A hash of each file, `None` of one that cannot be read. Modification times say less: a volume that is mounted again, or a
/// copy that keeps them, changes the content alone.
type Contents = Vec<Option<[u8; 32]>>;

impl Certificates {
    /// Reads the files, for TLS 1.2 and 1.3 on aws-lc-rs. `alpn` lists the protocols offered, most wanted first: `h2`, `http/1.1`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn read(files: TlsFiles, alpn: &[&str]) -> Result<Self, TlsError> {
        let alpn: Vec<_> = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let first = contents(&files);
        let config = watch::Sender::new(server_config(&files, &alpn)?);
        Ok(Self { files, alpn, config, first })
    }

    /// The configuration for the next connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Reads the files again whenever their content differs from what was last read, and at every SIGHUP. What cannot be used
    /// is warned of once, and the certificate in use stays. Runs until dropped.
    pub(super) async fn watch(&self, clock: &Clock) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut seen = self.first.clone();
        loop {
            let asked = tokio::select! {
                () = clock.sleep(POLL) => false,
                Some(()) = async { hangup.as_mut()?.recv().await } => true,
            };
            if let Err(error) = self.poll(&mut seen, asked).await {
                tracing::error!(%error, "reading certificates panicked; the earlier ones stay in use");
            }
        }
    }

    /// Reads the files again if they hold something else than `seen`, or if `asked`.
    async fn poll(&self, seen: &mut Contents, asked: bool) -> Result<(), tokio::task::JoinError> {
        let (files, alpn, before) = (self.files.clone(), self.alpn.clone(), seen.clone());
        let read = move || {
            let found = contents(&files);
            let config = (asked || found != before).then(|| server_config(&files, &alpn));
            (found, config)
        };
        let (found, config) = tokio::task::spawn_blocking(read).await?;
        *seen = found;
        let file = self.files.cert.display();
        match config {
            None => {}
            Some(Ok(config)) => {
                self.config.send_replace(config);
                tracing::info!(%file, "certificate read again");
            }
            Some(Err(error)) => {
                tracing::warn!(%file, %error, "the changed certificate cannot be used; the earlier one stays in use");
            }
        }
        Ok(())
    }
}

fn contents(files: &TlsFiles) -> Contents {
    let each = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
    each.into_iter().flatten().map(|file| Some(Sha256::digest(std::fs::read(file).ok()?).into())).collect()
}

fn server_config(files: &TlsFiles, alpn: &[Vec<u8>]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
        what: "a private key",
        file: files.key.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let refused = |source| TlsError::Certificate { file: files.cert.clone(), source };
    let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let clients = match &files.client_ca {
        None => versions.with_no_client_auth(),
        Some(file) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(file)?), provider)
                .build()
                .map_err(|error| TlsError::ClientAuthority { file: file.clone(), reason: error.to_string() })?;
            versions.with_client_cert_verifier(verifier)
        }
    };
    let mut config = clients.with_single_cert(chain, key).map_err(refused)?;
    config.alpn_protocols = alpn.to_vec();
    Ok(Arc::new(config))
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::ClientAuthority { file: file.to_owned(), reason: error.to_string() })?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::File { what: "a certificate", file: file.to_owned(), source };
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found.map_err(unreadable)? {
        none if none.is_empty() => Err(unreadable(rustls::pki_types::pem::Error::NoItemsFound)),
        some => Ok(some),
    }
}
