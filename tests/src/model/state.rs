//! What the model keeps of a cluster: the records of the quorum, and each headnode.
//!
//! Versions, epochs, sessions and times have no numbers here. A version is only ever compared, so
//! a process keeps whether what it knows is still the newest; an epoch is how far it lies behind
//! `active`'s; a time is how long ago it was. So the state space closes by itself.

use super::rules::Behind;

/// A headnode, by number.
pub type Node = u8;

/// The most headnodes that a model has.
pub const MOST_HEADNODES: usize = 3;

/// The value of `left` while a keep has moved D out of the way.
pub const KEPT: u8 = u8::MAX;

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The headnodes; those beyond the scope's number are down for ever.
    pub hosts: [Host; MOST_HEADNODES],
    /// `lock`, if it is there.
    pub lock: Option<Lock>,
    /// `active`.
    pub active: Active,
    /// `settings`: what is paused.
    pub settings: Settings,
    /// An operator's word that the holder is powered off, which the claimant has not heard yet.
    pub confirm: Yes,
    /// An operator's word that the host of a keep is powered off stands in `settings`.
    pub kept_off: bool,
    /// How many faults may still happen.
    pub faults_left: u8,
    /// How many commands an operator may still give.
    pub commands_left: u8,
    /// A host of this run has, or had, a slow clock.
    pub slow_clock: bool,
    /// How often a healthy claimant was displaced since the last office.
    pub displaced: u8,
    /// A healthy holder has lost the office.
    pub needless: bool,
}

/// `lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Whose it is.
    pub owner: Node,
    /// It belongs to a session that its owner's process no longer has.
    pub old: bool,
}

/// `active`, without its numbers: its epoch is the one that all others are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Active {
    /// The record was lost.
    pub missing: bool,
    /// The holder of office.
    pub node: Node,
    /// The recorded boot is the one that the holder's host runs.
    pub boot_runs: bool,
    /// Whom the office was ceded to.
    pub ceded: Option<Node>,
    /// Who claims.
    pub claimant: Option<Claimant>,
}

/// Who claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claimant {
    /// The headnode.
    pub node: Node,
    /// The boot that claimed is the one that its host runs.
    pub boot_runs: bool,
}

/// `settings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settings {
    /// Automatic failover.
    Automatic,
    /// No takeovers.
    Paused,
    /// No takeovers, and the active is asked to run on without the quorum.
    Keep,
    /// The active has acknowledged that.
    KeepAcknowledged,
    /// A resume waits for the active, or for proof that it is out.
    Resuming,
}

/// One headnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a host")]
pub struct Host {
    /// It has power.
    pub up: bool,
    /// It has no network.
    pub cut: bool,
    /// The server that master-fc is connected to lags.
    pub lags: bool,
    /// How many ticks its clock may still lose.
    pub slow: u8,
    /// Its master-fc.
    pub controller: Controller,
    /// Its slave-ha-service.
    pub guard: Guard,
    /// `/run/headship/permit`.
    pub permit: Permit,
    /// `/run/headship/closed`.
    pub closed: Behind,
    /// `promise/<node>` in the quorum.
    pub promised: Behind,
    /// The moving services.
    pub service: Service,
    /// An order to start is on its way to PID 1, or queued there.
    pub order: bool,
    /// A write of this host that has an outcome to come.
    pub write: Option<Write>,
    /// A fence method works against this host.
    pub off: Option<Off>,
    /// Something happened to this host that justifies the loss of office.
    pub harmed: bool,
}

/// A fence method at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Off {
    /// The process that awaits its answer, if it still lives.
    pub by: Option<Node>,
    /// The office has changed since.
    pub stale: bool,
}

/// A fence method's Yes, or an operator's, as a claimant remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Yes {
    /// None.
    None,
    /// About the recorded boot and epoch.
    Valid,
    /// About an earlier boot or epoch.
    Stale,
}

/// master-fc (and master-ha-service, which asks the gate before each order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a process")]
pub struct Controller {
    /// It stands still.
    pub frozen: bool,
    /// The server knows its session.
    pub session: bool,
    /// What it takes itself for.
    pub role: Role,
    /// It knows the newest `active`.
    pub knows_active: bool,
    /// Ticks since it first read that `active`.
    pub active_age: u8,
    /// It knows the newest `lease`.
    pub knows_lease: bool,
    /// Ticks since it first read that `lease`.
    pub lease_age: u8,
    /// One more than the ticks since it saw the lock gone; only kept while a dropped rule counts it.
    pub lock_gone: u8,
    /// It has read that a keep is asked for.
    pub keep_seen: bool,
    /// What a fence method told it.
    pub yes: Yes,
}

/// What a master-fc takes itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Neither claimant nor holder.
    Standby,
    /// `active` names it as claimant.
    Claimant,
    /// `active` names it as holder.
    Holder,
    /// Holder, on the way to cede.
    Ceding,
}

/// slave-ha-service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// Ticks that it is frozen or dead for, if it is.
    pub away: Option<u8>,
    /// Ticks in which one more failure reboots the host.
    pub failed_lately: u8,
}

/// The permit, and what remains known of D when it has been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permit {
    /// The file is there.
    pub present: bool,
    /// Its epoch.
    pub epoch: Behind,
    /// Ticks until D by this host's clock.
    pub left: u8,
}

/// The moving services of a host, as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Nothing runs.
    Stopped,
    /// Past the gate, not yet to be seen.
    Starting,
    /// Runs.
    Running,
    /// Runs, and was told to stop.
    Stopping,
}

/// A write that was sent, and whose outcome its sender does not know yet, or never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a write")]
pub struct Write {
    /// Which.
    pub kind: Kind,
    /// Who awaits the outcome.
    pub sender: Sender,
    /// The quorum has done it.
    pub done: bool,
    /// Its `active`@v is still the version.
    pub active_holds: bool,
    /// Its `lease`@s is still the version.
    pub lease_holds: bool,
    /// Its `settings`@p is still the version.
    pub settings_hold: bool,
    /// How far the epoch that it was sent in lies behind.
    pub epoch: Behind,
    /// Ticks since it was sent, by the sender's clock.
    pub age: u8,
}

/// The writes of office that can be late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Write 1; over a lock that is there, or not.
    Claim {
        /// The lock is there, and is deleted.
        over: bool,
    },
    /// Write 2.
    Renew,
    /// Write 3.
    Office,
    /// Write 5.
    Cede,
    /// Write 6.
    Six,
}

/// Who awaits a late write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Its process, by the session that it was sent in.
    Awaits,
    /// Its process has the answer Unknown; the session lives.
    GaveUp,
    /// Its process is gone; the session lives on for a while.
    Gone,
}

impl Host {
    /// A host without power.
    pub const DOWN: Self = Self {
        up: false,
        cut: false,
        lags: false,
        slow: 0,
        controller: Controller::NEW,
        guard: Guard { away: None, failed_lately: 0 },
        permit: Permit::NONE,
        closed: 2,
        promised: 2,
        service: Service::Stopped,
        order: false,
        write: None,
        off: None,
        harmed: false,
    };
}

impl Controller {
    /// A new process, which has no session yet.
    pub const NEW: Self = Self {
        frozen: false,
        session: false,
        role: Role::Standby,
        knows_active: false,
        active_age: 0,
        knows_lease: false,
        lease_age: 0,
        lock_gone: 0,
        keep_seen: false,
        yes: Yes::None,
    };
}

impl Permit {
    /// No permit, and no D.
    pub const NONE: Self = Self { present: false, epoch: 2, left: 0 };
}

impl State {
    /// A headnode.
    ///
    /// # Panics
    /// If there is no such headnode, which is a fault of the model.
    #[must_use]
    pub fn host(&self, node: Node) -> &Host {
        self.hosts.get(usize::from(node)).expect("actions name headnodes of the scope")
    }

    /// A headnode, to be changed.
    ///
    /// # Panics
    /// If there is no such headnode, which is a fault of the model.
    pub fn host_mut(&mut self, node: Node) -> &mut Host {
        self.hosts.get_mut(usize::from(node)).expect("actions name headnodes of the scope")
    }

    /// Whether the host runs a moving service.
    #[must_use]
    pub fn runs(&self, node: Node) -> bool {
        match self.host(node).service {
            Service::Running | Service::Stopping => true,
            Service::Stopped | Service::Starting => false,
        }
    }

    /// Whether `active` names this very boot as its unclaimed holder.
    #[must_use]
    pub fn holds_unclaimed(&self, node: Node) -> bool {
        let active = &self.active;
        !active.missing
            && active.node == node
            && active.boot_runs
            && active.ceded.is_none()
            && active.claimant.is_none()
    }

    /// Whether `active` names this headnode as claimant.
    #[must_use]
    pub fn claims(&self, node: Node) -> bool {
        self.active.claimant.is_some_and(|claimant| claimant.node == node)
    }
}
