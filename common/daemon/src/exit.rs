//! How programs of the suite end: one table for daemons, command line, units and man pages.

use std::process::{ExitCode, Termination};

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// Done; a daemon was asked to end.
    Ok,
    /// Failed for a reason that the message tells; the same may succeed later.
    Failed,
    /// The arguments were not understood.
    Usage,
    /// The configuration has faults; nothing was touched.
    Configuration,
    /// The configuration gives this node no such task: a headnode's daemon on a node that is no headnode.
    NotThisNode,
    /// The same daemon runs on this host already.
    AlreadyRunning,
    /// The order was refused with its reason, and nothing moved.
    Refused,
    /// This headnode, or the one that was asked about, is not active.
    NotActive,
    /// No headnode is active.
    NobodyActive,
    /// The failover quorum cannot be reached, so nothing is known for sure.
    QuorumAway,
    /// What was ordered did not happen within the time given; it may still happen.
    TimedOut,
    /// It works, but something that it may need is missing, such as a standby that is ready.
    Degraded,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Configuration,
        Self::NotThisNode,
        Self::AlreadyRunning,
        Self::Refused,
        Self::NotActive,
        Self::NobodyActive,
        Self::QuorumAway,
        Self::TimedOut,
        Self::Degraded,
    ];

    /// The codes after which a daemon must not be started again by itself: the units' `RestartPreventExitStatus=`.
    pub const FINAL: [Self; 3] = [Self::Usage, Self::Configuration, Self::NotThisNode];

    /// The code as the shell sees it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            Self::NotThisNode => 4,
            Self::AlreadyRunning => 5,
            Self::Refused => 6,
            Self::NotActive => 7,
            Self::NobodyActive => 8,
            Self::QuorumAway => 9,
            Self::TimedOut => 10,
            Self::Degraded => 11,
        }
    }

    /// What it means, for the man page.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "failed for a reason that the message tells",
            Self::Usage => "the arguments were not understood",
            Self::Configuration => "the configuration has faults; nothing was touched",
            Self::NotThisNode => "the configuration gives this node no such task",
            Self::AlreadyRunning => "the same daemon runs on this host already",
            Self::Refused => "the order was refused; nothing moved",
            Self::NotActive => "the headnode is not active",
            Self::NobodyActive => "no headnode is active",
            Self::QuorumAway => "the failover quorum cannot be reached",
            Self::TimedOut => "it did not happen in time, and may still happen",
            Self::Degraded => "it works, but something that it may need is missing",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_code_once_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, (0..=11).collect::<Vec<u8>>());
    }

    #[test]
    fn codes_keep_clear_of_those_that_the_shell_and_systemd_use() {
        assert!(Exit::ALL.iter().all(|exit| exit.code() < 64));
    }
}
