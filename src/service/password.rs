//! API secrets, kept only as argon2id hashes (RFC 9106; 19 MiB, two passes, one lane: OWASP's first choice).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use super::failure::Outcome;
use crate::domain::{Code, Error};

/// Hashes at work at once in this process: each takes 19 MiB and a core.
static AT_WORK: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(2)));

/// Hashes at work and waiting for it: the last of them waits a second or two. Anybody may ask for a token, so that more
/// than this would only fill the service with callers who wait.
const MOST: usize = 66;
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MOST)));

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
    let Ok(room) = Arc::clone(&ROOM).try_acquire_owned() else {
        let detail = "Too many secrets are being checked. Try again shortly.";
        return Err(Error::new(Code::Unavailable, detail).retry_after(Duration::from_secs(1)));
    };
    let permit = Arc::clone(&AT_WORK).acquire_owned().await.map_err(|_| Error::internal())?;
    let work = move || {
        let _held = (room, permit);
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::failure::Failure;

    #[tokio::test]
    async fn only_the_secret_itself_verifies_and_only_so_many_at_once() {
        let hash = hash("correct".into(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct".into(), Some(hash.clone())).await.unwrap());
        assert!(!verify("Correct".into(), Some(hash)).await.unwrap());
        assert!(!verify("correct".into(), None).await.unwrap());
        assert!(PasswordHash::new(NOBODY).is_ok(), "the stand-in must take as long as a real one");

        // Here and not in a test of its own: the room is the process's.
        let many = (0..MOST + 20).map(|_| verify("secret".into(), None));
        let answers = futures::future::join_all(many).await;
        let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!((1..=20).contains(&refused.len()), "{}", refused.len());
        let unavailable = |failure: &&Failure| matches!(failure, Failure::Refused(e) if e.code == Code::Unavailable);
        assert!(refused.iter().all(unavailable));
    }
}
