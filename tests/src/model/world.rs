//! Everything that no daemon decides: faults, repairs, sessions, fence agents, time, commands.
//!
//! Decides what a fault does to a host. Repairs are free and never due, so that every run
//! with a repair stands beside the same run without it.

use super::action::Action;
use super::rules::{MARGIN, Rule};
use super::scope::{Command, Fault, Scope};
use super::state::{
    Controller, Guard, Host, Kind, Lock, Node, Permit, Role, Sender, Service, Settings, State,
    Write, Yes,
};

/// Every write that can be under way when something happens.
const KINDS: [Kind; 6] = [
    Kind::Renew,
    Kind::Claim { over: false },
    Kind::Claim { over: true },
    Kind::Office,
    Kind::Cede,
    Kind::Six,
];

impl Scope {
    /// What can happen at any time, and what time itself does not wait for.
    pub(super) fn free_steps(&self, state: &State, steps: &mut Vec<Action>) {
        for node in self.nodes().filter(|node| Some(*node) != self.dead) {
            let host = state.host(node);
            for over in [false, true] {
                if self.may_send(state, node, Kind::Claim { over }) {
                    steps.push(Action::Send(node, Kind::Claim { over }));
                }
            }
            if self.may_take_unclaimed(state, node) {
                steps.push(Action::TakeUnclaimed(node));
            }
            if !self.has(Rule::OnlyRenew) && host.talks() && host.controller.role == Role::Holder {
                steps.push(Action::CountRead(node));
            }
            if !self.has(Rule::CededWithDelete)
                && host.talks()
                && state.lock == Some(Lock { owner: node, old: false })
                && state.active.ceded.is_some()
                && !state.claims(node)
            {
                steps.push(Action::DeleteLock(node));
            }
            if host.order && host.service == Service::Stopped && host.up {
                steps.push(Action::Execute(node));
            }
            if host.service == Service::Stopping {
                steps.push(Action::Stopped(node));
            }
            if self.may_fence(state, node) {
                steps.push(Action::Fence(node));
            }
            self.repairs(state, node, steps);
        }
        if state.lock.is_some_and(|lock| lock.old) {
            steps.push(Action::ExpireOld);
        }
    }

    /// Repairs of one host, and what the quorum does about its session.
    fn repairs(&self, state: &State, node: Node, steps: &mut Vec<Action>) {
        let host = state.host(node);
        if host.off.is_some() {
            steps.push(Action::Off(node));
        }
        if !host.up {
            steps.push(Action::Boot(node));
        }
        if host.cut {
            steps.push(Action::Uncut(node));
        }
        if host.lags {
            steps.push(Action::CaughtUp(node));
        }
        if host.controller.frozen {
            steps.push(Action::Thaw(node));
            steps.push(Action::Restart(node));
        }
        if host.guard.away.is_some() {
            steps.push(Action::GuardBack(node));
        }
        if host.controller.session && (host.cut || host.controller.frozen) {
            steps.push(Action::Expire(node));
        }
        if let Some(write) = host.write
            && !write.done
        {
            steps.push(Action::Land(node));
        }
    }

    /// The faults and commands that are left.
    pub(super) fn mischief(&self, state: &State, steps: &mut Vec<Action>) {
        for node in self.nodes().filter(|node| Some(*node) != self.dead) {
            if state.faults_left > 0 && state.host(node).up {
                for fault in &self.faults {
                    self.faults_of(state, node, *fault, steps);
                }
            }
            if state.commands_left > 0
                && self.commands.contains(&Command::Cede)
                && state.host(node).controller.role == Role::Holder
                && !state.host(node).controller.frozen
            {
                steps.push(Action::Command(Command::Cede, node));
            }
            if state.commands_left > 0
                && self.commands.contains(&Command::Failover)
                && self.may_claim_by_order(state, node)
            {
                steps.push(Action::Command(Command::Failover, node));
            }
        }
        let pausable = state.commands_left > 0 && state.settings == Settings::Automatic;
        for command in [Command::Pause, Command::PauseKeep] {
            if pausable && self.commands.contains(&command) {
                steps.push(Action::Command(command, 0));
            }
        }
        let confirm = state.commands_left > 0 && self.commands.contains(&Command::Confirm);
        if confirm && self.may_confirm(state) {
            steps.push(Action::Command(Command::Confirm, state.active.node));
        }
        let confirm_keep = self.commands.contains(&Command::ConfirmKeep);
        if state.commands_left > 0 && confirm_keep && self.may_confirm_keep(state) {
            steps.push(Action::Command(Command::ConfirmKeep, state.active.node));
        }
        match state.settings {
            Settings::Paused | Settings::Keep | Settings::KeepAcknowledged => {
                steps.push(Action::Resume);
            }
            Settings::Automatic | Settings::Resuming => {}
        }
    }

    /// One kind of fault of one host, with each write that can be under way.
    fn faults_of(&self, state: &State, node: Node, fault: Fault, steps: &mut Vec<Action>) {
        let host = state.host(node);
        let (alone, with_write) = match fault {
            Fault::Cut => (!host.cut, !host.cut),
            Fault::Lag => (host.reads(), false),
            Fault::Freeze => (!host.controller.frozen, !host.controller.frozen),
            Fault::Kill => (!host.controller.frozen, !host.controller.frozen),
            Fault::GuardAway => (host.guard.away.is_none(), false),
            Fault::BothAway => (host.guard.away.is_none() && !host.controller.frozen, false),
            Fault::SessionLost => (host.talks(), false),
            Fault::Unknown => (false, host.talks()),
            Fault::PowerLoss => (true, false),
            Fault::SlowClock => (!state.slow_clock, false),
            Fault::ActiveLost => (node == 0 && !state.active.missing, false),
        };
        if alone {
            steps.push(Action::Fault(fault, node, None));
        }
        if with_write && self.late_writes && host.write.is_none() {
            for kind in KINDS {
                if self.may_send(state, node, kind) {
                    steps.push(Action::Fault(fault, node, Some(kind)));
                }
            }
        }
    }

    /// Carries out a fault.
    pub(super) fn fail(&self, state: &mut State, fault: Fault, node: Node, kind: Option<Kind>) {
        state.faults_left -= 1;
        let sender = match fault {
            Fault::Cut | Fault::Unknown => Sender::GaveUp,
            Fault::Kill | Fault::PowerLoss => Sender::Gone,
            Fault::Freeze
            | Fault::Lag
            | Fault::GuardAway
            | Fault::BothAway
            | Fault::SessionLost
            | Fault::SlowClock
            | Fault::ActiveLost => Sender::Awaits,
        };
        if let Some(kind) = kind {
            let write = Write::sent(kind, sender, state, node);
            state.host_mut(node).write = Some(write);
        }
        match fault {
            Fault::Kill | Fault::SessionLost | Fault::Unknown => {}
            Fault::Cut
            | Fault::Lag
            | Fault::Freeze
            | Fault::GuardAway
            | Fault::BothAway
            | Fault::PowerLoss
            | Fault::SlowClock
            | Fault::ActiveLost => state.host_mut(node).harmed = true,
        }
        let host = state.host_mut(node);
        match fault {
            Fault::Cut => {
                host.cut = true;
                host.write = host.write.and_then(give_up);
            }
            Fault::Lag => host.lags = true,
            Fault::Freeze => host.controller.frozen = true,
            Fault::Kill => self.replace_controller(state, node),
            Fault::GuardAway | Fault::BothAway => {
                host.controller.frozen |= fault == Fault::BothAway;
                if host.guard.failed_lately > 0 {
                    self.lose_power(state, node);
                } else {
                    host.guard.away = Some(0);
                }
            }
            Fault::SessionLost => self.expire(state, node),
            Fault::Unknown => {}
            Fault::PowerLoss => self.lose_power(state, node),
            Fault::SlowClock => {
                host.slow = 2 * MARGIN;
                state.slow_clock = true;
            }
            Fault::ActiveLost => {
                state.active.missing = true;
                state.active.boot_runs = false;
                state.active.ceded = None;
                state.active.claimant = None;
                self.bump_active(state, Node::MAX);
            }
        }
    }

    /// A new master-fc process, whose predecessor's session and writes live on for a while.
    pub(super) fn replace_controller(&self, state: &mut State, node: Node) {
        for other in self.nodes() {
            if let Some(off) = &mut state.host_mut(other).off
                && off.by == Some(node)
            {
                off.by = None;
            }
        }
        if let Some(lock) = &mut state.lock {
            lock.old |= lock.owner == node;
        }
        let host = state.host_mut(node);
        host.controller = Controller::NEW;
        host.lags = false;
        host.write = host.write.filter(|write| !write.done).map(|mut write| {
            write.sender = Sender::Gone;
            write
        });
        if !self.has(Rule::NoInventedD) && host.permit.present {
            host.permit.left = self.figures.lease;
        }
        self.drop_hopeless(state, node);
    }

    /// A write whose versions are gone, and whom nobody awaits, is as good as never sent.
    fn drop_hopeless(&self, state: &mut State, node: Node) {
        if self.has(Rule::ActiveVersion) {
            let host = state.host_mut(node);
            host.write =
                host.write.filter(|write| write.sender == Sender::Awaits || write.active_holds);
        }
    }

    /// The host is dead; what is under `/run` is gone, and its boot with it.
    pub(super) fn lose_power(&self, state: &mut State, node: Node) {
        self.replace_controller(state, node);
        let active = &mut state.active;
        active.boot_runs &= active.node != node;
        if let Some(claimant) = &mut active.claimant {
            claimant.boot_runs &= claimant.node != node;
        }
        let host = state.host_mut(node);
        *host = Host {
            promised: host.promised,
            write: host.write,
            slow: host.slow,
            off: host.off,
            harmed: true,
            ..Host::DOWN
        };
    }

    /// The server ends a session, and with it its lock and what is under way in it.
    pub(super) fn expire(&self, state: &mut State, node: Node) {
        if state.lock == Some(Lock { owner: node, old: false }) {
            state.lock = None;
        }
        let host = state.host_mut(node);
        host.controller.session = false;
        host.write = host.write.filter(|write| write.sender == Sender::Gone);
    }

    /// A fence agent has done its work.
    fn switch_off(&self, state: &mut State, node: Node) {
        let Some(off) = state.host(node).off else { return };
        if state.host(node).up {
            self.lose_power(state, node);
        }
        state.host_mut(node).off = None;
        if let Some(by) = off.by {
            let controller = &mut state.host_mut(by).controller;
            controller.yes = if off.stale { Yes::Stale } else { Yes::Valid };
        }
    }

    /// Carries out a step.
    pub(super) fn carry_out(&self, state: &mut State, action: Action) {
        match action {
            Action::Tick(slow) => self.tick(state, slow),
            Action::Connect(node) => {
                let host = state.host_mut(node);
                host.controller.session = true;
                host.controller.role = Role::Standby;
                host.controller.keep_seen = false;
                host.lags = false;
            }
            Action::Look(node) => self.look(state, node),
            Action::ReadSettings(node) => {
                let keep = state.settings == Settings::Keep;
                let controller = &mut state.host_mut(node).controller;
                controller.keep_seen = keep && controller.role == Role::Holder;
            }
            Action::Send(node, kind) => self.send(state, node, kind),
            Action::TakeUnclaimed(node) => {
                state.lock = Some(Lock { owner: node, old: false });
                self.send(state, node, Kind::Office);
            }
            Action::Land(node) => self.land(state, node),
            Action::Answer(node) => {
                if let Some(write) = state.host_mut(node).write.take() {
                    self.learn(state, node, write.kind, write.epoch, write.age);
                }
            }
            Action::CountRead(node) => state.host_mut(node).permit.left = self.figures.lease,
            Action::DeleteLock(_) => state.lock = None,
            Action::AcknowledgeKeep(node) => self.acknowledge_keep(state, node),
            Action::AcknowledgeResume(_) => {
                state.settings = Settings::Automatic;
                self.settings_changed(state);
            }
            Action::Order(node) => state.host_mut(node).order = true,
            Action::Execute(node) => self.execute(state, node),
            Action::Started(node) => state.host_mut(node).service = Service::Running,
            Action::Stopped(node) | Action::ControllerKills(node) | Action::GuardKills(node) => {
                state.host_mut(node).service = Service::Stopped;
            }
            Action::GuardStops(node) => {
                let host = state.host_mut(node);
                host.service = match host.service {
                    Service::Starting | Service::Stopped => Service::Stopped,
                    Service::Running | Service::Stopping => Service::Stopping,
                };
            }
            Action::GuardCloses(node) => self.close(state, node),
            Action::GuardPromises(node) => state.host_mut(node).promised = 0,
            Action::GuardClosesLate(node) => state.host_mut(node).closed = 0,
            Action::GuardBack(node) => self.guard_back(state, node),
            Action::Expire(node) => self.expire(state, node),
            Action::ExpireOld => self.expire_old(state),
            Action::Fence(node) => self.fence(state, node),
            Action::Hear(node) => self.hear(state, node),
            Action::Off(node) => self.switch_off(state, node),
            Action::Fault(fault, node, kind) => self.fail(state, fault, node, kind),
            Action::Uncut(node) => state.host_mut(node).cut = false,
            Action::CaughtUp(node) => state.host_mut(node).lags = false,
            Action::Thaw(node) => state.host_mut(node).controller.frozen = false,
            Action::Restart(node) => self.replace_controller(state, node),
            Action::Boot(node) => {
                let host = state.host_mut(node);
                host.up = true;
                host.guard = Guard { away: None, failed_lately: 0 };
            }
            Action::Command(command, node) => self.command(state, command, node),
            Action::Resume => self.resume(state),
        }
        self.tidy(state);
    }

    /// A late write reaches the quorum.
    fn land(&self, state: &mut State, node: Node) {
        let Some(write) = state.host(node).write else { return };
        let versions = super::quorum::Versions {
            active: write.active_holds,
            lease: write.lease_holds,
            settings: write.settings_hold,
        };
        let old = write.sender == Sender::Gone;
        let done = self.commit(state, node, write.kind, versions, old);
        if done {
            self.forget(state, node, write.kind);
        }
        let host = state.host_mut(node);
        host.write = match write.sender {
            Sender::Awaits if done => Some(Write { done: true, ..write }),
            Sender::Awaits | Sender::GaveUp | Sender::Gone => None,
        };
    }

    /// The session of a process that is gone ends, and with it what is under way in it.
    fn expire_old(&self, state: &mut State) {
        if let Some(lock) = state.lock.filter(|lock| lock.old) {
            state.lock = None;
            let host = state.host_mut(lock.owner);
            host.write = host.write.filter(|write| write.sender != Sender::Gone);
        }
    }

    /// Time passes, for all but a slow clock.
    fn tick(&self, state: &mut State, slow: Option<Node>) {
        for node in self.nodes() {
            if Some(node) == slow {
                state.host_mut(node).slow -= 1;
            } else {
                self.tick_host(state.host_mut(node));
            }
        }
    }

    /// An operator's command.
    fn command(&self, state: &mut State, command: Command, node: Node) {
        state.commands_left -= 1;
        match command {
            Command::Cede => {
                state.host_mut(node).harmed = true;
                self.begin_cession(state, node);
            }
            Command::Failover => {
                let holder = state.active.node;
                state.host_mut(holder).harmed = true;
                return self.send(state, node, Kind::Claim { over: true });
            }
            Command::Pause => state.settings = Settings::Paused,
            Command::PauseKeep => state.settings = Settings::Keep,
            Command::Confirm => {
                state.confirm = Yes::Valid;
                return;
            }
            Command::ConfirmKeep => state.kept_off = true,
        }
        self.settings_changed(state);
    }

    /// `resume`.
    fn resume(&self, state: &mut State) {
        let kept = state.settings == Settings::KeepAcknowledged;
        state.settings = if kept && self.has(Rule::ResumeWaits) {
            Settings::Resuming
        } else {
            Settings::Automatic
        };
        self.settings_changed(state);
    }

    /// Forgets what can make no difference any more, so that equal situations are equal states.
    fn tidy(&self, state: &mut State) {
        if state.confirm == Yes::Stale && self.has(Rule::ConfirmBound) {
            state.confirm = Yes::None;
        }
        if state.settings != Settings::Resuming {
            state.kept_off = false;
        }
        for node in self.nodes() {
            let host = state.host_mut(node);
            if !host.up {
                host.controller = Controller::NEW;
            }
            if host.controller.role == Role::Holder {
                host.controller.active_age = 0;
            }
            if !host.permit.present && host.permit.left == 0 {
                host.permit = Permit::NONE;
            }
        }
    }
}

/// The process of a write whose connection is gone will never know.
fn give_up(write: Write) -> Option<Write> {
    let pending = !write.done;
    pending.then_some(match write.sender {
        Sender::Awaits => Write { sender: Sender::GaveUp, ..write },
        Sender::GaveUp | Sender::Gone => write,
    })
}
