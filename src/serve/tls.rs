//! Certificates for a listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

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

/// TLS 1.2 and 1.3 on aws-lc-rs. `alpn` lists the protocols offered, most wanted first: `h2`, `http/1.1`.
///
/// # Errors
/// See [`TlsError`].
pub fn server_config(files: &TlsFiles, alpn: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
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
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
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
