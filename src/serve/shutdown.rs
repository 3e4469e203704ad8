//! How a process ends: it drains, then it stops. Signals begin both.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::clock::Clock;

/// Whether the process is to stop. Clones share one state, which only ever goes forward: serving, draining, stopping.
#[derive(Debug, Clone)]
pub struct Shutdown {
    draining: watch::Sender<bool>,
    stopping: watch::Sender<bool>,
    delay: Arc<OnceLock<Duration>>,
}

impl Shutdown {
    /// Not started.
    #[expect(
        clippy::new_without_default,
        reason = "a flag that nobody else holds is useless: making one is deliberate"
    )]
    pub fn new() -> Self {
        Self { draining: watch::Sender::new(false), stopping: watch::Sender::new(false), delay: Arc::default() }
    }

    /// Says how long the listeners go on accepting after the first signal. Until this is said there is no delay: a process
    /// that is still starting serves nobody.
    pub fn set_drain_delay(&self, delay: Duration) {
        // A process starts once.
        let _ = self.delay.set(delay);
    }

    /// Readiness is false from now on; nothing else changes.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Starts it: readiness is false from now on, listeners stop accepting, workers claim no more.
    pub fn start(&self) {
        self.drain();
        self.stopping.send_replace(true);
    }

    /// Whether it drains or has been started.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Whether it has been started.
    pub fn is_started(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The flag, for those who only want to know.
    pub fn flag(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Waits until it drains or has been started.
    pub async fn draining(&self) {
        // The sender lives as long as `self`: the wait ends only with the flag up.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Waits until it is started.
    pub async fn started(&self) {
        let _ = self.stopping.subscribe().wait_for(|started| *started).await;
    }

    fn delay(&self) -> Duration {
        self.delay.get().copied().unwrap_or_default()
    }
}

/// Listens for SIGTERM and SIGINT: the first begins to drain, and after the drain delay the shutdown starts; a signal during
/// the delay ends it. One more ends the process at once with the shell's code for that signal (128 and its number). SIGHUP,
/// which makes [`Certificates`](super::Certificates) read their files again, never ends the process.
///
/// # Errors
/// The handlers cannot be installed.
pub fn on_signals(shutdown: Shutdown, clock: Clock) -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: certificates, where there are any, are read again");
        }
    });
    tokio::spawn(async move {
        let (name, _) = next(&mut term, &mut int).await;
        let delay = shutdown.delay();
        shutdown.drain();
        if !delay.is_zero() {
            tracing::info!(
                signal = name,
                ?delay,
                "draining: not ready, still accepting; a second signal ends the delay"
            );
            tokio::select! {
                () = clock.sleep(delay) => {}
                _ = next(&mut term, &mut int) => {}
            }
        }
        tracing::info!(signal = name, "shutting down: requests in flight may finish; a further signal ends at once");
        shutdown.start();
        let (name, number) = next(&mut term, &mut int).await;
        tracing::warn!(signal = name, "further signal: leaving at once");
        std::process::exit(128 + number);
    });
    Ok(())
}

async fn next(term: &mut Signal, int: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = term.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
        _ = int.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
    }
}
