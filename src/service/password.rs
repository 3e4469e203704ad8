//! API secrets, kept only as argon2id hashes (RFC 9106; 19 MiB, two passes, one lane: OWASP's first choice).

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use super::failure::Outcome;
use crate::domain::Error;

/// Hashes at work at once in this process: each takes 19 MiB and a core.
static AT_WORK: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// What a missing programme's secret is compared with, so that a wrong key costs the same time as a wrong secret.
static NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The PHC string of a secret, salted with `salt`.
///
/// # Errors
///
/// `INTERNAL` when the machine has no memory for it.
pub async fn hash(secret: SecretString, salt: [u8; 16]) -> Result<String, Error> {
    blocking(move || {
        let hash: Result<PasswordHash, _> =
            Argon2::default().hash_password_with_salt(secret.expose_secret().as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|_| Error::internal())
    })
    .await?
}

/// Whether `secret` is the one behind `hash`. Without a hash: never, in the same time.
pub(crate) async fn verify(secret: SecretString, hash: Option<String>) -> Outcome<bool> {
    let known = hash.is_some();
    let matches = blocking(move || {
        let hash = hash.as_deref().unwrap_or(NOBODY);
        PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(secret.expose_secret().as_bytes(), &hash).is_ok())
    })
    .await?;
    Ok(known && matches)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let permit = Arc::clone(&AT_WORK).acquire_owned().await.map_err(|_| Error::internal())?;
    let work = move || {
        let _permit = permit;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_secret_itself_verifies() {
        let hash = hash("correct".into(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct".into(), Some(hash.clone())).await.unwrap());
        assert!(!verify("Correct".into(), Some(hash)).await.unwrap());
        assert!(!verify("correct".into(), None).await.unwrap());
        assert!(PasswordHash::new(NOBODY).is_ok(), "the stand-in must take as long as a real one");
    }
}
