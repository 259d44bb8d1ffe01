//! The invariants of ARCHITECTURE.md, checked against what the simulation knows and no daemon can.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::controller::Controller;
use headship_core::epoch::{Epoch, Incarnation};
use headship_core::lease;
use headship_core::record::{self, Active, Answer, Key, Lease, Phase, Promise, SwitchoverOrder};
use headship_core::services::{Order, ServiceAction};

use super::host::{DaemonId, HostId, Kind, Life};
use super::machine::Machine;
use super::tree::{Change, Tree};
use super::world::World;

/// What a file's outcome takes to come back.
const WRITTEN: Duration = Duration::from_millis(20);

/// What the checks remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Checker {
    pub(super) violation: Option<String>,
    /// The highest epoch of an office, and its incarnation.
    highest: Option<(Incarnation, Epoch)>,
    /// The highest epoch that was renewed.
    renewed: Epoch,
    /// What each machine has promised.
    promised: BTreeMap<String, (Incarnation, Epoch)>,
    /// How often office was taken, and services started.
    pub(super) offices: u64,
    pub(super) starts: u64,
}

fn parse_active(tree: &Tree) -> Option<Active> {
    record::parse(&Key::Active, &tree.get(&Key::Active)?.data).ok()
}

impl World {
    /// A transaction was decided.
    pub(super) fn decided(&mut self, before: &Tree, changes: &[Change]) {
        for change in changes {
            match (&change.key, &change.node) {
                (Key::Active, Some(node)) => {
                    if let Ok(active) = record::parse::<Active>(&Key::Active, &node.data) {
                        self.office_written(parse_active(before).as_ref(), &active);
                    }
                }
                (Key::Promise(_), Some(node)) => {
                    if let Ok(promise) = record::parse::<Promise>(&change.key, &node.data) {
                        self.promised(promise);
                    }
                }
                // Destroyed together with `active`, it leaves a headnode that was away without any number to go by.
                (Key::Lease, node) => {
                    let lease = node
                        .as_ref()
                        .and_then(|node| record::parse::<Lease>(&Key::Lease, &node.data).ok());
                    let known = self.checker.renewed;
                    self.checker.renewed = lease.map_or(Epoch(0), |lease| lease.epoch.max(known));
                }
                (Key::Switchover, Some(node)) => {
                    let order = record::parse::<SwitchoverOrder>(&change.key, &node.data);
                    match order.ok().and_then(|order| order.answer) {
                        Some(Answer::Accepted) => {
                            self.notice("quorum", "the order is accepted".to_owned());
                        }
                        Some(Answer::Refused { why }) => {
                            self.notice("quorum", format!("the order is refused: {why}"));
                        }
                        None => {}
                    }
                }
                (_, Some(_) | None) => {}
            }
        }
    }

    fn office_written(&mut self, before: Option<&Active>, active: &Active) {
        let (incarnation, epoch) = (active.incarnation.clone(), active.epoch);
        // Where somebody destroyed the record, an office that never was renewed may be forgotten: it never had a permit.
        let renewed = Some((incarnation.clone(), self.checker.renewed));
        let known = if before.is_some() { &self.checker.highest } else { &renewed };
        if known.as_ref().is_some_and(|(known, highest)| *known == incarnation && epoch < *highest)
        {
            self.violation(format!("invariant 5: `active` went back to epoch {epoch}"));
            return;
        }
        if before.is_none() {
            self.checker.highest = Some((incarnation.clone(), epoch));
        }
        let old_claimant = before.and_then(|old| old.claimant.as_ref());
        let old_phase = before.map(|old| &old.phase);
        match (&active.claimant, &active.holder) {
            (Some(claimant), _) if old_claimant.map(|old| &old.node) != Some(&claimant.node) => {
                self.notice("quorum", format!("{} claims over epoch {epoch}", claimant.node));
            }
            (Some(_), _) => {}
            (None, Some(holder)) => {
                if let Phase::Ceded { to, .. } = &active.phase {
                    let to = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
                    self.notice("quorum", format!("{} ceded epoch {epoch}{to}", holder.node));
                } else if before.is_none_or(|old| old.epoch != epoch || old.claimant.is_some()) {
                    let node = holder.node.clone();
                    self.notice("quorum", format!("{node} holds office of epoch {epoch}"));
                    self.office_taken(epoch);
                    self.checker.highest = Some((incarnation, epoch));
                } else if before.and_then(|old| old.holder.as_ref()) != Some(holder) {
                    let node = holder.node.clone();
                    self.notice("quorum", format!("{node} succeeds itself in epoch {epoch}"));
                } else if old_phase != Some(&active.phase) {
                    let (node, phase) = (holder.node.clone(), active.phase.clone());
                    let word = record::write(&phase).replace('"', "");
                    self.notice("quorum", format!("{node} is {word} in epoch {epoch}"));
                }
            }
            (None, None) => {}
        }
    }

    /// Invariant 4: at the moment somebody takes office, nothing of an earlier one runs anywhere or can be started.
    fn office_taken(&mut self, epoch: Epoch) {
        self.checker.offices += 1;
        for host in self.host_ids() {
            if let Some(service) = self.running_on(host) {
                let name = self.host(host).name.clone();
                self.violation(format!(
                    "invariant 4: epoch {epoch} begins while {service} still runs on {name}"
                ));
            }
            let state = self.host(host);
            let (run, boot) = (&state.run, state.boot_id());
            let now = state.clock.at(self.now);
            let open = lease::gate(run.permit.as_ref(), run.closed.as_ref(), &boot, now).is_ok();
            if open && state.powered {
                let name = state.name.clone();
                self.violation(format!(
                    "invariant 4: epoch {epoch} begins while the gate is open on {name}"
                ));
            }
        }
    }

    fn promised(&mut self, promise: Promise) {
        let (machine, epoch) = (promise.machine.clone(), promise.epoch);
        let Some(host) =
            self.host_ids().into_iter().find(|host| self.host(*host).machine == machine)
        else {
            return;
        };
        let name = self.host(host).name.clone();
        let units = self.host(host).units.iter();
        let left = units
            .filter(|(_, unit)| unit.gated && unit.runs() && !unit.foreign)
            .find(|(_, unit)| unit.epoch.is_none_or(|of| of <= epoch))
            .map(|(service, _)| service.clone());
        if let Some(service) = left {
            self.violation(format!(
                "{name} promises that nothing of epoch {epoch} runs, but {service} does"
            ));
        }
        self.checker.promised.insert(machine, (promise.incarnation, epoch));
    }

    /// A moving service that runs on a host by way of the gate.
    pub(super) fn running_on(&self, host: HostId) -> Option<String> {
        let units = self.host(host).units.iter();
        let running = units.filter(|(_, unit)| unit.gated && unit.runs() && !unit.foreign);
        running.map(|(name, _)| name.clone()).next()
    }

    /// Invariants 3, 4 and 6, at the moment that PID 1 executes a service.
    pub(super) fn check_exec(&mut self, host: HostId, service: &str) {
        self.checker.starts += 1;
        let name = self.host(host).name.clone();
        for other in self.host_ids().into_iter().filter(|other| *other != host) {
            if let Some(running) = self.running_on(other) {
                let there = self.host(other).name.clone();
                self.violation(format!(
                    "invariant 3: {service} starts on {name} while {running} runs on {there}"
                ));
            }
        }
        if !self.setup.broken.no_gate {
            self.check_permit(host, service);
        }
    }

    fn check_permit(&mut self, host: HostId, service: &str) {
        let state = self.host(host);
        let (name, now) = (state.name.clone(), state.clock.at(self.now));
        let started_under = state.units.get(service).and_then(|unit| unit.epoch);
        let over = state.run.permit.as_ref().is_some_and(|permit| now >= permit.deadline);
        let Some(epoch) = started_under else {
            self.violation(format!("invariant 4: {service} starts on {name} without a permit"));
            return;
        };
        if over {
            self.violation(format!("invariant 6: {service} starts on {name} after the deadline"));
        }
        let incarnation = state_incarnation(self, host);
        let same = |known: &Incarnation| incarnation.as_ref().is_none_or(|mine| mine == known);
        if let Some((known, highest)) = &self.checker.highest
            && same(known)
            && epoch < *highest
        {
            let highest = *highest;
            self.violation(format!(
                "invariant 4: {service} starts on {name} for epoch {epoch}, after {highest} began"
            ));
        }
        let machine = self.host(host).machine.clone();
        if let Some((known, promised)) = self.checker.promised.get(&machine)
            && same(known)
            && epoch <= *promised
        {
            self.violation(format!(
                "{name} promised that nothing of epoch {epoch} will be started, but {service} is"
            ));
        }
    }

    fn controller(&self, host: HostId) -> Option<&Controller> {
        match self.host(host).daemon(Kind::Controller).machine.as_ref()? {
            Machine::Controller(controller) => Some(controller),
            Machine::Guard(_) | Machine::Monitor(_) | Machine::Duty(_) => None,
        }
    }

    /// Invariant 8: at most one process holds office and may act: its deadline is ahead, and its host's gate is open.
    pub(super) fn check_offices(&mut self) {
        let mut believers = Vec::new();
        for host in self.host_ids() {
            let state = self.host(host);
            let (run, now) = (&state.run, state.clock.at(self.now));
            let Some((epoch, deadline)) = self.controller(host).and_then(Controller::held) else {
                continue;
            };
            let open = lease::gate(run.permit.as_ref(), run.closed.as_ref(), &state.boot_id(), now)
                .is_ok();
            if state.powered && now < deadline && open {
                believers.push((state.name.clone(), epoch));
            }
        }
        if let [(one, _), (other, epoch), ..] = believers.as_slice() {
            self.violation(format!("invariant 8: {one} and {other} both hold epoch {epoch}"));
        }
    }

    /// Invariant 9, and that nobody loses the office needlessly: what a valid permit covers is not stopped, unless somebody
    /// wants the office to end.
    pub(super) fn check_order(&mut self, by: DaemonId, action: &ServiceAction) {
        let stops = matches!(action.order, Order::Stop | Order::Kill);
        let wants = match by.kind {
            Kind::Guard => true,
            Kind::Controller => self.role(by.host) == "active",
            Kind::Duty | Kind::Monitor => false,
        };
        if !stops || !wants {
            return;
        }
        let host = self.host(by.host);
        let (now, boot) = (host.clock.at(self.now), host.boot_id());
        let run = &host.run;
        let Some(permit) = &run.permit else { return };
        let grace = Duration::from_millis(permit.grace_ms);
        let covered =
            lease::gate(Some(permit), run.closed.as_ref(), &boot, now.after(grace)).is_ok();
        let unclaimed = parse_active(&self.ensemble.head).is_some_and(|active| {
            active.epoch == permit.epoch
                && active.claimant.is_none()
                && !matches!(active.phase, Phase::Ceded { .. })
        });
        // Whoever wrote it may not have heard yet that it is written.
        let known = self.now > run.permit_at + WRITTEN;
        if covered && unclaimed && known {
            let (who, service) = (self.who(by), &action.service);
            self.violation(format!(
                "invariant 9: {} on {who} stops {service}, which a permit covers",
                by.kind.name()
            ));
        }
    }

    /// What each headnode's master-fc says it is.
    pub(super) fn role(&self, host: HostId) -> &'static str {
        self.controller(host).map_or("down", |controller| controller.status().0.as_str())
    }

    fn why(&self, host: HostId) -> Option<&str> {
        Some(self.controller(host)?.status().1)
    }

    /// Why the cluster is not yet as it should be with everything healed: one active with all services, the others standby.
    pub fn unsettled(&self) -> Option<String> {
        let roles: Vec<(HostId, &str)> =
            self.host_ids().into_iter().map(|host| (host, self.role(host))).collect();
        let active: Vec<HostId> =
            roles.iter().filter(|(_, role)| *role == "active").map(|(host, _)| *host).collect();
        let others = roles.iter().filter(|(_, role)| *role == "standby").count();
        let [active] = active.as_slice() else {
            let why: Vec<&str> = roles.iter().filter_map(|(host, _)| self.why(*host)).collect();
            return Some(format!("not one active: {roles:?}: {}", why.join("; ")));
        };
        if others + 1 != roles.len() {
            let why: Vec<&str> = roles.iter().filter_map(|(host, _)| self.why(*host)).collect();
            return Some(format!("not all others standby: {roles:?}: {}", why.join("; ")));
        }
        for host in self.host_ids() {
            for (name, unit) in &self.host(host).units {
                let should = host == *active;
                if unit.runs() != should {
                    let state = unit.state;
                    return Some(format!(
                        "{name} is {state:?} on hn{}, active is {active:?}",
                        host.0
                    ));
                }
            }
            for kind in [Kind::Controller, Kind::Guard, Kind::Monitor] {
                if self.life(DaemonId { host, kind }) != Life::Running {
                    return Some(format!("{} on hn{} is not there", kind.name(), host.0));
                }
            }
        }
        None
    }
}

fn state_incarnation(world: &World, host: HostId) -> Option<Incarnation> {
    world.host(host).run.permit.as_ref().map(|permit| permit.incarnation.clone())
}
