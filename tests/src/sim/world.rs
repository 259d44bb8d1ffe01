//! The simulated cluster as a whole: one queue of what happens, in virtual time, all chance from one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use fastrand::Rng;
use headship_core::config::Config;
use headship_core::eligibility::{Disk, Measured};
use headship_core::epoch::Remembered;
use headship_core::node::NodeName;
use headship_core::quorum::Ask;
use headship_core::record::Key;
use headship_core::say::Line;

use super::check::Checker;
use super::ensemble::{Ensemble, Step};
use super::fence::{Device, FenceStep};
use super::host::{DaemonId, Host, HostId, HostStep, Input, Kind};
use super::log::Log;
use super::machine::Heard;
use super::net::{ConnId, Net, Way};
use super::reached::Reached;
use super::setup::Setup;
use super::unit::{Ends, Manner, Reply, Unit, UnitStep};

/// How many things may happen at the same moment: a host that thaws has much to catch up with.
const AT_ONCE: u32 = 20_000;

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Ensemble(Step),
    Pump(ConnId, Way),
    Daemon(DaemonId, u64, Input),
    Unit(HostId, u64, String, UnitStep),
    Host(HostId, u64, HostStep),
    Fence(FenceStep),
    /// An order of the simulation's own: a fault, or its end.
    Command(String),
    /// Chance draws a fault: the one of this number.
    Fault(u32),
    /// An operator who was told of a claim says that this host is powered off: truly, or so that it must be refused.
    Confirm(HostId),
}

/// When something happens; of two at the same time, what was planned first.
#[derive(Debug)]
struct Planned {
    at: Duration,
    seq: u64,
    /// Boxed, as the queue moves what is in it about.
    happening: Box<Happening>,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// A simulated cluster.
#[derive(Debug)]
pub struct World {
    pub(super) setup: Setup,
    pub(super) now: Duration,
    queue: BinaryHeap<Reverse<Planned>>,
    seq: u64,
    pub(super) rng: Rng,
    pub(super) ensemble: Ensemble,
    pub(super) net: Net,
    pub(super) hosts: Vec<Host>,
    pub(super) configs: Vec<Config>,
    pub(super) device: Device,
    pub(super) log: Log,
    pub(super) checker: Checker,
    pub(super) orders: u64,
    /// Whether an operator pauses at the very moment at which the next order is accepted.
    pub(super) pauses_once_accepted: bool,
    /// The headnodes whose master-fc is told of no change of a record, and which records.
    pub(super) deaf: BTreeSet<(HostId, Key)>,
    /// How often the records were lost, and another life of the cluster began.
    pub(super) lives: u64,
    /// Whether a lease was ever configured on one host alone.
    pub(super) leases_differed: bool,
}

impl World {
    /// A cluster whose nodes are switched on at time 0 and whose quorum holds nothing yet.
    pub fn new(setup: Setup) -> Self {
        let mut names = Vec::new();
        for number in 0..setup.headnodes {
            let name = NodeName::try_from(format!("hn{number}"));
            names.push(name.expect("letters and a digit are a name"));
        }
        for number in 0..setup.workers {
            let name = NodeName::try_from(format!("wn{number}"));
            names.push(name.expect("letters and a digit are a name"));
        }
        let configs: Vec<Config> = names.iter().map(|name| setup.config(name)).collect();
        let sync_limit = configs.first().map_or(5, |config| config.quorum.sync_limit);
        let mut world = Self {
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            seq: 0,
            rng: Rng::with_seed(setup.seed),
            ensemble: Ensemble::new(setup.tick(), sync_limit),
            net: Net::default(),
            hosts: Vec::new(),
            device: Device::default(),
            configs,
            log: Log { detailed: setup.detailed, ..Log::default() },
            checker: Checker::default(),
            orders: 0,
            pauses_once_accepted: false,
            deaf: BTreeSet::new(),
            lives: 0,
            leases_differed: false,
            setup,
        };
        for (number, name) in names.into_iter().enumerate() {
            let ppm = world.setup.drift_ppm.get(number).copied().unwrap_or(0);
            let units = world.draw_units(number);
            let mut host = Host::new(name, ppm, units);
            host.measured = good_measurements();
            host.wall_offset_ms = if world.setup.calm { 0 } else { world.rng.i64(0..1000) };
            world.hosts.push(host);
        }
        world.start_ensemble();
        for host in world.host_ids() {
            let pause = world.between(0, 2_000_000);
            world.after(pause, Happening::Host(host, 0, HostStep::Boot));
        }
        world
    }

    fn draw_units(&mut self, host: usize) -> BTreeMap<String, Unit> {
        if host >= self.setup.headnodes {
            return BTreeMap::new();
        }
        let services = self.configs.get(host).map(|config| config.services.clone());
        let names = services.unwrap_or_default().into_iter().map(|service| service.name);
        let mut units = BTreeMap::new();
        for name in names.chain([Kind::Duty.name().to_owned()]) {
            let gated = name != Kind::Duty.name();
            let manner = Manner {
                start: if gated {
                    self.between(300_000, 6_000_000)
                } else {
                    self.between(50_000, 150_000)
                },
                stop: self.between(100_000, 3_000_000),
                dies_after: None,
                ends: Ends::WhenAsked,
                cannot_start: false,
                reply: Reply::Right,
                reply_at_start: Reply::Right,
            };
            units.insert(name, Unit::new(manner, gated));
        }
        units
    }

    pub(super) fn config_for(&self, host: HostId) -> Config {
        self.configs.get(host.0).expect("one configuration a host").clone()
    }

    /// Plans something `pause` from now.
    pub(super) fn after(&mut self, pause: Duration, happening: Happening) {
        self.at(self.now.saturating_add(pause), happening);
    }

    pub(super) fn at(&mut self, at: Duration, happening: Happening) {
        self.seq += 1;
        let at = at.max(self.now);
        let happening = Box::new(happening);
        self.queue.push(Reverse(Planned { at, seq: self.seq, happening }));
    }

    /// Faults, their ends and deeds of operators that are still to come do not come.
    pub(super) fn forget_faults(&mut self) {
        self.queue.retain(|Reverse(planned)| match *planned.happening {
            Happening::Command(_) | Happening::Fault(_) | Happening::Confirm(_) => false,
            Happening::Ensemble(_)
            | Happening::Pump(..)
            | Happening::Daemon(..)
            | Happening::Unit(..)
            | Happening::Host(..)
            | Happening::Fence(_) => true,
        });
    }

    /// A span between two numbers of microseconds; the shorter in a calm world.
    pub(super) fn between(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(if self.setup.calm { low } else { self.rng.u64(low..=high.max(low)) })
    }

    /// One of `count`; the first in a calm world.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        if self.setup.calm || count == 0 { 0 } else { self.rng.usize(0..count) }
    }

    /// Whether something happens that is this likely.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    /// How long a message takes: mostly a moment, now and then much longer.
    pub(super) fn latency(&mut self) -> Duration {
        if !self.setup.calm && self.chance(0.01) {
            self.between(5_000, 80_000)
        } else {
            self.between(150, 1500)
        }
    }

    /// Lets the cluster run until `end`, or until a rule is violated.
    pub fn run_until(&mut self, end: Duration) {
        while self.checker.violation.is_none() {
            let next = self.queue.peek().map(|Reverse(planned)| planned.at);
            if next.is_none_or(|at| at > end) {
                break;
            }
            let Some(Reverse(planned)) = self.queue.pop() else { break };
            self.count_at_once(planned.at);
            self.now = planned.at;
            self.happen(*planned.happening);
            self.watch();
        }
        self.now = self.now.max(end);
    }

    /// Time that stands still is somebody who spins.
    fn count_at_once(&mut self, at: Duration) {
        self.checker.at_once = if at == self.now { self.checker.at_once + 1 } else { 0 };
        if self.checker.at_once > AT_ONCE {
            self.violation(format!("somebody spins: {AT_ONCE} things happen at the same moment"));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Ensemble(step) => self.ensemble_step(step),
            Happening::Pump(conn, way) => self.pump(conn, way),
            Happening::Daemon(id, process, input) => self.daemon_input(id, process, input),
            Happening::Unit(host, boot, unit, step) => {
                if self.host(host).boot != boot || !self.host(host).powered {
                    return;
                }
                if self.host(host).frozen {
                    self.defer(host, Happening::Unit(host, boot, unit, step));
                } else {
                    self.unit_step(host, &unit, step);
                }
            }
            Happening::Host(host, boot, step) => self.host_step(host, boot, step),
            Happening::Fence(step) => self.fence_step(step),
            Happening::Fault(number) => self.fault(number),
            Happening::Confirm(host) => self.confirm_by_chance(host),
            Happening::Command(text) => {
                if let Err(why) = self.command(&text) {
                    self.violation(format!("`{text}` is no command: {why}"));
                }
            }
        }
    }

    /// How long the cluster has been running.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The rule that was violated, if one was, and how.
    pub fn violated(&self) -> Option<&str> {
        self.checker.violation.as_deref()
    }

    /// Which transitions and refusals there were.
    pub(super) fn reached(&self) -> &Reached {
        &self.checker.reached
    }

    /// Forgets the log so far; its times count from now on.
    pub(super) fn begin_log_anew(&mut self) {
        self.log.begin_anew(self.now);
    }

    /// The log, with times in seconds to so many digits.
    pub fn log(&self, digits: usize) -> String {
        self.log.text(digits)
    }

    pub(super) fn violation(&mut self, what: String) {
        if self.checker.violation.is_none() {
            self.notice("CHECK", what.clone());
            self.checker.violation = Some(what);
        }
    }

    /// Logs what a person on call wants to see.
    pub(super) fn notice(&mut self, who: &str, text: String) {
        self.log.add(self.now, who, text);
    }

    /// Logs what only somebody who looks for a fault wants to see.
    pub(super) fn trace(&mut self, who: &str, text: impl FnOnce() -> String) {
        if self.log.detailed {
            self.log.add(self.now, who, format!("  . {}", text()));
        }
    }

    pub(super) fn trace_heard(&mut self, id: DaemonId, heard: &Heard) {
        if self.log.detailed {
            let who = self.who(id);
            self.trace(&who, || format!("{} hears {heard:?}", id.kind.name()));
        }
    }

    pub(super) fn trace_ask(&mut self, id: DaemonId, ask: &Ask) {
        if self.log.detailed {
            let who = self.who(id);
            self.trace(&who, || format!("{} asks {ask:?}", id.kind.name()));
        }
    }

    pub(super) fn say(&mut self, id: DaemonId, line: &Line) {
        let who = self.who(id);
        let kind = id.kind.name();
        self.notice(&who, format!("{kind}: {}", line.text));
        self.checker.said.insert(line.kind);
    }

    pub(super) fn remember(&mut self, id: DaemonId, remembered: Remembered) {
        self.host_mut(id.host).remembered = Some(remembered);
    }
}

/// What health-monitor measures on a host that is well.
pub(super) fn good_measurements() -> Measured {
    Measured {
        disks: [("/".to_owned(), Disk { free_mib: 50_000, read_only: false })].into(),
        memory_available_mib: Some(16_000),
        missing_units: Some(BTreeMap::new()),
        alone: [].into(),
    }
}
