//! What a fault does, step by step, and what ends each step: an end is never forgotten, for nobody writes it down apart.

use crate::lab::{Disk, HA_UNITS};

use super::kind::Kind;
use super::plan::{Daemon, Fault, Machine};

/// A signal that is sent to a unit's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Send {
    Kill,
    Stop,
    Go,
}

/// How long a host that stands still as a whole may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// As long as the fault lasts, but not to its D.
    BeforeD,
    /// Past D, but not to D plus kill time.
    PastD,
    /// Until its power is taken.
    Lost,
}

/// How the fence device behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    Works,
    Fails,
    Hangs,
    /// Until everything on the host that it lies about has stopped by itself.
    Lies,
}

/// One thing that is done to the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    PowerOff(Machine),
    PowerOn(Machine),
    Freeze(Machine, Until),
    Thaw(Machine),
    /// The end of a freeze that nothing wakes from.
    PowerCycle(Machine),
    Cut(Machine),
    Mend(Machine),
    Deafen {
        at: Machine,
        from: Machine,
    },
    Hear {
        at: Machine,
        from: Machine,
    },
    /// From the server that the active's master-fc is connected to.
    CutFromItsServer(Machine),
    /// The server that the active's master-fc is connected to, from its leader; if it leads, from its followers.
    CutFromLeader,
    /// Ends the cuts between a headnode and the servers.
    HearServers(Machine),
    /// Ends the cuts between the servers.
    JoinServers,
    Lose(Machine, u8),
    Slow(Machine, u8),
    Signal(Machine, &'static str, Send),
    FreezePid1(Machine),
    ThawPid1(Machine),
    FreezeBeyondKill(Machine, &'static str),
    ThawBeyondKill(Machine),
    Cling(&'static str, bool),
    /// A file system that hangs, which a service looks at that does not stop when told so.
    HangMount(Machine, &'static str),
    EndHungMount(Machine, &'static str),
    Device(Device),
    Fill(Machine, Disk),
    Empty(Machine, Disk),
    /// A command on a host, and what ends its effect.
    Order(Machine, Order),
}

/// A command line, and the one that ends its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) line: Line,
    pub(super) undo: Option<Line>,
}

/// A line of shell, in which `$1` stands for a word and `$2` for the active headnode's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) script: &'static str,
    pub(super) word: &'static str,
    pub(super) needs: Needs,
}

/// What has to come of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// It is given once; a refusal makes the fault one that did not bite.
    Success,
    /// It is given again until it is carried out.
    SuccessAtLast,
    /// It is the fault that it is told; a refusal is what should come of it.
    Nothing,
}

const SERVER: &str = "zookeeper.service";

impl Step {
    /// Whether it reads and writes the rules of cuts, which nobody else may do at the same time.
    pub(super) const fn is_of_the_network(self) -> bool {
        matches!(
            self,
            Self::Cut(_)
                | Self::Mend(_)
                | Self::Deafen { .. }
                | Self::Hear { .. }
                | Self::CutFromItsServer(_)
                | Self::CutFromLeader
                | Self::HearServers(_)
                | Self::JoinServers
                | Self::Lose(..)
                | Self::Slow(..)
        )
    }

    /// What ends it; `None` if it is over at once.
    pub(super) fn undo(self) -> Option<Self> {
        Some(match self {
            Self::PowerOff(at) => Self::PowerOn(at),
            Self::Freeze(at, Until::BeforeD | Until::PastD) => Self::Thaw(at),
            Self::Freeze(at, Until::Lost) => Self::PowerCycle(at),
            Self::Cut(at) => Self::Mend(at),
            Self::Deafen { at, from } => Self::Hear { at, from },
            Self::CutFromItsServer(at) => Self::HearServers(at),
            Self::CutFromLeader => Self::JoinServers,
            Self::Lose(at, 1..) => Self::Lose(at, 0),
            Self::Slow(at, 1..) => Self::Slow(at, 0),
            Self::Signal(at, what, Send::Stop) => Self::Signal(at, what, Send::Go),
            Self::FreezePid1(at) => Self::ThawPid1(at),
            Self::FreezeBeyondKill(at, _) => Self::ThawBeyondKill(at),
            Self::Cling(service, true) => Self::Cling(service, false),
            Self::HangMount(at, service) => Self::EndHungMount(at, service),
            Self::Device(Device::Fails | Device::Hangs | Device::Lies) => {
                Self::Device(Device::Works)
            }
            Self::Fill(at, disk) => Self::Empty(at, disk),
            Self::Order(at, Order { undo: Some(line), .. }) => {
                Self::Order(at, Order { line, undo: None })
            }
            Self::PowerOn(_)
            | Self::Thaw(_)
            | Self::PowerCycle(_)
            | Self::Mend(_)
            | Self::Hear { .. }
            | Self::HearServers(_)
            | Self::JoinServers
            | Self::Lose(_, 0)
            | Self::Slow(_, 0)
            | Self::Signal(_, _, Send::Kill | Send::Go)
            | Self::ThawPid1(_)
            | Self::ThawBeyondKill(_)
            | Self::Cling(_, false)
            | Self::EndHungMount(..)
            | Self::Device(Device::Works)
            | Self::Empty(..)
            | Self::Order(_, Order { undo: None, .. }) => return None,
        })
    }
}

const fn line(script: &'static str, word: &'static str) -> Line {
    Line { script, word, needs: Needs::Success }
}

/// A line that must be carried out at last, or the cluster does not come back in order.
const fn insist(script: &'static str, word: &'static str) -> Line {
    Line { script, word, needs: Needs::SuccessAtLast }
}

/// A server that is killed stays down until it is started.
const SERVER_KILLED: Order = for_a_while(
    line("systemctl kill --signal=KILL $1", SERVER),
    insist("systemctl start $1", SERVER),
);

const PAUSED: Order = for_a_while(line("headship pause chaos", ""), RESUME);
const KEPT: Order = for_a_while(line("headship pause --keep chaos", ""), RESUME);
const RESUME: Line = insist("headship resume", "");

/// Of a headnode or a service.
const fn in_maintenance(whom: &'static str) -> Order {
    for_a_while(
        line("eval headship maintenance $1 on chaos", whom),
        insist("eval headship maintenance $1 off", whom),
    )
}

const fn order(line: Line) -> Order {
    Order { line, undo: None }
}

const fn for_a_while(line: Line, undo: Line) -> Order {
    Order { line, undo: Some(undo) }
}

impl Fault {
    /// What it begins with.
    pub(super) fn steps(&self) -> Vec<Step> {
        let Self { at, service, figure, .. } = *self;
        let (first, second) = (self.daemons.0.unit(), self.daemons.1.unit());
        let unit = unit_of(service);
        let (one, other) = (Machine::Active, Machine::Standby);
        let send = |unit, send| Step::Signal(at, unit, send);
        let tell = |script, word| Step::Order(at, order(line(script, word)));
        match self.kind {
            Kind::PowerLoss | Kind::LeaderPower | Kind::FollowerPower => vec![Step::PowerOff(at)],
            Kind::Reboot => vec![tell("systemctl reboot", "")],
            Kind::FreezeBelow => vec![Step::Freeze(at, Until::BeforeD)],
            Kind::FreezeBeyond => vec![Step::Freeze(at, Until::PastD)],
            Kind::FreezeLost => vec![Step::Freeze(at, Until::Lost)],
            Kind::Cut => vec![Step::Cut(at)],
            Kind::Deaf => Machine::SERVERS.map(|from| Step::Deafen { at, from }).to_vec(),
            Kind::Mute => Machine::SERVERS.map(|to| Step::Deafen { at: to, from: at }).to_vec(),
            Kind::ServerCut => vec![Step::CutFromItsServer(at)],
            Kind::Apart => {
                [(one, other), (other, one)].map(|(at, from)| Step::Deafen { at, from }).to_vec()
            }
            Kind::Loss => vec![Step::Lose(at, figure)],
            Kind::Slow => vec![Step::Slow(at, figure)],
            Kind::DaemonKill | Kind::DaemonGone => vec![send(first, Send::Kill)],
            Kind::DaemonStop => vec![send(first, Send::Stop)],
            Kind::TwoKill => vec![send(first, Send::Kill), send(second, Send::Kill)],
            Kind::AllKill => {
                Daemon::of(at).iter().map(|one| send(one.unit(), Send::Kill)).collect()
            }
            Kind::AllStop => {
                Daemon::of(at).iter().map(|one| send(one.unit(), Send::Stop)).collect()
            }
            Kind::DaemonRestart => vec![tell("systemctl restart $1", first)],
            Kind::BusStop => vec![send("dbus.service", Send::Stop)],
            Kind::Pid1Stop => vec![Step::FreezePid1(at)],
            Kind::Reexec => vec![tell("systemctl daemon-reexec", "")],
            Kind::LeaderKill | Kind::FollowerKill => vec![Step::Order(at, SERVER_KILLED)],
            Kind::LeaderFreeze | Kind::FollowerFreeze => vec![send(SERVER, Send::Stop)],
            Kind::EnsembleAway => {
                Machine::SERVERS.map(|at| Step::Order(at, SERVER_KILLED)).to_vec()
            }
            Kind::EnsembleFrozen => {
                Machine::SERVERS.map(|at| Step::Signal(at, SERVER, Send::Stop)).to_vec()
            }
            Kind::FollowerApart => vec![Step::CutFromLeader],
            Kind::ServiceKill => vec![send(unit, Send::Kill)],
            Kind::ServicesKill => HA_UNITS.map(|unit| send(unit, Send::Kill)).to_vec(),
            Kind::ServiceStop => vec![tell("systemctl stop $1", unit)],
            // The gate refuses it.
            Kind::ServiceStart => {
                let script = "systemctl start $1";
                let needs = Needs::Nothing;
                vec![Step::Order(at, order(Line { script, word: unit, needs }))]
            }
            Kind::ServiceClings => vec![Step::Cling(service, true)],
            Kind::ServiceUnkillable => vec![Step::FreezeBeyondKill(at, unit)],
            Kind::MountHangs => vec![Step::HangMount(at, service)],
            Kind::Switchover => vec![tell("headship switchover", "")],
            Kind::Failover => vec![tell("headship failover --from $2 --yes", "")],
            Kind::Pause => vec![Step::Order(at, PAUSED)],
            Kind::Keep => vec![Step::Order(at, KEPT)],
            Kind::Maintenance => vec![Step::Order(at, in_maintenance("$(hostname)"))],
            Kind::ServiceMaintenance => vec![Step::Order(at, in_maintenance(service))],
            Kind::RunFull => vec![Step::Fill(at, Disk::Run)],
            Kind::StateFull => vec![Step::Fill(at, Disk::State)],
            Kind::AgentFails => vec![Step::Device(Device::Fails), Step::Cut(at)],
            Kind::AgentHangs => vec![Step::Device(Device::Hangs), Step::Cut(at)],
            Kind::AgentLies => vec![Step::Device(Device::Lies), Step::Cut(at)],
        }
    }
}

/// The unit of one of the lab's services.
fn unit_of(service: &'static str) -> &'static str {
    HA_UNITS
        .into_iter()
        .find(|unit| unit.strip_suffix(".service") == Some(service))
        .unwrap_or(service)
}
