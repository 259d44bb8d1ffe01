//! One host: the guard, its promise, the gate, and the services.
//!
//! Decides what runs on a host. The moving services are one service here, since every rule treats
//! them alike. A guard that has a network reads what is newest: what delays it is being away.

use super::action::Action;
use super::rules::{Rule, gate_admits};
use super::scope::Scope;
use super::state::{Guard, Host, KEPT, Node, Permit, Service, State};

impl Host {
    /// The guard runs.
    const fn guarded(&self) -> bool {
        self.up && self.guard.away.is_none()
    }

    /// A start is to be seen, or under way.
    fn has_service(&self) -> bool {
        self.service != Service::Stopped
    }
}

impl Scope {
    /// Whether the guard owes a promise of `active`'s epoch, or of one that has closed late.
    fn owes(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let known = !state.active.missing || state.active.claimant.is_some();
        let own = state.holds_unclaimed(node) && self.has(Rule::NoOwnPromise);
        host.guarded() && !host.cut && known && !own
    }

    /// Whether the guard has to prepare its promise.
    fn may_close(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let closes = host.closed > 0 && self.has(Rule::PromiseClosesFirst);
        let stops = match host.service {
            Service::Running => self.has(Rule::GuardStopsAtClaim),
            Service::Starting => self.has(Rule::PromiseReplaces),
            Service::Stopped | Service::Stopping => false,
        };
        self.owes(state, node) && host.promised > 0 && (closes || stops)
    }

    /// The first part of a promise.
    pub(super) fn close(&self, state: &mut State, node: Node) {
        let host = state.host_mut(node);
        if self.has(Rule::PromiseClosesFirst) {
            host.closed = 0;
        }
        match host.service {
            Service::Running if self.has(Rule::GuardStopsAtClaim) => {
                host.service = Service::Stopping;
            }
            Service::Starting if self.has(Rule::PromiseReplaces) => {
                host.service = Service::Stopped;
            }
            Service::Stopped | Service::Starting | Service::Running | Service::Stopping => {}
        }
    }

    /// Whether the guard may write its promise.
    fn may_promise(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let closed = host.closed == 0 || !self.has(Rule::PromiseClosesFirst);
        let unseen = !state.runs(node) || !self.has(Rule::PromiseVerifies);
        let replaced = host.service != Service::Starting || !self.has(Rule::PromiseReplaces);
        self.owes(state, node) && host.promised > 0 && closed && unseen && replaced
    }

    /// Whether `closed` lags behind the promise.
    fn may_close_late(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        !self.has(Rule::PromiseClosesFirst)
            && self.owes(state, node)
            && host.promised == 0
            && host.closed > 0
    }

    /// What a guard does without delay, and what holds up time on its host.
    pub(super) fn guard_work(&self, state: &State, node: Node, work: &mut Vec<Action>) {
        let host = state.host(node);
        let out_of_time = host.up && host.has_service() && host.permit.left == 0;
        if out_of_time && host.guarded() && self.has(Rule::GuardKills) {
            work.push(Action::GuardKills(node));
        }
        if out_of_time && !host.controller.frozen && self.has(Rule::ControllerKills) {
            work.push(Action::ControllerKills(node));
        }
        if host.guarded()
            && !host.permit.present
            && (host.service == Service::Running || host.service == Service::Starting)
        {
            work.push(Action::GuardStops(node));
        }
        if self.may_close(state, node) {
            work.push(Action::GuardCloses(node));
        }
        if self.may_promise(state, node) {
            work.push(Action::GuardPromises(node));
        }
        if self.may_close_late(state, node) {
            work.push(Action::GuardClosesLate(node));
        }
        if host.service == Service::Starting {
            work.push(Action::Started(node));
        }
        if host.guard.away.is_some_and(|ticks| ticks >= self.figures.guard_back(self.rules)) {
            work.push(Action::GuardBack(node));
        }
    }

    /// A new guard process; with no permit it knows of no D, and no grace.
    pub(super) fn guard_back(&self, state: &mut State, node: Node) {
        let lately = self.figures.lease + self.figures.kill;
        let host = state.host_mut(node);
        host.guard = Guard { away: None, failed_lately: lately };
        if !host.permit.present {
            host.permit = Permit::NONE;
        }
    }

    /// PID 1 executes the start, if the gate lets it.
    pub(super) fn execute(&self, state: &mut State, node: Node) {
        let host = state.host_mut(node);
        host.order = false;
        let permit = host.permit.present.then_some((host.permit.epoch, host.permit.left));
        if gate_admits(self.rules, permit, host.closed) {
            host.service = Service::Starting;
        }
    }

    /// A tick of this host's clock.
    pub(super) fn tick_host(&self, host: &mut Host) {
        let longest = self.figures.longest();
        let controller = &mut host.controller;
        controller.active_age = (controller.active_age + 1).min(longest);
        controller.lease_age = (controller.lease_age + 1).min(longest);
        if controller.lock_gone > 0 {
            controller.lock_gone = (controller.lock_gone + 1).min(longest + 1);
        }
        if host.permit.left != KEPT {
            host.permit.left = host.permit.left.saturating_sub(1);
        }
        if let Some(ticks) = &mut host.guard.away {
            *ticks += 1;
        }
        host.guard.failed_lately = host.guard.failed_lately.saturating_sub(1);
        if let Some(write) = &mut host.write {
            write.age = (write.age + 1).min(self.figures.lease);
        }
    }
}
