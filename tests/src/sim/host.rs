//! A host, be it a headnode or a node that only follows: its clock, its files, its units, its daemons; power, boots and what they take away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use headship_core::eligibility::Measured;
use headship_core::epoch::{Epoch, Remembered};
use headship_core::lease::{self, Closed, Permit};
use headship_core::node::{Identity, NodeName};
use headship_core::quorum::ActionId;
use headship_core::record::Key;
use headship_core::time::Time;

use super::client::Client;
use super::clock::Clock;
use super::follow::Follow;
use super::machine::{Deed, Machine};
use super::net::{ConnId, Down};
use super::unit::Unit;
use super::world::{Happening, World};

pub(super) use super::machine::Heard;

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostId(pub(super) usize);

/// A program of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Controller,
    Guard,
    Monitor,
    Duty,
    Follower,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Controller, Self::Guard, Self::Monitor, Self::Duty, Self::Follower];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Controller => "master-fc",
            Self::Guard => "slave-ha-service",
            Self::Monitor => "health-monitor",
            Self::Duty => "master-ha-service",
            Self::Follower => "slave-fc",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the program wants hints of changes of this record.
    pub(super) fn watches(self, key: &Key) -> bool {
        match self {
            Self::Controller => true,
            Self::Guard | Self::Follower => *key == Key::Active,
            Self::Monitor | Self::Duty => false,
        }
    }

    /// Its unit's `WatchdogSec=`.
    pub(super) fn watchdog(self) -> Duration {
        match self {
            Self::Controller | Self::Guard => Duration::from_secs(1),
            Self::Monitor | Self::Duty | Self::Follower => Duration::from_secs(5),
        }
    }
}

/// A daemon of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DaemonId {
    pub(super) host: HostId,
    pub(super) kind: Kind,
}

/// What reaches a process.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Received(ConnId, Down),
    ClientTimer(u64),
    Wake(u64),
    /// The next deed is carried out.
    Carry,
    /// systemd signals that a unit changed.
    UnitChanged(String),
    Told(Heard),
}

impl Input {
    /// Whether it concerns the client library, whatever the program does.
    pub(super) fn is_of_the_client(&self) -> bool {
        match self {
            Self::Received(..) | Self::ClientTimer(_) => true,
            Self::Wake(_) | Self::Carry | Self::UnitChanged(_) | Self::Told(_) => false,
        }
    }
}

/// How a daemon's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Down,
    Running,
    /// Its loop stands still, while its client keeps the session alive.
    Hung,
    Frozen,
}

#[derive(Clone, Debug)]
pub(super) struct Daemon {
    /// Counts processes, over boots too.
    pub(super) process: u64,
    pub(super) life: Life,
    pub(super) machine: Option<Machine>,
    pub(super) client: Option<Client>,
    pub(super) outbox: VecDeque<Deed>,
    /// Whether a file is being written: the next deeds wait for it.
    pub(super) busy: bool,
    pub(super) deferred: Vec<Input>,
    /// When it went on after it had stood still.
    pub(super) thawed_at: Duration,
    pub(super) wake: u64,
    pub(super) wake_at: Option<Duration>,
    /// Whether systemd starts it again when it dies.
    pub(super) wanted: bool,
    pub(super) deaths: Vec<Duration>,
    /// The second it was last woken by its own wish, and how often within it.
    pub(super) woken: (u64, u32),
    /// The second in which it last took the disk, and how often within it.
    pub(super) filed: (u64, u32),
    /// The write of office that it waits for.
    pub(super) writing: Option<ActionId>,
}

/// What keeps files from being written to `/run/headship`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunFault {
    /// What is there can still be removed.
    Full,
    /// Nothing can be removed either.
    ReadOnly,
}

impl RunFault {
    /// In the words of the system.
    pub(super) fn text(self) -> String {
        match self {
            Self::Full => "no space left on device".to_owned(),
            Self::ReadOnly => "read-only file system".to_owned(),
        }
    }
}

/// What whoever reads `closed` says when it is damaged.
pub(super) const DAMAGED: &str = "`/run/headship/closed` is damaged";

/// `/run/headship`.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) permit: Option<Permit>,
    /// When that was written.
    pub(super) permit_at: Duration,
    /// The last permit of this boot, also when it is gone.
    pub(super) last_permit: Option<Permit>,
    /// The last D of this boot that was ever acknowledged, with its epoch: the permit on disk may be older.
    pub(super) last_deadline: Option<(Epoch, Time)>,
    pub(super) closed: Option<Closed>,
    /// It is there and cannot be read.
    pub(super) closed_damaged: bool,
    /// Nothing can be written there, for this reason.
    pub(super) fault: Option<RunFault>,
    /// It is no memory file system, and what daemons wrote is there after a boot.
    pub(super) outlives_boots: bool,
}

impl Run {
    /// What of it the next boot finds.
    fn booted(self) -> Self {
        if !self.outlives_boots {
            return Self::default();
        }
        Self { last_permit: None, last_deadline: None, ..self }
    }

    /// Whether a start passes the gate now, by the permit that lies there.
    pub(super) fn gate(&self, boot: &str, now: Time) -> Result<(), String> {
        if self.closed_damaged {
            return Err(format!("nothing starts here: {DAMAGED}"));
        }
        lease::gate(self.permit.as_ref(), self.closed.as_ref(), boot, now)
            .map_err(|refusal| refusal.to_string())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: NodeName,
    pub(super) machine: String,
    pub(super) boot: u64,
    /// What its master-fc last said it is.
    pub(super) role: &'static str,
    pub(super) powered: bool,
    pub(super) frozen: bool,
    /// Power does not come back by itself.
    pub(super) clock: Clock,
    pub(super) ppm: i64,
    pub(super) wall_offset_ms: i64,
    /// What its clock showed when the host was paused together with it.
    pub(super) clock_stands_at: Option<Time>,
    pub(super) run: Run,
    pub(super) remembered: Option<Remembered>,
    /// What slave-fc works on.
    pub(super) follow: Follow,
    pub(super) daemons: BTreeMap<Kind, Daemon>,
    pub(super) units: BTreeMap<String, Unit>,
    /// Until when PID 1 and the bus do not answer.
    pub(super) bus_back: Duration,
    pub(super) measured: Measured,
    /// Measurements do not come back.
    pub(super) measuring_hangs: bool,
    deferred: Vec<Happening>,
}

/// What runs on headnodes only, in the order of their starts. (On other nodes the guard has nothing to do here.)
const OF_HEADNODES: [Kind; 3] = [Kind::Guard, Kind::Monitor, Kind::Controller];

/// What happens to a host.
#[derive(Clone, Copy, Debug)]
pub(super) enum HostStep {
    /// Power comes back, or the firmware is done.
    Boot,
    /// A program is started by systemd.
    Start(Kind, u64),
    /// The watchdog fires unless the program gave a sign of life.
    Watchdog(Kind, u64),
    /// An orderly shutdown goes on.
    Shutdown(u64),
}

impl Host {
    pub(super) fn new(name: NodeName, ppm: i64, units: BTreeMap<String, Unit>) -> Self {
        let daemon = Daemon {
            process: 0,
            life: Life::Down,
            machine: None,
            client: None,
            outbox: VecDeque::new(),
            busy: false,
            deferred: Vec::new(),
            wake: 0,
            wake_at: None,
            wanted: false,
            deaths: Vec::new(),
            woken: (0, 0),
            filed: (0, 0),
            writing: None,
            thawed_at: Duration::ZERO,
        };
        Self {
            machine: format!("machine-of-{name}"),
            name,
            boot: 0,
            role: "out",
            powered: false,
            frozen: false,
            clock: Clock::new(Duration::ZERO, 0, ppm),
            ppm,
            wall_offset_ms: 0,
            clock_stands_at: None,
            run: Run::default(),
            remembered: None,
            follow: Follow::default(),
            daemons: Kind::ALL.into_iter().map(|kind| (kind, daemon.clone())).collect(),
            units,
            bus_back: Duration::ZERO,
            measured: Measured::default(),
            measuring_hangs: false,
            deferred: Vec::new(),
        }
    }

    /// Whether nothing on it moves.
    pub(super) fn is_dumb(&self) -> bool {
        !self.powered || self.frozen
    }

    pub(super) fn boot_id(&self) -> String {
        format!("{}-boot-{}", self.name, self.boot)
    }

    pub(super) fn identity(&self, kind: Kind, process: u64) -> Identity {
        Identity {
            node: self.name.clone(),
            machine: self.machine.clone(),
            boot: self.boot_id(),
            process: format!("{}-{}-{process}", self.name, kind.name()),
        }
    }

    pub(super) fn daemon(&self, kind: Kind) -> &Daemon {
        self.daemons.get(&kind).expect("every host has all of them")
    }

    pub(super) fn daemon_mut(&mut self, kind: Kind) -> &mut Daemon {
        self.daemons.get_mut(&kind).expect("every host has all of them")
    }
}

impl World {
    pub(super) fn host(&self, id: HostId) -> &Host {
        self.hosts.get(id.0).expect("hosts are never removed")
    }

    pub(super) fn host_mut(&mut self, id: HostId) -> &mut Host {
        self.hosts.get_mut(id.0).expect("hosts are never removed")
    }

    pub(super) fn host_ids(&self) -> Vec<HostId> {
        (0..self.hosts.len()).map(HostId).collect()
    }

    /// The hosts that may be active: the first ones.
    pub(super) fn headnode_ids(&self) -> Vec<HostId> {
        (0..self.setup.headnodes).map(HostId).collect()
    }

    pub(super) fn is_headnode(&self, host: HostId) -> bool {
        host.0 < self.setup.headnodes
    }

    pub(super) fn host_by_name(&self, name: &str) -> Option<HostId> {
        self.host_ids().into_iter().find(|id| self.host(*id).name.as_str() == name)
    }

    pub(super) fn host_step(&mut self, host: HostId, boot: u64, step: HostStep) {
        if self.host(host).boot != boot {
            return;
        }
        if self.host(host).frozen {
            self.host_mut(host).deferred.push(Happening::Host(host, boot, step));
            return;
        }
        match step {
            HostStep::Boot => self.boot(host),
            HostStep::Start(kind, process) => {
                let daemon = self.host(host).daemon(kind);
                // A start by hand may come while systemd's own is due: one of the two starts it.
                let due = daemon.process == process && daemon.life == Life::Down;
                if self.host(host).powered && daemon.wanted && due {
                    self.start_daemon(DaemonId { host, kind });
                }
            }
            HostStep::Watchdog(kind, process) => {
                let daemon = self.host(host).daemon(kind);
                if daemon.process == process && daemon.life != Life::Running {
                    self.kill_daemon(DaemonId { host, kind }, "killed by its watchdog");
                }
            }
            HostStep::Shutdown(limit) => self.shut_down(host, limit),
        }
    }

    /// Puts aside what happens on a frozen host, to happen when it thaws.
    pub(super) fn defer(&mut self, host: HostId, happening: Happening) {
        self.host_mut(host).deferred.push(happening);
    }

    /// The host starts from nothing: `/run` is empty as a rule, the boot id and BOOTTIME are new.
    pub(super) fn boot(&mut self, id: HostId) {
        let now = self.now;
        if self.host(id).powered {
            return;
        }
        let uptime = self.between(3_000_000, 9_000_000);
        self.net.reach_changed = now;
        let host = self.host_mut(id);
        host.powered = true;
        host.clock = Clock::new(now, u64::try_from(uptime.as_micros()).unwrap_or(0), host.ppm);
        host.run = std::mem::take(&mut host.run).booted();
        host.bus_back = Duration::ZERO;
        host.measuring_hangs = false;
        let boot = host.boot;
        let name = host.name.to_string();
        self.notice(&name, "boots".to_owned());
        let follower = self.setup.follow.then_some(Kind::Follower);
        let of_headnode = if self.is_headnode(id) { &OF_HEADNODES[..] } else { &[] };
        for kind in of_headnode.iter().copied().chain(follower) {
            if kind == Kind::Guard && self.setup.broken.no_guard {
                continue;
            }
            let daemon = self.host_mut(id).daemon_mut(kind);
            daemon.wanted = true;
            daemon.deaths.clear();
            let process = daemon.process;
            let pause = self.between(100_000, 700_000);
            self.after(pause, Happening::Host(id, boot, HostStep::Start(kind, process)));
        }
    }

    /// Power is gone, from one moment to the next. It comes back after `off`, if at all.
    pub(super) fn lose_power(&mut self, id: HostId, off: Option<Duration>) {
        if !self.host(id).powered {
            return;
        }
        self.host_drops_connections(id);
        for kind in Kind::ALL {
            let daemon = self.host_mut(id).daemon_mut(kind);
            daemon.forget_process();
            daemon.wanted = false;
        }
        let host = self.host_mut(id);
        host.powered = false;
        (host.frozen, host.clock_stands_at) = (false, None);
        host.deferred.clear();
        host.boot += 1;
        let boot = host.boot;
        host.units.values_mut().for_each(Unit::power_lost);
        host.follow.power_lost();
        if let Some(off) = off {
            self.after(off, Happening::Host(id, boot, HostStep::Boot));
        }
    }

    /// The whole host stands still; its clock does not.
    pub(super) fn freeze_host(&mut self, id: HostId) {
        self.host_mut(id).frozen = true;
    }

    pub(super) fn thaw_host(&mut self, id: HostId) {
        self.clock_goes_on(id);
        self.host_mut(id).frozen = false;
        let now = self.now;
        self.net.reach_changed = now;
        for kind in Kind::ALL {
            self.host_mut(id).daemon_mut(kind).thawed_at = now;
        }
        for happening in std::mem::take(&mut self.host_mut(id).deferred) {
            self.at(now, happening);
        }
    }

    /// An orderly reboot: master-fc cedes, for at most `limit` tenths of a second, then everything stops.
    pub(super) fn shut_down(&mut self, id: HostId, limit: u64) {
        let controller = DaemonId { host: id, kind: Kind::Controller };
        if !self.host(id).powered {
            return;
        }
        self.host_mut(id).daemon_mut(Kind::Controller).wanted = false;
        if self.host(id).daemon(Kind::Controller).life == Life::Down || limit == 0 {
            let off = self.between(8_000_000, 20_000_000);
            let name = self.host(id).name.to_string();
            self.notice(&name, "goes down for reboot".to_owned());
            self.lose_power(id, Some(off));
            return;
        }
        if limit == 1200 {
            let process = self.process(controller);
            self.input(controller, process, Input::Told(Heard::Stop));
        }
        let boot = self.host(id).boot;
        let step = HostStep::Shutdown(limit - 1);
        self.after(Duration::from_millis(100), Happening::Host(id, boot, step));
    }
}

impl Daemon {
    /// The process is no more.
    pub(super) fn forget_process(&mut self) {
        self.process += 1;
        self.life = Life::Down;
        self.machine = None;
        self.client = None;
        self.outbox.clear();
        self.deferred.clear();
        self.busy = false;
        self.writing = None;
        self.wake_at = None;
    }
}
