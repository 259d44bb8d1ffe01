//! The signals that a daemon takes as inputs.
//!
//! What each means (hand over, cede, read the configuration again) is the program's business: SIGTERM, for one, does not
//! say whether systemd restarts the daemon or stops it.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: end.
    Terminate,
    /// SIGINT: end; somebody runs the daemon by hand.
    Interrupt,
    /// SIGHUP: look at everything anew.
    HangUp,
}

/// Takes the signals of this process from the moment it is made.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Signals of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next one. It can be dropped and called again without losing one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hang_up.recv() => Signal::HangUp,
        }
    }
}
