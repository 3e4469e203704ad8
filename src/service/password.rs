//! API secrets, kept only as argon2id hashes (RFC 9106; 19 MiB, two passes, one lane: OWASP's first choice).
//!
//! A hash takes 19 MiB and a core for tens of milliseconds, and anybody may ask for a token. So there are one or two buffers
//! of that size in a process, made when first needed and used again, and who needs one waits for its turn in a fair queue.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::client::Client;
use super::failure::Outcome;
use super::fair_queue::{Applicant, FairQueue};
use crate::domain::{Code, Error};

/// Who may wait for a buffer: all that `--max-concurrent-requests` lets in by default, divided by two. The last one waits for
/// about ten seconds.
const WAITING: usize = 512;

/// What a missing programme's secret is compared with, so that a wrong key costs the same time as a wrong secret.
static NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Those of this process: half of its cores are left to everything else, and memory is bounded whatever the cores.
static BUFFERS: LazyLock<Arc<Buffers>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Buffers::new((cores / 2).clamp(1, 2), WAITING)
});

/// The PHC string of a secret, salted with `salt`.
///
/// # Errors
///
/// `UNAVAILABLE` when too many wait already.
pub(super) async fn hash(secret: SecretString, salt: [u8; 16]) -> Result<String, Error> {
    // The caller that sets a secret is authenticated. Such callers share a turn with those whose address is not known.
    let who = Applicant { client: Client::NONE, api_key: Uuid::nil() };
    blocking(&BUFFERS, who, move |blocks| phc(&secret, salt, blocks)).await?
}

/// The PHC string of a secret, for a start and for commands, which hash one secret and perhaps never another: its memory goes
/// back to the system.
///
/// # Errors
///
/// `INTERNAL` where Argon2 fails.
pub async fn hash_once(secret: SecretString, salt: [u8; 16]) -> Result<String, Error> {
    let buffers = Buffers::new(1, 1);
    let who = Applicant { client: Client::NONE, api_key: Uuid::nil() };
    blocking(&buffers, who, move |blocks| phc(&secret, salt, blocks)).await?
}

fn phc(secret: &SecretString, salt: [u8; 16], blocks: &mut [Block]) -> Result<String, Error> {
    let (params, salt) = (Params::default(), Salt::new(&salt).map_err(|_| Error::internal())?);
    let hash = Some(output(&params, (secret, &salt), blocks)?);
    let version = Some(Version::default().into());
    let params = ParamsString::try_from(&params).map_err(|_| Error::internal())?;
    let phc = PasswordHash { algorithm: Algorithm::default().ident(), version, params, salt: Some(salt), hash };
    Ok(phc.to_string())
}

/// Whether `secret` is the one behind `hash`. Without a hash: never, in the same time.
pub(super) async fn verify(who: Applicant, secret: SecretString, hash: Option<String>) -> Outcome<bool> {
    let known = hash.is_some();
    let matches =
        blocking(&BUFFERS, who, move |blocks| matches(hash.as_deref().unwrap_or(NOBODY), &secret, blocks)).await?;
    Ok(known && matches?)
}

/// Whether a secret is the one behind a hash, which one of our versions has made.
fn matches(hash: &str, secret: &SecretString, blocks: &mut [Block]) -> Result<bool, Error> {
    let broken = |_| {
        tracing::error!("the stored hash of an API secret cannot be read");
        Error::internal()
    };
    let phc = PasswordHash::new(hash).map_err(broken)?;
    let params = Params::try_from(&phc).map_err(|_| Error::internal())?;
    let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else { return Err(Error::internal()) };
    let ours = phc.algorithm == Algorithm::default().ident() && phc.version == Some(Version::default().into());
    // Outputs compare in constant time.
    Ok(ours && output(&params, (secret, &salt), blocks)? == expected)
}

fn output(params: &Params, (secret, salt): (&SecretString, &Salt), blocks: &mut [Block]) -> Result<Output, Error> {
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::from(params);
    let done = argon2.hash_password_into_with_memory(secret.expose_secret().as_bytes(), salt, &mut out, blocks);
    done.ok().and_then(|()| Output::new(&out).ok()).ok_or_else(Error::internal)
}

async fn blocking<T: Send + 'static>(
    buffers: &Arc<Buffers>,
    who: Applicant,
    work: impl FnOnce(&mut [Block]) -> T + Send + 'static,
) -> Result<T, Error> {
    let mut buffer = buffers.turn(who).await?;
    tokio::task::spawn_blocking(move || work(&mut buffer.blocks)).await.map_err(|_| Error::internal())
}

/// A fixed number of buffers, and who waits for one.
struct Buffers(Mutex<State>);

struct State {
    idle: Vec<Vec<Block>>,
    /// How many may still be made.
    unmade: usize,
    waiting: FairQueue<oneshot::Sender<Buffer>>,
}

/// A buffer in use. Dropped, it goes to the next applicant.
struct Buffer {
    blocks: Vec<Block>,
    home: Arc<Buffers>,
}

impl Buffers {
    fn new(count: usize, waiting: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { idle: Vec::new(), unmade: count, waiting: FairQueue::new(waiting) })))
    }

    /// Waits for a buffer.
    async fn turn(self: &Arc<Self>, who: Applicant) -> Result<Buffer, Error> {
        let turn = {
            let mut state = self.state();
            if let Some(blocks) = state.take() {
                return Ok(Buffer { blocks, home: Arc::clone(self) });
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.retain(|waiting| !waiting.is_closed());
            // The one that is dropped for it learns of it by its channel.
            state.waiting.push(who, sender);
            turn
        };
        turn.await.map_err(|_| {
            let detail = "Too many secrets are being checked. Try again shortly.";
            Error::new(Code::Unavailable, detail).retry_after(Duration::from_secs(1))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Vec<Block>> {
        if let Some(blocks) = self.idle.pop() {
            return Some(blocks);
        }
        self.unmade = self.unmade.checked_sub(1)?;
        Some(vec![Block::new(); Params::default().block_count()])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // It has been given away below.
        if self.blocks.is_empty() {
            return;
        }
        let mut buffer = Self { blocks: std::mem::take(&mut self.blocks), home: Arc::clone(&self.home) };
        loop {
            let next = {
                let mut state = self.home.state();
                let next = state.waiting.pop();
                if next.is_none() {
                    state.idle.push(std::mem::take(&mut buffer.blocks));
                }
                next
            };
            let Some(next) = next else { return };
            // Who has gone gives it back.
            match next.send(buffer) {
                Ok(()) => return,
                Err(back) => buffer = back,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(client: u8) -> Applicant {
        Applicant { client: Client::numbered(client), api_key: Uuid::nil() }
    }

    #[tokio::test]
    async fn only_the_secret_itself_verifies() {
        let hash = hash("correct".into(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = async |secret: &str, hash| verify(who(1), secret.into(), hash).await;
        assert!(verify("correct", Some(hash.clone())).await.unwrap());
        assert!(!verify("Correct", Some(hash.clone())).await.unwrap());
        assert!(!verify("correct", None).await.unwrap());
        assert!(verify("correct", Some("$argon2id$nonsense".to_owned())).await.is_err());
        // As the versions before have hashed it.
        let before = argon2::PasswordHasher::hash_password_with_salt(&Argon2::default(), b"correct", &[7; 16]);
        assert_eq!(before.map(|before: PasswordHash| before.to_string()), Ok(hash));
        assert!(PasswordHash::new(NOBODY).is_ok(), "the stand-in must take as long as a real one");
    }

    /// How many buffers exist.
    fn made(buffers: &Buffers, count: usize) -> usize {
        count - buffers.state().unmade
    }

    #[tokio::test]
    async fn there_are_never_more_buffers_and_they_are_used_again() {
        let buffers = Buffers::new(2, 512);
        let held = (buffers.turn(who(1)).await.unwrap(), buffers.turn(who(1)).await.unwrap());
        let many = (0..100).map(|_| blocking(&buffers, who(1), |blocks| blocks.len()));
        let mut many = std::pin::pin!(futures::future::join_all(many));
        assert!(futures::poll!(many.as_mut()).is_pending(), "there is none to be made");
        drop(held);
        assert!(many.await.into_iter().all(|size| size == Ok(19_456)));
        assert_eq!((made(&buffers, 2), buffers.state().idle.len()), (2, 2));
    }

    #[tokio::test]
    async fn a_flood_waits_and_others_have_their_turn() {
        let buffers = Buffers::new(1, 8);
        let held = buffers.turn(who(2)).await.unwrap();
        let mut flood: Vec<_> = (0..20).map(|_| Box::pin(buffers.turn(who(3)))).collect();
        let mut refused = 0;
        for turn in &mut flood {
            refused += usize::from(futures::poll!(turn.as_mut()).is_ready());
        }
        assert_eq!(refused, 12, "no more may wait");
        let mut other = Box::pin(buffers.turn(who(4)));
        assert!(futures::poll!(other.as_mut()).is_pending());
        drop(held);
        // One of the flood that came first, then the other.
        let first = flood.remove(0).await.unwrap();
        drop(first);
        assert_eq!(other.await.unwrap().blocks.len(), 19_456);
        // Who waits and goes away takes nothing along.
        drop(flood);
        assert_eq!(buffers.turn(who(5)).await.unwrap().blocks.len(), 19_456);
        assert_eq!((made(&buffers, 1), buffers.state().idle.len()), (1, 1));
    }
}
