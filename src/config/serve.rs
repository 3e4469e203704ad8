//! What `customerd serve` can be told.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use url::Url;

use super::{CertFiles, ClientArgs, Health, Kyc, LimitArgs, Work};

/// Settings of the running service.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Service")]
pub struct Serve {
    /// Run one door: the REST front (needs --upstream), or the gRPC backend
    #[arg(long, env = "CUSTOMERD_ONLY", value_name = "DOOR", value_enum, requires_if("rest", "upstream"))]
    pub only: Option<Only>,

    /// Do not run the worker (webhooks, screening, sweeps); another node does
    #[arg(long, env = "CUSTOMERD_NO_WORKER", value_parser = BoolishValueParser::new())]
    pub no_worker: bool,

    /// Make no sandbox programme on a database without any programme
    #[arg(long, env = "CUSTOMERD_NO_SANDBOX", value_parser = BoolishValueParser::new())]
    pub no_sandbox: bool,

    /// Chains that customers may come from, as CAIP-2 ids separated by commas, such as eip155:1 [default: all known]
    #[arg(long, env = "CUSTOMERD_CHAINS", value_name = "ID", value_delimiter = ',')]
    pub chains: Vec<String>,

    /// Where health is answered.
    #[command(flatten)]
    pub health: Health,
    /// The backend of a REST front.
    #[command(flatten)]
    pub upstream: Upstream,
    /// Certificates.
    #[command(flatten)]
    pub tls: Tls,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Clients.
    #[command(flatten)]
    pub clients: ClientArgs,
    /// Identity verification.
    #[command(flatten)]
    pub kyc: Kyc,
    /// What the worker needs.
    #[command(flatten)]
    pub work: Work,
    /// Variables of the environment that this node does not use: for a warning.
    #[arg(skip)]
    pub unused: Vec<String>,
}

/// One door of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
    /// The REST front, its backend elsewhere.
    Rest,
    /// The gRPC backend.
    Grpc,
}

/// Where a REST front finds its backend.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Upstream (with --only rest)")]
pub struct Upstream {
    /// The gRPC backend, such as http://10.0.0.5:50051
    #[arg(long, env = "CUSTOMERD_UPSTREAM", value_name = "URL", requires = "only")]
    pub upstream: Option<Url>,

    /// Authorities that may have signed the backend's certificate, PEM [default: the public ones]
    #[arg(long, env = "CUSTOMERD_UPSTREAM_CA", value_name = "FILE", requires = "upstream")]
    pub upstream_ca: Option<PathBuf>,

    /// Certificate shown to the backend, PEM
    #[arg(long, env = "CUSTOMERD_UPSTREAM_CERT", value_name = "FILE", requires = "upstream_key")]
    upstream_cert: Option<PathBuf>,

    /// Key of that certificate, PEM
    #[arg(long, env = "CUSTOMERD_UPSTREAM_KEY", value_name = "FILE", requires = "upstream_cert")]
    upstream_key: Option<PathBuf>,
}

impl Upstream {
    /// The certificate to show to the backend.
    pub fn identity(&self) -> Option<CertFiles> {
        CertFiles::both(self.upstream_cert.as_ref(), self.upstream_key.as_ref())
    }
}

/// Certificates of the listeners; without them they speak plain text.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct Tls {
    /// Certificate chain of the REST listener, PEM
    #[arg(long, env = "CUSTOMERD_HTTP_TLS_CERT", value_name = "FILE", requires = "http_tls_key")]
    http_tls_cert: Option<PathBuf>,

    /// Key of that certificate, PEM
    #[arg(long, env = "CUSTOMERD_HTTP_TLS_KEY", value_name = "FILE", requires = "http_tls_cert")]
    http_tls_key: Option<PathBuf>,

    /// Certificate chain of the gRPC listener, PEM
    #[arg(long, env = "CUSTOMERD_GRPC_TLS_CERT", value_name = "FILE", requires = "grpc_tls_key")]
    grpc_tls_cert: Option<PathBuf>,

    /// Key of that certificate, PEM
    #[arg(long, env = "CUSTOMERD_GRPC_TLS_KEY", value_name = "FILE", requires = "grpc_tls_cert")]
    grpc_tls_key: Option<PathBuf>,

    /// Authorities whose client certificates the gRPC listener demands (mutual TLS), PEM
    #[arg(long, env = "CUSTOMERD_GRPC_CLIENT_CA", value_name = "FILE", requires = "grpc_tls_cert")]
    pub grpc_client_ca: Option<PathBuf>,
}

impl Tls {
    /// The REST listener's certificate.
    pub fn http(&self) -> Option<CertFiles> {
        CertFiles::both(self.http_tls_cert.as_ref(), self.http_tls_key.as_ref())
    }

    /// The gRPC listener's certificate.
    pub fn grpc(&self) -> Option<CertFiles> {
        CertFiles::both(self.grpc_tls_cert.as_ref(), self.grpc_tls_key.as_ref())
    }
}
