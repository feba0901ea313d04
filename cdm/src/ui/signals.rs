//! Ctrl-C and SIGTERM. On Unix they are recorded from the moment of listening, whether or not a task waits for them.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ui::Failure;

/// Once this exists, these signals no longer end the process, not even after it is dropped.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signals: [Signal; 2],
}

impl Interrupts {
    /// Call this before telling the operator that Ctrl-C stops the command.
    ///
    /// # Errors
    /// The system does not support these signals.
    pub(crate) fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        let listening = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok(Self { signals: [interrupt, signal(SignalKind::terminate())?] }))
            .map_err(|error| Failure(format!("Ctrl-C cannot be listened for: {error}")));
        #[cfg(not(unix))]
        let listening = Ok(Self {});
        listening
    }

    /// From now on a signal ends the process again.
    pub(crate) fn release(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(1);
        });
    }

    /// Waits for the next signal. The future may be dropped and created again: no signal is lost in between.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
