//! The one flag that says: finish and leave.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Whether the process is to stop. Clones share one flag, which only ever goes from not started to started.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Not started.
    #[expect(
        clippy::new_without_default,
        reason = "a flag that nobody else holds is useless: making one is deliberate"
    )]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Starts it: readiness is false from now on, listeners stop accepting, workers claim no more.
    pub fn start(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has been started.
    pub fn is_started(&self) -> bool {
        *self.0.borrow()
    }

    /// The flag, for those who only want to know.
    pub fn flag(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    /// Waits until it is started.
    pub async fn started(&self) {
        // The sender lives as long as `self`: the wait ends only with the flag up.
        let _ = self.0.subscribe().wait_for(|started| *started).await;
    }
}

/// Listens for SIGTERM and SIGINT: the first starts the shutdown, the second ends the process at once with the shell's
/// code for that signal (128 and its number).
///
/// # Errors
/// The handlers cannot be installed.
pub fn on_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let (name, _) = next(&mut term, &mut int).await;
        tracing::info!(signal = name, "shutting down: requests in flight may finish; a second signal ends at once");
        shutdown.start();
        let (name, number) = next(&mut term, &mut int).await;
        tracing::warn!(signal = name, "second signal: leaving at once");
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
