//! The partners who screen and verify.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::secret;

/// Identity verification: Sumsub when its token is set, else the sandbox portal.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Identity verification (Sumsub)")]
pub struct Kyc {
    /// Base URL of the API
    #[arg(long, env = "CUSTOMERD_SUMSUB_URL", value_name = "URL", default_value = "https://api.sumsub.com")]
    pub sumsub_url: Url,

    /// App token; turns Sumsub on
    #[arg(long, env = "CUSTOMERD_SUMSUB_APP_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    sumsub_app_token: Option<SecretString>,

    /// File that holds the app token
    #[arg(long, env = "CUSTOMERD_SUMSUB_APP_TOKEN_FILE", value_name = "FILE", conflicts_with = "sumsub_app_token")]
    sumsub_app_token_file: Option<PathBuf>,

    /// Secret that signs requests to Sumsub
    #[arg(long, env = "CUSTOMERD_SUMSUB_SECRET", value_name = "SECRET", hide_env_values = true)]
    sumsub_secret: Option<SecretString>,

    /// File that holds the secret
    #[arg(long, env = "CUSTOMERD_SUMSUB_SECRET_FILE", value_name = "FILE", conflicts_with = "sumsub_secret")]
    sumsub_secret_file: Option<PathBuf>,

    /// Secret that signs Sumsub's callbacks
    #[arg(long, env = "CUSTOMERD_SUMSUB_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    sumsub_webhook_secret: Option<SecretString>,

    /// File that holds the callbacks' secret
    #[arg(
        long,
        env = "CUSTOMERD_SUMSUB_WEBHOOK_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "sumsub_webhook_secret"
    )]
    sumsub_webhook_secret_file: Option<PathBuf>,

    /// Verification level, as named in Sumsub's dashboard
    #[arg(long, env = "CUSTOMERD_SUMSUB_LEVEL", value_name = "NAME", default_value = "basic-kyc-level")]
    pub sumsub_level: String,
}

/// What talking to Sumsub takes.
#[derive(Debug, Clone)]
pub struct Sumsub {
    /// Base URL.
    pub url: Url,
    /// `X-App-Token`.
    pub app_token: SecretString,
    /// Signs our requests.
    pub secret: SecretString,
    /// Signs their callbacks.
    pub webhook_secret: SecretString,
    /// Verification level.
    pub level: String,
}

impl Kyc {
    /// Sumsub's settings, or none: the sandbox is used.
    ///
    /// # Errors
    /// A secret file cannot be read, or only some of the three secrets are set.
    pub fn sumsub(&self) -> anyhow::Result<Option<Sumsub>> {
        let token = secret::read(self.sumsub_app_token.as_ref(), self.sumsub_app_token_file.as_deref())?;
        let secret = secret::read(self.sumsub_secret.as_ref(), self.sumsub_secret_file.as_deref())?;
        let hook = secret::read(self.sumsub_webhook_secret.as_ref(), self.sumsub_webhook_secret_file.as_deref())?;
        match (token, secret, hook) {
            (None, None, None) => Ok(None),
            (Some(app_token), Some(secret), Some(webhook_secret)) => Ok(Some(Sumsub {
                url: self.sumsub_url.clone(),
                app_token,
                secret,
                webhook_secret,
                level: self.sumsub_level.clone(),
            })),
            _ => anyhow::bail!(
                "Sumsub needs all three of --sumsub-app-token, --sumsub-secret and --sumsub-webhook-secret \
                 (or their -file forms); set the missing ones, or none for the sandbox"
            ),
        }
    }
}

/// Sanctions screening: the lists, then Chainalysis when its key is set. Without either, sandbox programmes' customers are
/// cleared and those of live ones stay in screening.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Screening")]
pub struct Screening {
    /// Sanctions list; repeatable, or separated by commas. OFAC's SDN_ADVANCED.XML, OpenSanctions' entities (JSON lines), or
    /// one CAIP-10 account id or bare address a line with # comments; read again when it changes
    #[arg(long, env = "CUSTOMERD_SCREENING_LIST", value_name = "FILE", value_delimiter = ',')]
    pub screening_list: Vec<PathBuf>,

    /// Further addresses that sandbox programmes' customers are rejected for, bare, separated by commas
    #[arg(long, env = "CUSTOMERD_SCREENING_TEST_ADDRESSES", value_name = "ADDRESS", value_delimiter = ',')]
    pub screening_test_addresses: Vec<String>,

    /// Base URL of the Chainalysis sanctions API
    #[arg(
        long,
        env = "CUSTOMERD_CHAINALYSIS_URL",
        value_name = "URL",
        default_value = "https://public.chainalysis.com"
    )]
    pub chainalysis_url: Url,

    /// Key of the Chainalysis sanctions API; turns it on
    #[arg(long, env = "CUSTOMERD_CHAINALYSIS_KEY", value_name = "KEY", hide_env_values = true)]
    chainalysis_key: Option<SecretString>,

    /// File that holds the key
    #[arg(long, env = "CUSTOMERD_CHAINALYSIS_KEY_FILE", value_name = "FILE", conflicts_with = "chainalysis_key")]
    chainalysis_key_file: Option<PathBuf>,
}

impl Screening {
    /// The key of the Chainalysis API, if it is to be asked.
    ///
    /// # Errors
    /// The key's file cannot be read.
    pub fn chainalysis_key(&self) -> anyhow::Result<Option<SecretString>> {
        secret::read(self.chainalysis_key.as_ref(), self.chainalysis_key_file.as_deref())
    }
}
