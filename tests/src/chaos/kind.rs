//! The kinds of faults: whom each hits, how long it lasts, and which of them may not fall together.
//!
//! What the protocol says that it does not cover (docs/protocol.md, 10) is not drawn: a host that stands still with everything
//! that could stop its services past D plus kill time, and wakes. So what stops a host's guard or master-fc is kept apart
//! from what needs one of them to be there, and a host that is frozen as a whole is woken before D plus kill time, or never.

use std::time::Duration;

use clap::ValueEnum;

use crate::lab::Preset;

use super::bound::Timing;
use super::plan::{Daemon, Fault, Machine};

/// A kind of fault. Its name is written in small letters, as in `--only power-loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Kind {
    /// A headnode loses its power, and gets it back.
    PowerLoss,
    /// A headnode is rebooted in order.
    Reboot,
    /// A headnode stands still as a whole, and wakes before D.
    FreezeBelow,
    /// A headnode stands still as a whole, and wakes between D and D plus kill time.
    FreezeBeyond,
    /// A headnode stands still as a whole, and loses its power before it wakes.
    FreezeLost,
    /// A headnode's cable is cut.
    Cut,
    /// A headnode hears nothing from the ensemble.
    Deaf,
    /// The ensemble hears nothing from a headnode.
    Mute,
    /// A headnode is cut off from the server that it is connected to.
    ServerCut,
    /// The headnodes are cut off from each other, and from nobody else.
    Apart,
    /// Some of what arrives at a machine is lost.
    Loss,
    /// What arrives at a machine comes late.
    Slow,
    /// A daemon is killed.
    DaemonKill,
    /// A daemon is stopped as if it hung.
    DaemonStop,
    /// A daemon is killed again and again.
    DaemonGone,
    /// Two daemons of a host are killed together.
    TwoKill,
    /// All daemons of a host are killed together.
    AllKill,
    /// All daemons of a host are stopped as if they hung.
    AllStop,
    /// A daemon is restarted in order.
    DaemonRestart,
    /// A headnode's D-Bus hangs.
    BusStop,
    /// A headnode's PID 1 hangs.
    Pid1Stop,
    /// A headnode's systemd executes itself anew.
    Reexec,
    /// The ensemble's leader is killed.
    LeaderKill,
    /// The ensemble's leader hangs.
    LeaderFreeze,
    /// The host of the ensemble's leader loses its power.
    LeaderPower,
    /// A follower of the ensemble is killed.
    FollowerKill,
    /// A follower of the ensemble hangs.
    FollowerFreeze,
    /// The host of a follower of the ensemble loses its power.
    FollowerPower,
    /// All servers of the ensemble are killed.
    EnsembleAway,
    /// All servers of the ensemble hang.
    EnsembleFrozen,
    /// The server that the active's master-fc is connected to is cut off from its leader.
    FollowerApart,
    /// A service is killed on the active headnode.
    ServiceKill,
    /// All services are killed on the active headnode.
    ServicesKill,
    /// A service is stopped by hand on the active headnode.
    ServiceStop,
    /// A service is started by hand on the standby headnode.
    ServiceStart,
    /// A service refuses to stop.
    ServiceClings,
    /// No kill ends a service of the active headnode.
    ServiceUnkillable,
    /// A service of the active headnode waits for a file system that hangs, and no kill ends that.
    MountHangs,
    /// A switchover is ordered.
    Switchover,
    /// The active is given up by order.
    Failover,
    /// Failover is paused.
    Pause,
    /// Failover is paused, and the active keeps its services whatever the quorum does.
    Keep,
    /// The standby is in maintenance.
    Maintenance,
    /// A service is in maintenance.
    ServiceMaintenance,
    /// A headnode's /run is full.
    RunFull,
    /// The disk with what a headnode remembers is full.
    StateFull,
    /// The active's cable is cut, and the fence device is out of order.
    AgentFails,
    /// The active's cable is cut, and the fence device does not answer.
    AgentHangs,
    /// The active's cable is cut, and the fence device says that it is off, which it is not. It says so when everything there
    /// has stopped by itself: before that two would run, and nothing that the protocol has could find out.
    AgentLies,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// It is over at once.
    Moment,
    /// From less than a watchdog to longer than a failover.
    Any,
    /// Shorter than the lease.
    Short,
    /// Until somebody has surely taken over.
    Long,
}

/// Whom a kind may hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hits {
    Active,
    Standby,
    /// One of the headnodes, more often the active.
    Headnode,
    Leader,
    Follower,
    /// A headnode or a server.
    Machine,
}

/// What is told of whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    Host,
    Daemon,
    TwoDaemons,
    Service,
    Figure,
}

/// What two faults of a burst cannot both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Power(Machine),
    Cable(Machine),
    Server(Machine),
    Bus(Machine),
    Run(Machine),
    State(Machine),
    Behaviour,
    Settings,
    Office,
    Device,
}

impl Kind {
    /// All kinds.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// As written on the command line and in the table.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How often it is dealt in a round of all kinds, how long it lasts, whom it hits, and what of that is told.
    pub(super) const fn traits(self) -> (usize, Lasts, Hits, Tells) {
        use Hits::{Active, Follower, Headnode, Leader, Machine, Standby};
        use Lasts::{Any, Long, Moment, Short};
        use Tells::{Daemon, Figure, Host, Service, TwoDaemons};
        match self {
            Self::PowerLoss => (2, Any, Headnode, Host),
            Self::Reboot => (1, Moment, Headnode, Host),
            Self::FreezeBelow => (1, Short, Headnode, Host),
            Self::FreezeBeyond => (2, Long, Active, Host),
            Self::FreezeLost => (1, Long, Headnode, Host),
            Self::Cut => (2, Any, Headnode, Host),
            Self::Deaf | Self::Mute => (1, Any, Headnode, Host),
            Self::ServerCut | Self::Apart => (1, Any, Active, Host),
            Self::Loss | Self::Slow => (1, Any, Machine, Figure),
            Self::DaemonKill | Self::DaemonRestart => (1, Moment, Headnode, Daemon),
            Self::DaemonStop => (2, Any, Headnode, Daemon),
            Self::DaemonGone => (1, Any, Headnode, Daemon),
            Self::TwoKill => (1, Moment, Headnode, TwoDaemons),
            Self::AllKill => (1, Moment, Headnode, Host),
            Self::AllStop => (1, Any, Headnode, Host),
            Self::BusStop | Self::Pid1Stop => (1, Any, Headnode, Host),
            Self::Reexec => (1, Moment, Headnode, Host),
            Self::LeaderKill => (2, Any, Leader, Host),
            Self::LeaderFreeze | Self::LeaderPower => (1, Any, Leader, Host),
            Self::FollowerKill | Self::FollowerFreeze | Self::FollowerPower => {
                (1, Any, Follower, Host)
            }
            Self::EnsembleAway | Self::EnsembleFrozen => (1, Any, Leader, Host),
            Self::FollowerApart => (2, Any, Active, Host),
            Self::ServiceKill | Self::ServiceStop => (1, Moment, Active, Service),
            Self::ServicesKill => (1, Moment, Active, Host),
            Self::ServiceStart => (1, Moment, Standby, Service),
            Self::ServiceClings | Self::ServiceUnkillable | Self::MountHangs => {
                (1, Any, Active, Service)
            }
            Self::Switchover | Self::Failover => (1, Moment, Active, Host),
            Self::Pause | Self::Keep => (1, Any, Active, Host),
            Self::Maintenance => (1, Any, Standby, Host),
            Self::ServiceMaintenance => (1, Any, Active, Service),
            Self::RunFull | Self::StateFull => (1, Any, Headnode, Host),
            Self::AgentFails | Self::AgentHangs | Self::AgentLies => (1, Long, Active, Host),
        }
    }

    /// Why it may not be drawn with this preset, and with a fence agent or without: `fast` covers one of guard and master-fc
    /// being away, never both; and what is said late enough with `tolerant` is not waited for.
    pub(super) const fn misfit(self, preset: Preset, fence: bool) -> Option<&'static str> {
        let takes_both = matches!(self, Self::AllKill | Self::AllStop | Self::FreezeBeyond);
        let of_agent = matches!(self, Self::AgentFails | Self::AgentHangs | Self::AgentLies);
        let left_out = match preset {
            Preset::Fast => takes_both,
            Preset::Normal => false,
            Preset::Tolerant => matches!(self, Self::AgentLies),
        };
        if of_agent && !fence {
            Some("it needs a fence agent: add `--fence`, or it would be a plain cut")
        } else if left_out {
            Some("the protocol does not cover it with this preset: take another `--preset`")
        } else {
            None
        }
    }
}

impl Fault {
    /// What no other fault of the same burst has.
    pub(super) fn parts(&self) -> Vec<Part> {
        let at = self.at;
        match self.kind {
            Kind::PowerLoss | Kind::Reboot | Kind::FreezeLost => vec![Part::Power(at)],
            Kind::Cut | Kind::Deaf | Kind::Mute | Kind::ServerCut | Kind::Loss | Kind::Slow => {
                vec![Part::Cable(at)]
            }
            Kind::Apart => vec![Part::Cable(Machine::Active), Part::Cable(Machine::Standby)],
            Kind::BusStop => vec![Part::Bus(at)],
            Kind::LeaderKill
            | Kind::LeaderFreeze
            | Kind::LeaderPower
            | Kind::FollowerKill
            | Kind::FollowerFreeze
            | Kind::FollowerPower => vec![Part::Server(at)],
            Kind::EnsembleAway | Kind::EnsembleFrozen | Kind::FollowerApart => Machine::SERVERS
                .into_iter()
                .flat_map(|at| [Part::Server(at), Part::Cable(at)])
                .collect(),
            Kind::AgentFails | Kind::AgentHangs | Kind::AgentLies => {
                vec![Part::Device, Part::Cable(at)]
            }
            Kind::ServiceClings => vec![Part::Behaviour],
            // Who fills a disk looks at what is mounted in it.
            Kind::MountHangs => vec![Part::Behaviour, Part::Run(at)],
            Kind::Pause | Kind::Keep | Kind::Maintenance | Kind::ServiceMaintenance => {
                vec![Part::Settings]
            }
            Kind::Switchover | Kind::Failover => vec![Part::Office],
            Kind::RunFull => vec![Part::Run(at)],
            Kind::StateFull => vec![Part::State(at)],
            Kind::FreezeBelow
            | Kind::FreezeBeyond
            | Kind::DaemonKill
            | Kind::DaemonStop
            | Kind::DaemonGone
            | Kind::TwoKill
            | Kind::AllKill
            | Kind::AllStop
            | Kind::DaemonRestart
            | Kind::Pid1Stop
            | Kind::Reexec
            | Kind::ServiceKill
            | Kind::ServicesKill
            | Kind::ServiceStop
            | Kind::ServiceStart
            | Kind::ServiceUnkillable => Vec::new(),
        }
    }

    /// Whether guard or master-fc of its host are stopped or killed by it.
    pub(super) fn takes_stoppers(&self) -> bool {
        let stops = |daemon| matches!(daemon, Daemon::MasterFc | Daemon::Guard);
        match self.kind.traits().3 {
            Tells::Daemon => stops(self.daemons.0),
            Tells::TwoDaemons => stops(self.daemons.0) || stops(self.daemons.1),
            Tells::Host | Tells::Service | Tells::Figure => {
                matches!(self.kind, Kind::AllKill | Kind::AllStop)
            }
        }
    }

    /// Whether it leaves a host with nobody but guard and master-fc to stop its services, or takes the time that a watchdog
    /// needs for both.
    fn needs_stoppers(&self) -> bool {
        matches!(
            self.kind,
            Kind::Pid1Stop
                | Kind::ServiceUnkillable
                | Kind::MountHangs
                | Kind::FreezeBelow
                | Kind::FreezeBeyond
                | Kind::FreezeLost
        )
    }

    /// Whether the two may not be in one burst.
    pub(super) fn clashes_with(&self, other: &Self, preset: Preset) -> bool {
        // Whatever else kept that host from stopping in time would make the lie one that nobody can find.
        if self.kind == Kind::AgentLies || other.kind == Kind::AgentLies {
            return true;
        }
        let parts = other.parts();
        if self.parts().iter().any(|part| parts.contains(part)) {
            return true;
        }
        if self.at != other.at {
            return false;
        }
        let (needs, takes) = (self.needs_stoppers(), self.takes_stoppers());
        let (others_needs, others_takes) = (other.needs_stoppers(), other.takes_stoppers());
        let away_together = takes && others_takes && preset == Preset::Fast;
        needs && (others_needs || others_takes) || takes && others_needs || away_together
    }
}

/// The shortest and the longest that a fault may last, in milliseconds.
pub(super) fn span(lasts: Lasts, reach: u8, timing: Timing) -> (u64, u64) {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (lease, wait) = (millis(timing.lease), millis(timing.lease + timing.kill));
    match (lasts, reach) {
        (Lasts::Moment, _) => (0, 0),
        (Lasts::Short, _) => (50, lease * 2 / 5),
        (Lasts::Long, _) | (Lasts::Any, 2..) => (wait * 5 / 4, wait * 9 / 4),
        (Lasts::Any, 1) => (lease / 4, lease),
        (Lasts::Any, 0) => (100, lease / 4),
    }
}
