//! What can happen next, in words.
//!
//! Decides only how a step is called; `check` lists which are possible, `world` carries them out.

use std::fmt;

use super::scope::{Command, Fault};
use super::state::{Kind, Node};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A tick passes; the slow clock of a host may lose it.
    Tick(Option<Node>),
    /// master-fc gets a new session.
    Connect(Node),
    /// master-fc reads `active` and `lease`.
    Look(Node),
    /// master-fc reads `settings`.
    ReadSettings(Node),
    /// master-fc does a write of office.
    Send(Node, Kind),
    /// A standby takes the office without a claim (a rule is dropped).
    TakeUnclaimed(Node),
    /// A late write reaches the quorum.
    Land(Node),
    /// The answer to a late write reaches its process.
    Answer(Node),
    /// An answer that is no renew's counts for D (a rule is dropped).
    CountRead(Node),
    /// The lock is deleted, in a write apart from the cession (a rule is dropped).
    DeleteLock(Node),
    /// The active acknowledges a keep.
    AcknowledgeKeep(Node),
    /// The active acknowledges a resume.
    AcknowledgeResume(Node),
    /// master-ha-service orders a start.
    Order(Node),
    /// PID 1 comes to execute the start, and asks the gate.
    Execute(Node),
    /// A service that is past the gate runs.
    Started(Node),
    /// A service that was told to stop is gone.
    Stopped(Node),
    /// master-fc kills what the permit does not cover.
    ControllerKills(Node),
    /// The guard kills what the permit does not cover.
    GuardKills(Node),
    /// The guard stops what runs without a permit.
    GuardStops(Node),
    /// The guard prepares a promise: `closed`, start jobs, services.
    GuardCloses(Node),
    /// The guard writes its promise.
    GuardPromises(Node),
    /// The guard sets `closed` after its promise (a rule is dropped).
    GuardClosesLate(Node),
    /// The guard is back.
    GuardBack(Node),
    /// The server ends a session that it does not hear from.
    Expire(Node),
    /// The server ends the session of a process that is gone.
    ExpireOld,
    /// A fence method is started against the holder.
    Fence(Node),
    /// A claimant hears an operator's word, and believes or refuses it.
    Hear(Node),
    /// A fence agent has switched a host off, and seen it.
    Off(Node),
    /// A fault, perhaps in the middle of a write.
    Fault(Fault, Node, Option<Kind>),
    /// The network is back.
    Uncut(Node),
    /// The server has caught up.
    CaughtUp(Node),
    /// A frozen master-fc goes on.
    Thaw(Node),
    /// A frozen master-fc is killed and started again.
    Restart(Node),
    /// A host without power boots.
    Boot(Node),
    /// An operator's command, for the holder where it has one.
    Command(Command, Node),
    /// An operator resumes.
    Resume,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim { over: false } => "claim",
            Self::Claim { over: true } => "claim over the lock",
            Self::Renew => "renew",
            Self::Office => "office",
            Self::Cede => "cede",
            Self::Six => "write 6 (succeed myself)",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "is cut off the network",
            Self::Lag => "is connected to a server that lags",
            Self::Freeze => "master-fc freezes",
            Self::Kill => "master-fc is killed and started again",
            Self::GuardAway => "the guard freezes",
            Self::BothAway => "the guard and master-fc freeze",
            Self::SessionLost => "the server ends a session whose client is well",
            Self::Unknown => "a write's outcome is unknown",
            Self::PowerLoss => "loses power",
            Self::SlowClock => "has a slow clock",
            Self::ActiveLost => "`active` is lost",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick(None) => f.write_str("-- a tick passes"),
            Self::Tick(Some(slow)) => write!(f, "-- a tick passes, which headnode{slow} misses"),
            Self::Send(node, kind) => write!(f, "headnode{node}: {kind}"),
            Self::ExpireOld => f.write_str("quorum: the lock of a process that is gone expires"),
            Self::Fault(fault, node, None) => write!(f, "FAULT headnode{node}: {fault}"),
            Self::Fault(fault, node, Some(kind)) => {
                write!(f, "FAULT headnode{node}: {fault}, with a {kind} under way")
            }
            Self::Command(Command::Cede, node) => {
                write!(f, "COMMAND headnode{node}: cede; permit gone, services told to stop")
            }
            Self::Command(Command::Failover, node) => {
                write!(
                    f,
                    "COMMAND headnode{node}: claims over the lock of a holder that is given up"
                )
            }
            Self::Command(Command::Pause, _) => f.write_str("COMMAND pause"),
            Self::Command(Command::PauseKeep, _) => f.write_str("COMMAND pause --keep"),
            Self::Command(Command::Confirm, node) => {
                write!(f, "COMMAND fence confirm headnode{node}")
            }
            Self::Command(Command::ConfirmKeep, node) => {
                write!(f, "COMMAND fence confirm headnode{node}, which kept its services")
            }
            Self::Hear(node) => write!(f, "headnode{node}: hears what was confirmed"),
            Self::Resume => f.write_str("COMMAND resume"),
            Self::Connect(node) => write!(f, "headnode{node}: has a new session"),
            Self::Look(node) => write!(f, "headnode{node}: reads `active` and `lease`"),
            Self::ReadSettings(node) => write!(f, "headnode{node}: reads `settings`"),
            Self::TakeUnclaimed(node) => {
                write!(f, "headnode{node}: takes the office without a claim")
            }
            Self::Land(node) => write!(f, "quorum: the late write of headnode{node} arrives"),
            Self::Answer(node) => write!(f, "headnode{node}: gets the answer to its late write"),
            Self::CountRead(node) => write!(f, "headnode{node}: counts a read for D"),
            Self::DeleteLock(node) => write!(f, "headnode{node}: deletes its lock"),
            Self::AcknowledgeKeep(node) => {
                write!(f, "headnode{node}: acknowledges the keep, and has no deadline")
            }
            Self::AcknowledgeResume(node) => write!(f, "headnode{node}: acknowledges the resume"),
            Self::Order(node) => write!(f, "headnode{node}: orders a start"),
            Self::Execute(node) => write!(f, "headnode{node}: PID 1 asks the gate for the start"),
            Self::Started(node) => write!(f, "headnode{node}: the service RUNS"),
            Self::Stopped(node) => write!(f, "headnode{node}: the service has stopped"),
            Self::ControllerKills(node) => write!(f, "headnode{node}: master-fc kills the service"),
            Self::GuardKills(node) => write!(f, "headnode{node}: the guard kills the service"),
            Self::GuardStops(node) => write!(f, "headnode{node}: the guard stops the service"),
            Self::GuardCloses(node) => write!(f, "headnode{node}: the guard prepares a promise"),
            Self::GuardPromises(node) => write!(f, "headnode{node}: the guard promises"),
            Self::GuardClosesLate(node) => write!(f, "headnode{node}: the guard sets `closed`"),
            Self::GuardBack(node) => write!(f, "headnode{node}: the guard is back"),
            Self::Expire(node) => write!(f, "quorum: the session of headnode{node} ends"),
            Self::Fence(node) => write!(f, "headnode{node}: fences the holder"),
            Self::Off(node) => write!(f, "fence agent: headnode{node} is off"),
            Self::Uncut(node) => write!(f, "headnode{node}: the network is back"),
            Self::CaughtUp(node) => write!(f, "headnode{node}: its server has caught up"),
            Self::Thaw(node) => write!(f, "headnode{node}: master-fc goes on"),
            Self::Restart(node) => write!(f, "headnode{node}: the frozen master-fc is replaced"),
            Self::Boot(node) => write!(f, "headnode{node}: boots"),
        }
    }
}
