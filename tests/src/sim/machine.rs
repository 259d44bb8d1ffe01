//! The five root machines behind one face: what each hears, and what each wants done.

use std::net::IpAddr;
use std::time::Duration;

use headship_core::controller::{self, Controller};
use headship_core::duty::{self, DutyKeeper};
use headship_core::eligibility::{self, HealthMonitor, Measured};
use headship_core::epoch::Remembered;
use headship_core::fencing::knock::Knocked;
use headship_core::fencing::{Answer, Victim};
use headship_core::follower::{self, AgentNote, Followed, Follower};
use headship_core::guard::{self, Guard};
use headship_core::lease::{Closed, Permit};
use headship_core::node::NodeName;
use headship_core::quorum::{ActionId, Ask, Event as QuorumEvent};
use headship_core::say::Line;
use headship_core::services::{Report, ServiceAction};
use headship_core::time::{Time, WallTime};

use super::host::DAMAGED;

/// A root machine of the core.
#[derive(Clone, Debug)]
pub(super) enum Machine {
    Controller(Box<Controller>),
    Guard(Box<Guard>),
    Monitor(Box<HealthMonitor>),
    Duty(Box<DutyKeeper>),
    Follower(Box<Follower>),
}

/// What a daemon hears.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Quorum(QuorumEvent),
    Report(Report),
    /// A file of `/run/headship` changed: these are its present contents.
    Files,
    PermitWritten {
        id: ActionId,
        error: Option<String>,
    },
    ClosedWritten {
        id: ActionId,
        error: Option<String>,
    },
    Measured(Measured),
    HostsPut {
        id: ActionId,
        outcome: Result<Vec<String>, String>,
    },
    AgentNoted {
        id: ActionId,
        error: Option<String>,
    },
    Knocked {
        id: ActionId,
        knocked: Knocked,
    },
    Fenced {
        id: ActionId,
        answer: Answer,
    },
    Stop,
    Timeout,
}

/// What a daemon wants done.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Ask(Ask),
    WritePermit { id: ActionId, permit: Permit },
    RemovePermit { id: ActionId },
    WriteClosed { id: ActionId, closed: Closed },
    Remember(Remembered),
    Service(ServiceAction),
    Knock { id: ActionId, node: NodeName, limit: Duration },
    Fence { id: ActionId, method: usize, victim: Victim, limit: Duration },
    StopFence { id: ActionId },
    Reboot { why: String },
    Measure,
    PutHosts { id: ActionId, address: IpAddr, only_look: bool },
    NoteAgent { id: ActionId, note: AgentNote },
    Follow(Followed),
    Say(Line),
    Exit,
}

impl Deed {
    /// Whether it takes the disk.
    pub(super) fn is_file(&self) -> bool {
        match self {
            Self::WritePermit { .. }
            | Self::RemovePermit { .. }
            | Self::WriteClosed { .. }
            | Self::Remember(_)
            | Self::PutHosts { .. }
            | Self::NoteAgent { .. }
            | Self::Follow(_) => true,
            Self::Ask(_)
            | Self::Service(_)
            | Self::Knock { .. }
            | Self::Fence { .. }
            | Self::StopFence { .. }
            | Self::Reboot { .. }
            | Self::Measure
            | Self::Say(_)
            | Self::Exit => false,
        }
    }
}

/// What a daemon sees of its host at the moment it hears something.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) now: Time,
    pub(super) wall: WallTime,
    pub(super) permit: Option<Permit>,
    pub(super) closed: Option<Closed>,
    pub(super) closed_damaged: bool,
}

impl Machine {
    /// Hands over what was heard. What is none of its business it ignores.
    pub(super) fn hear(&mut self, sight: Sight, heard: Heard) {
        let Sight { now, wall, permit, closed, closed_damaged } = sight;
        let read = if closed_damaged { Err(DAMAGED.to_owned()) } else { Ok(closed.clone()) };
        match self {
            Self::Controller(machine) => {
                use controller::Event;
                match heard {
                    Heard::Quorum(event) => machine.handle(now, Event::Quorum { wall, event }),
                    Heard::Report(report) => machine.handle(now, Event::Service(report)),
                    Heard::Files => machine.handle(now, Event::Closed(read)),
                    Heard::PermitWritten { id, error } => {
                        machine.handle(now, Event::PermitWritten { id, error });
                    }
                    Heard::Knocked { id, knocked } => {
                        machine.handle(now, Event::Knocked { id, knocked });
                    }
                    Heard::Fenced { id, answer } => {
                        machine.handle(now, Event::Fenced { id, answer });
                    }
                    Heard::Stop => machine.handle(now, Event::Stop),
                    Heard::Timeout => machine.handle_timeout(now),
                    Heard::ClosedWritten { .. }
                    | Heard::Measured(_)
                    | Heard::HostsPut { .. }
                    | Heard::AgentNoted { .. } => {}
                }
            }
            Self::Guard(machine) => {
                use guard::Event;
                machine.handle(now, Event::Permit(permit));
                match heard {
                    Heard::Quorum(event) => machine.handle(now, Event::Quorum(event)),
                    Heard::Report(report) => machine.handle(now, Event::Service(report)),
                    Heard::ClosedWritten { id, error } => {
                        machine.handle(now, Event::ClosedWritten { id, error });
                    }
                    Heard::Timeout => machine.handle_timeout(now),
                    Heard::Files => machine.handle(now, Event::Closed(read)),
                    Heard::PermitWritten { .. }
                    | Heard::Measured(_)
                    | Heard::HostsPut { .. }
                    | Heard::AgentNoted { .. }
                    | Heard::Knocked { .. }
                    | Heard::Fenced { .. }
                    | Heard::Stop => {}
                }
            }
            Self::Monitor(machine) => monitor_hears(machine, now, heard),
            Self::Duty(machine) => {
                use duty::Event;
                machine.handle(now, Event::Permit(permit, closed));
                match heard {
                    Heard::Quorum(event) => machine.handle(now, Event::Quorum(event)),
                    Heard::Report(report) => machine.handle(now, Event::Service(report)),
                    Heard::Stop => machine.handle(now, Event::Stop),
                    Heard::Timeout => machine.handle_timeout(now),
                    Heard::Files
                    | Heard::PermitWritten { .. }
                    | Heard::ClosedWritten { .. }
                    | Heard::HostsPut { .. }
                    | Heard::AgentNoted { .. }
                    | Heard::Knocked { .. }
                    | Heard::Fenced { .. }
                    | Heard::Measured(_) => {}
                }
            }
            Self::Follower(machine) => follower_hears(machine, now, heard),
        }
    }

    /// What it wants done next.
    pub(super) fn poll_deed(&mut self) -> Option<Deed> {
        Some(match self {
            Self::Controller(machine) => match machine.poll_action()? {
                controller::Action::Ask(ask) => Deed::Ask(ask),
                controller::Action::WritePermit { id, permit } => Deed::WritePermit { id, permit },
                controller::Action::RemovePermit { id } => Deed::RemovePermit { id },
                controller::Action::Remember(remembered) => Deed::Remember(remembered),
                controller::Action::Service(action) => Deed::Service(action),
                controller::Action::Knock { id, node, limit } => Deed::Knock { id, node, limit },
                controller::Action::Fence { id, method, victim, limit } => {
                    Deed::Fence { id, method, victim, limit }
                }
                controller::Action::StopFence { id } => Deed::StopFence { id },
                controller::Action::Reboot { why } => Deed::Reboot { why },
                controller::Action::Say(line) => Deed::Say(line),
                controller::Action::Exit => Deed::Exit,
            },
            Self::Guard(machine) => match machine.poll_action()? {
                guard::Action::Ask(ask) => Deed::Ask(ask),
                guard::Action::WriteClosed { id, closed } => Deed::WriteClosed { id, closed },
                guard::Action::Service(action) => Deed::Service(action),
                guard::Action::Reboot { why } => Deed::Reboot { why },
                guard::Action::Say(line) => Deed::Say(line),
            },
            Self::Monitor(machine) => match machine.poll_action()? {
                eligibility::Action::Ask(ask) => Deed::Ask(ask),
                eligibility::Action::Measure => Deed::Measure,
                eligibility::Action::Say(line) => Deed::Say(line),
            },
            Self::Duty(machine) => match machine.poll_action()? {
                duty::Action::Ask(ask) => Deed::Ask(ask),
                duty::Action::Service(action) => Deed::Service(action),
                duty::Action::Say(line) => Deed::Say(line),
                duty::Action::Exit => Deed::Exit,
            },
            Self::Follower(machine) => match machine.poll_action()? {
                follower::Action::Ask(ask) => Deed::Ask(ask),
                follower::Action::PutHosts { id, alias: _, address, only_look } => {
                    Deed::PutHosts { id, address, only_look }
                }
                follower::Action::NoteAgent { id, note } => Deed::NoteAgent { id, note },
                follower::Action::Remember(followed) => Deed::Follow(followed),
                follower::Action::Service(action) => Deed::Service(action),
                follower::Action::Say(line) => Deed::Say(line),
            },
        })
    }

    /// When it wants to be woken.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Controller(machine) => machine.poll_timeout(),
            Self::Guard(machine) => machine.poll_timeout(),
            Self::Monitor(machine) => machine.poll_timeout(),
            Self::Duty(machine) => machine.poll_timeout(),
            Self::Follower(machine) => machine.poll_timeout(),
        }
    }
}

fn monitor_hears(machine: &mut HealthMonitor, now: Time, heard: Heard) {
    use eligibility::Event;
    match heard {
        Heard::Quorum(event) => machine.handle(now, Event::Quorum(event)),
        Heard::Measured(measured) => machine.handle(now, Event::Measured(measured)),
        Heard::Timeout => machine.handle_timeout(now),
        Heard::Report(_)
        | Heard::Files
        | Heard::PermitWritten { .. }
        | Heard::ClosedWritten { .. }
        | Heard::HostsPut { .. }
        | Heard::AgentNoted { .. }
        | Heard::Knocked { .. }
        | Heard::Fenced { .. }
        | Heard::Stop => {}
    }
}

fn follower_hears(machine: &mut Follower, now: Time, heard: Heard) {
    use follower::Event;
    match heard {
        Heard::Quorum(event) => machine.handle(now, Event::Quorum(event)),
        Heard::Report(report) => machine.handle(now, Event::Service(report)),
        Heard::HostsPut { id, outcome } => {
            machine.handle(now, Event::HostsPut { id, outcome });
        }
        Heard::AgentNoted { id, error } => {
            machine.handle(now, Event::AgentNoted { id, error });
        }
        Heard::Timeout => machine.handle_timeout(now),
        Heard::Files
        | Heard::PermitWritten { .. }
        | Heard::ClosedWritten { .. }
        | Heard::Measured(_)
        | Heard::Knocked { .. }
        | Heard::Fenced { .. }
        | Heard::Stop => {}
    }
}
