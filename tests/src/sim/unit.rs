//! systemd, as far as HA services can tell: units, one job at a time, the gate at the moment of execution, and control groups.
//!
//! A start that is asked for waits for its turn; then PID 1 runs the gate, and a moment later the service. A stop replaces a
//! queued start. `cgroup.kill` needs neither PID 1 nor the bus.

mod jobs;

use std::time::Duration;

use headship_core::epoch::Epoch;
use headship_core::quorum::ActionId;
use headship_core::services::{Ended, Observed, Order, Report, ServiceAction};

use super::host::{DaemonId, HostId, Input, Kind, Life};
use super::machine::Heard;
use super::world::{Happening, World};

/// How long a driver waits for an answer of the bus.
const BUS_LIMIT: Duration = Duration::from_secs(5);

/// And for one of a service: the probes' default.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// How long after the bus answers again the last of what it kept back is told.
const TOLD: Duration = Duration::from_millis(20);

/// `TimeoutStopSec=` of the services' own units.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// How long a kill is tried before it is reported as failed.
const KILL_LIMIT: Duration = Duration::from_millis(500);

/// How a service takes it to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    WhenAsked,
    WhenKilled,
    /// Not even SIGKILL ends it (a hung disk).
    Never,
}

/// How a service behaves.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) start: Duration,
    pub(super) stop: Duration,
    /// It ends by itself that long after it ran.
    pub(super) dies_after: Option<Duration>,
    pub(super) ends: Ends,
    pub(super) cannot_start: bool,
    /// What its probes get while it runs.
    pub(super) reply: Reply,
    /// And after each start.
    pub(super) reply_at_start: Reply,
}

/// What a probe of a service that runs gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The right answer.
    Right,
    /// A wrong one, as a refused connection is.
    Wrong,
    /// Nothing within its limit: the process stands still.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Dead,
    /// `ExecStartPre`: the gate.
    Gate,
    /// Passed the gate; executed in a moment.
    Exec,
    Starting,
    Running,
    Stopping,
    /// systemd starts it again in a moment (only our own programs).
    Again,
}

/// Whoever waits for a job.
#[derive(Clone, Debug)]
struct Waiter {
    daemon: DaemonId,
    process: u64,
    id: ActionId,
}

/// A unit.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) manner: Manner,
    /// Behind the gate; master-ha-service is not.
    pub(super) gated: bool,
    pub(super) state: State,
    pub(super) failed: Option<String>,
    /// A start job waits for its turn.
    start_queued: bool,
    starters: Vec<Waiter>,
    stoppers: Vec<Waiter>,
    /// Grows with each change: an older step comes to nothing.
    turn: u64,
    /// The epoch of the permit that it was started under, if it was started through the gate.
    pub(super) epoch: Option<Epoch>,
    /// Started past the gate, by somebody else.
    pub(super) foreign: bool,
    /// Since when it runs, or answers again.
    pub(super) sound_since: Duration,
    /// When everybody knows that it runs: a bus that hangs says so late.
    pub(super) told_at: Duration,
    /// When it was executed on this boot.
    pub(super) executed: Vec<Duration>,
}

/// What happens to a unit.
#[derive(Clone, Debug)]
pub(super) enum UnitStep {
    /// An order reaches PID 1.
    Start(Option<(DaemonId, u64, ActionId)>),
    Stop(Option<(DaemonId, u64, ActionId)>),
    /// `cgroup.kill`.
    Kill(DaemonId, u64, ActionId),
    /// A look is answered.
    Look(DaemonId, u64, ActionId),
    /// The start job's turn.
    Turn,
    GateLooks(u64),
    Executed(u64),
    Ready(u64),
    Stopped(u64),
    Dies(u64),
    /// A SIGKILL that took its time has ended it.
    Killed(u64),
}

impl Unit {
    pub(super) fn new(manner: Manner, gated: bool) -> Self {
        Self {
            manner,
            gated,
            state: State::Dead,
            failed: None,
            start_queued: false,
            starters: Vec::new(),
            stoppers: Vec::new(),
            turn: 0,
            epoch: None,
            foreign: false,
            sound_since: Duration::ZERO,
            told_at: Duration::ZERO,
            executed: Vec::new(),
        }
    }

    /// Whether a process of the service is there.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Starting | State::Running | State::Stopping)
    }

    /// Whether it is neither up nor down, or is about to be.
    pub(super) fn moves(&self) -> bool {
        match self.state {
            State::Dead => self.start_queued,
            State::Running => false,
            State::Gate | State::Exec | State::Starting | State::Stopping | State::Again => true,
        }
    }

    pub(super) fn power_lost(&mut self) {
        let turn = self.turn + 1;
        *self = Self { turn, ..Self::new(self.manner.clone(), self.gated) };
    }

    fn observed(&self) -> Observed {
        match self.state {
            State::Dead if self.start_queued => Observed::Starting,
            State::Dead => {
                self.failed.clone().map_or(Observed::Stopped, |why| Observed::Failed { why })
            }
            State::Gate | State::Exec | State::Starting | State::Again => Observed::Starting,
            State::Running => Observed::Running,
            State::Stopping => Observed::Stopping,
        }
    }
}

impl World {
    pub(super) fn unit(&self, host: HostId, unit: &str) -> &Unit {
        self.host(host)
            .units
            .get(unit)
            .expect("units are never removed, and orders name known ones")
    }

    pub(super) fn unit_mut(&mut self, host: HostId, unit: &str) -> &mut Unit {
        self.host_mut(host).units.get_mut(unit).expect("units are never removed")
    }

    fn plan_unit(&mut self, at: Duration, host: HostId, unit: &str, step: UnitStep) {
        let boot = self.host(host).boot;
        self.at(at, Happening::Unit(host, boot, unit.to_owned(), step));
    }

    /// When an order over the bus reaches PID 1.
    fn over_the_bus(&mut self, host: HostId) -> Duration {
        let way = self.between(500, 6000);
        self.host(host).bus_back.max(self.now + way)
    }

    /// A daemon orders something of a service.
    pub(super) fn unit_order(&mut self, by: DaemonId, action: ServiceAction) {
        let ServiceAction { id, service, order } = action;
        let (host, process) = (by.host, self.process(by));
        self.trace(&self.who(by), || format!("{} orders {order:?} {service}", by.kind.name()));
        let step = match order {
            Order::Start => UnitStep::Start(Some((by, process, id))),
            Order::Stop => UnitStep::Stop(Some((by, process, id))),
            Order::Kill => {
                let at = self.now + self.between(300, 4000);
                self.plan_unit(at, host, &service, UnitStep::Kill(by, process, id));
                return;
            }
            Order::Look => UnitStep::Look(by, process, id),
            Order::Probe(_) => {
                let mut at = self.now + self.between(500, 5000);
                let unit = self.unit(host, &service);
                let runs = unit.state == State::Running;
                let serving = match unit.manner.reply {
                    Reply::Never if runs => None,
                    Reply::Right => Some(runs),
                    Reply::Wrong | Reply::Never => Some(false),
                };
                if serving.is_none() {
                    at = self.now + PROBE_LIMIT;
                }
                let report = Report::Probed { id, serving };
                self.input_at(at, by, process, Input::Told(Heard::Report(report)));
                return;
            }
        };
        let at = self.over_the_bus(host);
        let looks = matches!(step, UnitStep::Look(..));
        if at > self.now + BUS_LIMIT {
            let why = "systemd did not answer".to_owned();
            let report = if looks {
                Report::Observed {
                    service: service.clone(),
                    asked: Some(id),
                    observed: Observed::Unknown,
                }
            } else {
                Report::Ended { id, ended: Ended::Unknown { why } }
            };
            let limit = self.now + BUS_LIMIT;
            self.input_at(limit, by, process, Input::Told(Heard::Report(report)));
        }
        self.plan_unit(at, host, &service, step);
    }

    pub(super) fn unit_step(&mut self, host: HostId, unit: &str, step: UnitStep) {
        let turn = self.unit(host, unit).turn;
        match step {
            UnitStep::Start(waiter) => self.start_job(host, unit, waiter),
            UnitStep::Stop(waiter) => self.stop_job(host, unit, waiter),
            UnitStep::Kill(by, process, id) => self.cgroup_kill(host, unit, by, process, id),
            UnitStep::Look(by, process, id) => {
                if self.process(by) == process && self.life(by) != Life::Down {
                    let unseen = self.is_unseen(host, unit);
                    let observed =
                        if unseen { Observed::Running } else { self.unit(host, unit).observed() };
                    let service = unit.to_owned();
                    let report = Report::Observed { service, asked: Some(id), observed };
                    let back = self.now + self.between(200, 3000);
                    self.input_at(back, by, process, Input::Told(Heard::Report(report)));
                }
            }
            UnitStep::Turn => self.run_start_job(host, unit),
            UnitStep::GateLooks(at) if at == turn => self.gate_looks(host, unit),
            UnitStep::Executed(at) if at == turn => self.executed(host, unit),
            UnitStep::Ready(at) if at == turn => self.ready(host, unit),
            UnitStep::Stopped(at) if at == turn => {
                self.notice_unit(host, unit, "stopped");
                self.dead(host, unit, None);
            }
            UnitStep::Dies(at) if at == turn => self.unit_dies(host, unit, "it ended by itself"),
            UnitStep::Killed(at) if at == turn => self.unit_dies(host, unit, "killed"),
            UnitStep::GateLooks(_)
            | UnitStep::Executed(_)
            | UnitStep::Ready(_)
            | UnitStep::Stopped(_)
            | UnitStep::Dies(_)
            | UnitStep::Killed(_) => {}
        }
    }

    fn notice_unit(&mut self, host: HostId, unit: &str, what: &str) {
        let name = self.host(host).name.to_string();
        self.notice(&name, format!("{unit} {what}"));
    }

    fn cgroup_kill(&mut self, host: HostId, name: &str, by: DaemonId, process: u64, id: ActionId) {
        let takes = self.setup.broken.kill_takes;
        let unit = self.unit(host, name);
        let (runs, turn) = (unit.runs(), unit.turn);
        let (ended, back) = if runs && unit.manner.ends == Ends::Never {
            let why = "processes are left after SIGKILL".to_owned();
            (Ended::Failed { why, by_gate: false }, KILL_LIMIT)
        } else if runs && takes > Duration::ZERO {
            self.plan_unit(self.now + takes, host, name, UnitStep::Killed(turn));
            (Ended::Done, takes)
        } else {
            self.unit_dies(host, name, "killed");
            (Ended::Done, Duration::from_millis(2))
        };
        let report = Report::Ended { id, ended };
        self.input_at(self.now + back, by, process, Input::Told(Heard::Report(report)));
    }

    /// A unit's processes end without being asked.
    pub(super) fn unit_dies(&mut self, host: HostId, name: &str, why: &str) {
        let unit = self.unit(host, name);
        if !unit.runs() && !matches!(unit.state, State::Gate | State::Exec) {
            return;
        }
        self.notice_unit(host, name, if why == "killed" { "killed" } else { "died" });
        if self.unit(host, name).gated {
            self.dead(host, name, Some(why.to_owned()));
        } else {
            // Its end shows in `duty_ended`.
            self.kill_daemon(DaemonId { host, kind: Kind::Duty }, "killed");
        }
    }

    /// master-ha-service is no more; after a crash systemd starts it again.
    pub(super) fn duty_ended(&mut self, host: HostId, crashed: bool) {
        let name = Kind::Duty.name();
        let stopping = self.unit(host, name).state == State::Stopping;
        if crashed && !stopping {
            let unit = self.unit_mut(host, name);
            unit.turn += 1;
            (unit.state, unit.failed) = (State::Again, None);
            let turn = unit.turn;
            let at = self.now + Duration::from_millis(100) + self.between(20_000, 200_000);
            self.plan_unit(at, host, name, UnitStep::Executed(turn));
            self.signal(host, name);
        } else {
            self.dead(host, name, None);
        }
    }

    fn dead(&mut self, host: HostId, name: &str, failed: Option<String>) {
        let unit = self.unit_mut(host, name);
        unit.turn += 1;
        unit.state = State::Dead;
        unit.epoch = None;
        unit.foreign = false;
        unit.manner.reply = unit.manner.reply_at_start;
        let why = failed.clone().unwrap_or_else(|| "it ended".to_owned());
        unit.failed = failed;
        let queued = unit.start_queued;
        self.end_jobs(host, name, false, &Ended::Done);
        if queued {
            let at = self.now + self.between(300, 5000);
            self.plan_unit(at, host, name, UnitStep::Turn);
        } else {
            self.end_jobs(host, name, true, &Ended::Failed { why, by_gate: false });
        }
        self.signal(host, name);
    }

    /// systemd signals a change; each program looks when it hears of it.
    pub(super) fn signal(&mut self, host: HostId, name: &str) {
        if self.is_unseen(host, name) {
            return;
        }
        for kind in [Kind::Controller, Kind::Guard, Kind::Duty] {
            let own = kind == Kind::Duty && name == Kind::Duty.name();
            let id = DaemonId { host, kind };
            if !own && self.life(id) != Life::Down {
                let (at, process) = (self.over_the_bus(host), self.process(id));
                self.input_at(at, id, process, Input::UnitChanged(name.to_owned()));
            }
        }
    }

    /// What a program sees of a unit now.
    pub(super) fn unit_seen(&mut self, id: DaemonId, name: &str, asked: Option<ActionId>) {
        let observed = self.unit(id.host, name).observed();
        let report = Report::Observed { service: name.to_owned(), asked, observed };
        self.hear(id, Heard::Report(report));
    }
}
