//! What can go wrong in the lab, by what the caller can do about it.

use std::path::PathBuf;
use std::time::Duration;

/// A failure of the lab itself, not of what is tested in it.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine cannot run a lab; the text says why.
    #[error("no lab on this machine: {0}")]
    Unavailable(String),
    /// `up` where a lab is up already.
    #[error("a lab is up already in `{}`: end it with `lab down`, or look around with `lab status`", dir.display())]
    AlreadyUp {
        /// State directory of the lab that is up.
        dir: PathBuf,
    },
    /// Anything but `up` where no lab is up.
    #[error("no lab is up in `{}`: start one with `lab up`", dir.display())]
    NotUp {
        /// State directory that was looked at.
        dir: PathBuf,
    },
    /// A name that no host of the lab has.
    #[error("no host `{0}`: the lab has hn0, hn1, zk0, zk1 and zk2")]
    NoSuchHost(String),
    /// What was asked needs a host with power.
    #[error("{0} is powered off")]
    PoweredOff(String),
    /// Power for a host that has it already.
    #[error("{0} has power already")]
    PoweredOn(String),
    /// Nothing of that name runs on the host.
    #[error("nothing called `{what}` runs on {host}")]
    NoSuchProcess {
        /// The host.
        host: String,
        /// Unit or program that was asked for.
        what: String,
    },
    /// A condition did not come true within its limit.
    #[error("waited {limit:?} in vain: {sentence}")]
    TooLate {
        /// What was waited for.
        sentence: String,
        /// How long.
        limit: Duration,
    },
    /// A program ended with a failure, or could not be started.
    #[error("`{line}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        line: String,
        /// Exit status, or why there is none.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// A file or directory refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line of a file list or of the service log that cannot be read.
    #[error("{}:{line}: {why}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong, and what is expected.
        why: String,
    },
    /// Programs that a file list names are not built.
    #[error("not built: {}; build the whole workspace first, or start without the suite: `lab up --bare`", missing.join(", "))]
    NotBuilt {
        /// Sources that are missing.
        missing: Vec<String>,
    },
}

/// Result of the lab's own work.
pub type Result<T> = std::result::Result<T, LabError>;

/// Adds what was tried to an I/O error.
pub(crate) trait Tried<T> {
    /// `what` completes "cannot …".
    fn tried(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Tried<T> for std::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| LabError::Io { what: what(), source })
    }
}

impl<T> Tried<T> for rustix::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| LabError::Io { what: what(), source: errno.into() })
    }
}
