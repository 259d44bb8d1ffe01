//! Why a run failed.

use std::path::PathBuf;
use std::time::Duration;

use crate::lab::LabError;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The lab itself failed.
    #[error("the lab failed in burst {burst}, see `{}`", dir.display())]
    Lab {
        /// The number of the burst, from 1; 0 is before the first.
        burst: usize,
        /// Where the log is.
        dir: PathBuf,
        /// What failed.
        #[source]
        source: LabError,
    },
    /// HA services ran on two headnodes at once.
    #[error("burst {burst} of seed {seed}: {what}; log and journals are in `{}`", dir.display())]
    Overlap {
        /// The number of the burst, from 1.
        burst: usize,
        /// The seed.
        seed: u64,
        /// What ran where.
        what: String,
        /// Where everything is that is known.
        dir: PathBuf,
    },
    /// A headnode was fenced that nothing had kept from answering.
    #[error("burst {burst} of seed {seed}: {host} was fenced needlessly; log and journals are in `{}`", dir.display())]
    Needless {
        /// The number of the burst, from 1.
        burst: usize,
        /// The seed.
        seed: u64,
        /// The headnode.
        host: String,
        /// Where everything is that is known.
        dir: PathBuf,
    },
    /// The cluster did not come back in order.
    #[error("burst {burst} of seed {seed}: not in order again after {limit:?}: {what}; log and journals are in `{}`", dir.display())]
    Disorder {
        /// The number of the burst, from 1; 0 is before the first.
        burst: usize,
        /// The seed.
        seed: u64,
        /// How long it had.
        limit: Duration,
        /// What is missing.
        what: String,
        /// Where everything is that is known.
        dir: PathBuf,
    },
    /// A daemon stayed down that systemd had to bring back.
    #[error("burst {burst} of seed {seed}: a daemon did not come back by itself: {what}; log and journals are in `{}`", dir.display())]
    Down {
        /// The number of the burst, from 1; 0 is before the first.
        burst: usize,
        /// The seed.
        seed: u64,
        /// Who is down, and since when.
        what: String,
        /// Where everything is that is known.
        dir: PathBuf,
    },
    /// A fault that must not move services cost more than a restart of them.
    #[error("burst {burst} of seed {seed}: {fault}: nobody had all services for {outage:.1?}, and it may cost {most:?} at most; log and journals are in `{}`", dir.display())]
    Costly {
        /// The number of the burst, from 1.
        burst: usize,
        /// The seed.
        seed: u64,
        /// The fault, which was alone.
        fault: String,
        /// How long the outage was.
        outage: Duration,
        /// How long it may have been.
        most: Duration,
        /// Where everything is that is known.
        dir: PathBuf,
    },
    /// A kind was asked for that does not fit the rest of the options.
    #[error("`--only {kind}`: {why}")]
    Unfit {
        /// The kind.
        kind: String,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The folder of the log cannot be written.
    #[error("cannot write to `{}`", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}
