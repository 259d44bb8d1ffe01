//! A daemon's process around its machine: it hears, it carries out, it wakes, it dies and is started again.
//!
//! What the programs of the suite do in earnest, this does in simulated time: in the order of the actions, with files taking
//! a moment, and with a crash possible between any two of them.

use std::time::Duration;

use headship_core::controller::{Controller, Found};
use headship_core::duty::{self, DutyKeeper};
use headship_core::eligibility::HealthMonitor;
use headship_core::guard::Guard;
use headship_core::quorum::{ActionId, Event as QuorumEvent};
use headship_core::time::WallTime;

use super::client::Client;
use super::host::{DaemonId, HostId, HostStep, Input, Kind, Life, RunFault};
use super::machine::{Deed, Heard, Machine, Sight};
use super::world::{Happening, World};

/// systemd's `RestartSec=` of every program, and what it takes to notice and to start.
const RESTART: Duration = Duration::from_millis(100);

/// A machine that wants to be woken more often than this within a second spins.
const WAKES_A_SECOND: u32 = 400;

/// A machine that takes the disk more often than this within a second repeats in a spin what fails.
const FILES_A_SECOND: u32 = 100;

/// The wall clock when the simulation begins, in milliseconds.
const WALL: u64 = 1_700_000_000_000;

impl World {
    pub(super) fn process(&self, id: DaemonId) -> u64 {
        self.host(id.host).daemon(id.kind).process
    }

    pub(super) fn life(&self, id: DaemonId) -> Life {
        self.host(id.host).daemon(id.kind).life
    }

    pub(super) fn client_mut(&mut self, id: DaemonId) -> Option<&mut Client> {
        self.host_mut(id.host).daemon_mut(id.kind).client.as_mut()
    }

    /// Something reaches a process now.
    pub(super) fn input(&mut self, id: DaemonId, process: u64, input: Input) {
        self.at(self.now, Happening::Daemon(id, process, input));
    }

    pub(super) fn input_at(&mut self, at: Duration, id: DaemonId, process: u64, input: Input) {
        self.at(at, Happening::Daemon(id, process, input));
    }

    /// What a host's daemon says in the log.
    pub(super) fn who(&self, id: DaemonId) -> String {
        self.host(id.host).name.to_string()
    }

    pub(super) fn wall(&self, host: HostId) -> WallTime {
        let passed = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        WallTime(WALL.saturating_add(passed).saturating_add_signed(self.host(host).wall_offset_ms))
    }

    pub(super) fn daemon_input(&mut self, id: DaemonId, process: u64, input: Input) {
        if self.process(id) != process {
            return;
        }
        if self.host(id.host).frozen {
            self.defer(id.host, Happening::Daemon(id, process, input));
            return;
        }
        match self.life(id) {
            Life::Down => return,
            Life::Frozen => {
                self.host_mut(id.host).daemon_mut(id.kind).deferred.push(input);
                return;
            }
            Life::Hung if !input.is_of_the_client() => {
                self.host_mut(id.host).daemon_mut(id.kind).deferred.push(input);
                return;
            }
            Life::Hung | Life::Running => {}
        }
        match input {
            Input::Received(conn, message) => self.client_received(id, conn, message),
            Input::ClientTimer(timer) => self.client_timer(id, timer),
            Input::Wake(wake) => self.woken(id, wake),
            Input::Carry => self.carry_file(id),
            Input::UnitChanged(unit) => self.unit_seen(id, &unit, None),
            Input::Told(heard) => self.hear(id, heard),
        }
    }

    /// The quorum's events reach the machine.
    pub(super) fn tell(&mut self, id: DaemonId, event: QuorumEvent) {
        self.hear(id, Heard::Quorum(event));
    }

    fn woken(&mut self, id: DaemonId, wake: u64) {
        let second = self.now.as_secs();
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        if daemon.wake != wake {
            return;
        }
        daemon.wake_at = None;
        daemon.woken =
            if daemon.woken.0 == second { (second, daemon.woken.1 + 1) } else { (second, 0) };
        if daemon.woken.1 > WAKES_A_SECOND {
            self.violation(format!(
                "{} on {} spins: woken {WAKES_A_SECOND} times in a second",
                id.kind.name(),
                self.who(id)
            ));
        }
        self.hear(id, Heard::Timeout);
    }

    pub(super) fn hear(&mut self, id: DaemonId, heard: Heard) {
        if self.life(id) == Life::Hung {
            self.host_mut(id.host).daemon_mut(id.kind).deferred.push(Input::Told(heard));
            return;
        }
        let wall = self.wall(id.host);
        let now = self.now;
        self.trace_heard(id, &heard);
        // Extra calls must be harmless.
        let extra = self.chance(self.setup.extra_timeouts);
        let host = self.host_mut(id.host);
        let sight = Sight {
            now: host.clock.at(now),
            wall,
            permit: host.run.permit.clone(),
            closed: host.run.closed.clone().filter(|_| !host.run.closed_damaged),
            closed_damaged: host.run.closed_damaged,
        };
        let daemon = host.daemon_mut(id.kind);
        daemon.forget_answered(&heard);
        let Some(machine) = &mut daemon.machine else { return };
        if extra {
            machine.hear(sight.clone(), Heard::Timeout);
        }
        machine.hear(sight, heard);
        let deeds: Vec<Deed> = std::iter::from_fn(|| machine.poll_deed()).collect();
        for deed in &deeds {
            match deed {
                Deed::Service(action) => self.check_order(id, action),
                Deed::Ask(ask) => self.check_writes(id, ask),
                Deed::WritePermit { .. }
                | Deed::RemovePermit { .. }
                | Deed::WriteClosed { .. }
                | Deed::Remember(_)
                | Deed::Knock { .. }
                | Deed::Fence { .. }
                | Deed::StopFence { .. }
                | Deed::Reboot { .. }
                | Deed::Measure
                | Deed::PutHosts { .. }
                | Deed::NoteAgent { .. }
                | Deed::Follow(_)
                | Deed::Say(_)
                | Deed::Exit => {}
            }
        }
        self.host_mut(id.host).daemon_mut(id.kind).outbox.extend(deeds);
        self.carry_on(id);
        self.plan_wake(id);
        if id.kind == Kind::Controller {
            self.role_seen(id.host);
        }
        self.check_offices();
    }

    fn plan_wake(&mut self, id: DaemonId) {
        let late = self.between(0, 3000);
        let now = self.now;
        let host = self.host_mut(id.host);
        let wish = host.daemon(id.kind).machine.as_ref().and_then(Machine::poll_timeout);
        let at = wish.map(|at| host.clock.moment(at));
        let daemon = host.daemon_mut(id.kind);
        if daemon.machine.is_none() || daemon.wake_at == at && at.is_some() {
            return;
        }
        daemon.wake += 1;
        daemon.wake_at = at;
        let (wake, process) = (daemon.wake, daemon.process);
        match at {
            Some(at) => self.input_at(at.max(now) + late, id, process, Input::Wake(wake)),
            None if id.kind == Kind::Duty => {}
            None => {
                let who = self.who(id);
                self.violation(format!("{} on {who} wants never to be woken", id.kind.name()));
            }
        }
    }

    /// Carries out deeds in their order, up to one that takes the disk.
    fn carry_on(&mut self, id: DaemonId) {
        loop {
            let daemon = self.host_mut(id.host).daemon_mut(id.kind);
            if daemon.busy {
                return;
            }
            let Some(deed) = daemon.outbox.front() else { return };
            if deed.is_file() {
                daemon.busy = true;
                let process = daemon.process;
                let disk = self.between(200, 4000);
                self.input_at(self.now + disk, id, process, Input::Carry);
                return;
            }
            let Some(deed) = daemon.outbox.pop_front() else { return };
            self.carry_out(id, deed);
        }
    }

    fn carry_file(&mut self, id: DaemonId) {
        let second = self.now.as_secs();
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        daemon.busy = false;
        daemon.filed =
            if daemon.filed.0 == second { (second, daemon.filed.1 + 1) } else { (second, 0) };
        if daemon.filed.1 > FILES_A_SECOND {
            self.violation(format!(
                "{} on {} spins: takes the disk {FILES_A_SECOND} times in a second",
                id.kind.name(),
                self.who(id)
            ));
        }
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        if let Some(deed) = daemon.outbox.pop_front() {
            self.carry_out(id, deed);
        }
        self.carry_on(id);
    }

    fn carry_out(&mut self, id: DaemonId, deed: Deed) {
        match deed {
            Deed::Ask(ask) => {
                self.trace_ask(id, &ask);
                self.client_ask(id, ask);
            }
            Deed::WritePermit { id: action, permit } => {
                let fresh = self.host(id.host).run.permit.as_ref().map(|old| old.epoch)
                    != Some(permit.epoch);
                if fresh && self.host(id.host).run.fault.is_none() {
                    self.notice(&self.who(id), format!("permit of epoch {}", permit.epoch));
                }
                let now = self.now;
                let error = self.write_file(id, |run| {
                    run.last_permit = Some(permit.clone());
                    (run.permit, run.permit_at) = (Some(permit), now);
                });
                self.file_done(id, Heard::PermitWritten { id: action, error });
            }
            Deed::RemovePermit { id: action } => self.remove_permit(id, action),
            Deed::WriteClosed { id: action, closed } => {
                let epoch = closed.epoch;
                let error = self.write_file(id, |run| {
                    (run.closed, run.closed_damaged) = (Some(closed), false);
                });
                if error.is_none() {
                    self.notice(&self.who(id), format!("gate closed for epoch {epoch}"));
                }
                self.file_done(id, Heard::ClosedWritten { id: action, error });
            }
            Deed::Remember(remembered) => self.remember(id, remembered),
            Deed::Service(action) if id.kind == Kind::Follower => self.agent_order(id, action),
            Deed::Service(action) => self.unit_order(id, action),
            Deed::PutHosts { id: action, address, only_look } => {
                self.put_hosts(id, action, address, only_look);
            }
            Deed::NoteAgent { id: action, note } => {
                let error = self.host(id.host).run.fault.map(RunFault::text);
                let follow = &mut self.host_mut(id.host).follow;
                follow.note_failed = error.is_some();
                if error.is_none() {
                    follow.note = Some(note);
                }
                self.file_done(id, Heard::AgentNoted { id: action, error });
            }
            Deed::Follow(followed) => self.host_mut(id.host).follow.followed = Some(followed),
            Deed::Knock { id: action, node, limit } => {
                self.knock_at(id, action, node.as_str(), limit);
            }
            Deed::Fence { id: action, method, victim, limit } => {
                self.ask_fence(id, action, method, victim, limit);
            }
            Deed::StopFence { id: action } => self.stop_fence(id, action),
            Deed::Reboot { why } => {
                self.notice(&self.who(id), format!("reboots: {why}"));
                let off = self.between(8_000_000, 20_000_000);
                self.lose_power(id.host, Some(off));
            }
            Deed::Measure => self.measure(id),
            Deed::Say(line) => self.say(id, &line),
            Deed::Exit => self.exit(id),
        }
    }

    fn remove_permit(&mut self, id: DaemonId, action: ActionId) {
        let run = &self.host(id.host).run;
        let (there, read_only) = (run.permit.is_some(), run.fault == Some(RunFault::ReadOnly));
        let error = (there && read_only).then(|| RunFault::ReadOnly.text());
        if there && error.is_none() {
            self.notice(&self.who(id), "permit removed".to_owned());
            self.host_mut(id.host).run.permit = None;
            self.files_changed(id);
        }
        self.file_done(id, Heard::PermitWritten { id: action, error });
    }

    fn write_file(
        &mut self,
        id: DaemonId,
        write: impl FnOnce(&mut super::host::Run),
    ) -> Option<String> {
        let run = &mut self.host_mut(id.host).run;
        if let Some(fault) = run.fault {
            return Some(fault.text());
        }
        write(run);
        self.files_changed(id);
        None
    }

    pub(super) fn file_done(&mut self, id: DaemonId, heard: Heard) {
        let process = self.process(id);
        let back = self.between(10, 500);
        self.input_at(self.now + back, id, process, Input::Told(heard));
    }

    /// Whoever watches `/run/headship` is told.
    fn files_changed(&mut self, by: DaemonId) {
        self.files_changed_on(by.host, Some(by.kind));
    }

    /// The same, by one of the daemons or by somebody else.
    pub(super) fn files_changed_on(&mut self, host: HostId, by: Option<Kind>) {
        for kind in [Kind::Controller, Kind::Guard, Kind::Duty] {
            if Some(kind) != by {
                let id = DaemonId { host, kind };
                let (process, way) = (self.process(id), self.between(100, 3000));
                self.input_at(self.now + way, id, process, Input::Told(Heard::Files));
            }
        }
    }

    fn measure(&mut self, id: DaemonId) {
        let host = self.host(id.host);
        if !host.measuring_hangs {
            let (measured, process) = (host.measured.clone(), self.process(id));
            let taken = self.between(1000, 20_000);
            let input = Input::Told(Heard::Measured(measured));
            self.input_at(self.now + taken, id, process, input);
        }
    }

    /// The program ends by itself.
    fn exit(&mut self, id: DaemonId) {
        self.notice(&self.who(id), format!("{} exits", id.kind.name()));
        self.client_leaves(id, true);
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        daemon.forget_process();
        let wanted_again = daemon.wanted;
        if id.kind == Kind::Duty {
            self.duty_ended(id.host, false);
        } else if wanted_again {
            self.plan_start(id);
        }
    }

    /// A process is there: it reads what lies on the host, and connects.
    pub(super) fn start_daemon(&mut self, id: DaemonId) {
        let config = self.config_for(id.host);
        let duty = duty::as_service(&config, duty::driver(true, Vec::new));
        let timeout = config.timing.session;
        let host = self.host(id.host);
        let me = host.identity(id.kind, host.daemon(id.kind).process);
        let damaged = host.run.closed_damaged;
        let (permit, closed) =
            (host.run.permit.clone(), host.run.closed.clone().filter(|_| !damaged));
        let machine = match id.kind {
            Kind::Controller => {
                let found = Found { permit, closed, remembered: host.remembered.clone() };
                Machine::Controller(Box::new(Controller::new(config, me, found, duty)))
            }
            Kind::Guard => Machine::Guard(Box::new(Guard::new(config, me, permit, closed, duty))),
            Kind::Monitor => Machine::Monitor(Box::new(HealthMonitor::new(config.health, me))),
            Kind::Duty => Machine::Duty(Box::new(DutyKeeper::new(&config, me, permit, closed))),
            Kind::Follower => Machine::Follower(Box::new(self.new_follower(id, &config, me))),
        };
        let first = self.pick(3);
        let now = self.now;
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        daemon.machine = Some(machine);
        daemon.client = Some(Client::new(timeout, now, first));
        daemon.life = Life::Running;
        if id.kind == Kind::Controller {
            self.host_mut(id.host).role = "out";
        }
        self.trace(&self.who(id), || format!("{} starts", id.kind.name()));
        self.client_connect(id);
        self.hear(id, Heard::Timeout);
        if damaged {
            self.hear(id, Heard::Files);
        }
    }

    /// A process dies; systemd starts it again, if it is wanted.
    pub(super) fn kill_daemon(&mut self, id: DaemonId, how: &str) {
        if self.life(id) == Life::Down {
            return;
        }
        self.notice(&self.who(id), format!("{} {how}", id.kind.name()));
        self.client_leaves(id, false);
        let now = self.now;
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        daemon.forget_process();
        daemon.deaths.push(now);
        if id.kind == Kind::Duty {
            self.duty_ended(id.host, true);
            return;
        }
        let timing = self.config_for(id.host).timing;
        let again = timing.lease + timing.kill;
        let kept = self.host(id.host).run.permit.as_ref().is_some_and(|it| it.kept.is_some());
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        daemon.deaths.retain(|at| now.saturating_sub(*at) < again);
        if id.kind == Kind::Guard && daemon.deaths.len() > 1 && daemon.wanted && !kept {
            self.notice(&self.who(id), "reboots: the guard failed again".to_owned());
            let off = self.between(8_000_000, 20_000_000);
            self.lose_power(id.host, Some(off));
            return;
        }
        if daemon.wanted {
            self.plan_start(id);
        }
    }

    /// systemd starts a program in a moment.
    pub(super) fn plan_start(&mut self, id: DaemonId) {
        let pause = RESTART + self.between(20_000, 300_000);
        let (boot, process) = (self.host(id.host).boot, self.process(id));
        self.after(pause, Happening::Host(id.host, boot, HostStep::Start(id.kind, process)));
    }

    /// A process stands still, as a whole (SIGSTOP) or in its loop only; its watchdog ends that.
    pub(super) fn freeze_daemon(&mut self, id: DaemonId, life: Life, watchdog: bool) {
        if self.life(id) != Life::Running {
            return;
        }
        let word = if life == Life::Hung { "hangs" } else { "is frozen" };
        self.notice(&self.who(id), format!("{} {word}", id.kind.name()));
        self.host_mut(id.host).daemon_mut(id.kind).life = life;
        if watchdog {
            // It gave its last sign of life up to half the time ago.
            let half = id.kind.watchdog() / 2;
            let left = half + self.between(0, u64::try_from(half.as_micros()).unwrap_or(0));
            let (boot, process) = (self.host(id.host).boot, self.process(id));
            let step = HostStep::Watchdog(id.kind, process);
            self.after(left, Happening::Host(id.host, boot, step));
        }
    }

    pub(super) fn thaw_daemon(&mut self, id: DaemonId) {
        if !matches!(self.life(id), Life::Frozen | Life::Hung) {
            return;
        }
        self.notice(&self.who(id), format!("{} is thawed", id.kind.name()));
        let now = self.now;
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        (daemon.life, daemon.thawed_at) = (Life::Running, now);
        let process = daemon.process;
        for input in std::mem::take(&mut daemon.deferred) {
            self.input(id, process, input);
        }
    }
}
