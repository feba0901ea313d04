//! Ctrl-C and SIGTERM, noticed from the moment that they are listened for, whether somebody waits for them yet or not.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ui::Failure;

/// While it lives, and after it, neither ends the process by itself.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signals: [Signal; 2],
}

impl Interrupts {
    /// To be called before anybody is told that Ctrl-C stops it.
    ///
    /// # Errors
    /// The system's, where it has no such signals to give.
    pub(crate) fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        let listening = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok(Self { signals: [interrupt, signal(SignalKind::terminate())?] }))
            .map_err(|error| Failure(format!("Ctrl-C cannot be listened for: {error}")));
        #[cfg(not(unix))]
        let listening = Ok(Self {});
        listening
    }

    /// Waits for the next of them. May be dropped and called again: none is missed in between.
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
