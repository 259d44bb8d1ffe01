//! The invariants of ARCHITECTURE.md, checked against what the simulation knows and no daemon can.

mod settled;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headship_core::controller::Controller;
use headship_core::epoch::{Epoch, Incarnation};
use headship_core::node::Identity;
use headship_core::record::{
    self, Active, FailoverOrder, Key, Lease, Phase, Promise, SwitchoverOrder,
};
use headship_core::say;
use headship_core::services::{Order, ServiceAction};

use super::host::{DaemonId, HostId, Kind};
use super::machine::Machine;
use super::reached::Reached;
use super::tree::{Change, Tree};
use super::unit::{Reply, State};
use super::world::World;

/// What a file's outcome takes to come back.
const WRITTEN: Duration = Duration::from_millis(20);

/// What it takes at most to see that a service serves again: a probe's interval, and that who looks may stand still.
const SEEN: Duration = Duration::from_secs(15);

/// What the checks remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Checker {
    pub(super) violation: Option<String>,
    /// The highest epoch of an office, and its incarnation.
    highest: Option<(Incarnation, Epoch)>,
    /// The highest epoch that was renewed.
    renewed: Epoch,
    /// When a renewal was last decided.
    pub(super) renewed_at: Duration,
    /// What each machine has promised.
    promised: BTreeMap<String, (Incarnation, Epoch)>,
    /// When it is next looked at what may not last.
    pub(super) look_at: Duration,
    /// Since when a service is down on an active host with nothing in its way.
    pub(super) left_down: BTreeMap<HostId, Duration>,
    /// How many things have happened at the present moment.
    pub(super) at_once: u32,
    /// How many claims were refused because the records had changed.
    pub(super) beaten: u64,
    /// How often office was taken, and services started.
    pub(super) offices: u64,
    pub(super) starts: u64,
    /// Which kinds of lines the daemons have said.
    pub(super) said: BTreeSet<say::Kind>,
    /// Which transitions and refusals there were.
    pub(super) reached: Reached,
}

pub(super) fn parse_active(tree: &Tree) -> Option<Active> {
    record::parse(&Key::Active, &tree.get(&Key::Active)?.data).ok()
}

/// Whether this is write 3: nobody claims any more, and somebody holds what was another's, or nobody's.
fn begins_office(before: Option<&Active>, active: &Active) -> bool {
    active.claimant.is_none()
        && active.holder.is_some()
        && !matches!(active.phase, Phase::Ceded { .. })
        && before.is_none_or(|old| old.epoch != active.epoch || old.claimant.is_some())
}

/// What is wrong with a write of `active` over `old`, if something is: a claim leaves the office as it is, only the claimant
/// takes it, only a process of the same boot succeeds the holder, and what was ceded is over.
fn unlawful(old: &Active, active: &Active) -> Option<String> {
    let epoch = active.epoch;
    if active.claimant.is_some() {
        let same = (old.epoch, &old.holder, &old.phase) == (epoch, &active.holder, &active.phase);
        return (!same).then(|| format!("a claim changes the office of epoch {}", old.epoch));
    }
    let name = |by: &Option<Identity>| by.as_ref().map_or_else(|| "nobody".to_owned(), whole_name);
    if begins_office(Some(old), active) {
        return (old.claimant != active.holder).then(|| {
            let (by, claimant) = (name(&active.holder), name(&old.claimant));
            format!("{by} takes office of epoch {epoch}, which {claimant} claims")
        });
    }
    if let Some(claimant) = &old.claimant {
        return Some(format!("the claim of {} in epoch {epoch} is gone", whole_name(claimant)));
    }
    let same_boot = match (&old.holder, &active.holder) {
        (Some(old), Some(new)) => old.same_boot(new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if !same_boot {
        let (old, new) = (name(&old.holder), name(&active.holder));
        return Some(format!("{new} succeeds {old} within epoch {epoch}"));
    }
    let ceded = matches!(old.phase, Phase::Ceded { .. });
    ceded.then(|| format!("epoch {epoch} was ceded, and is resumed"))
}

fn whole_name(by: &Identity) -> String {
    format!("{} ({}, {})", by.node, by.machine, by.boot)
}

impl Checker {
    /// The records were put back: numbers count from there, and what was promised of later ones is over.
    pub(super) fn restored(&mut self, active: Option<&Active>, renewed: Epoch) {
        self.highest = active.map(|active| (active.incarnation.clone(), active.epoch));
        self.renewed = renewed;
        self.promised.clear();
    }
}

impl World {
    /// A transaction was decided; `before` is what was in `active` until then, if it changed that.
    pub(super) fn decided(&mut self, before: Option<&Active>, changes: &[Change]) {
        for change in changes {
            match (&change.key, &change.node) {
                (Key::Active, Some(node)) => {
                    if let Ok(active) = record::parse::<Active>(&Key::Active, &node.data) {
                        self.office_written(before, &active);
                    }
                }
                (Key::Promise(_), Some(node)) => {
                    if let Ok(promise) = record::parse::<Promise>(&change.key, &node.data) {
                        self.promised(promise);
                    }
                }
                // Destroyed together with `active`, it leaves a headnode that was away without any number to go by.
                (Key::Lease, node) => {
                    self.checker.renewed_at = self.now;
                    let lease = node
                        .as_ref()
                        .and_then(|node| record::parse::<Lease>(&Key::Lease, &node.data).ok());
                    lease.iter().for_each(|lease| self.holder_renewed(lease));
                    let known = self.checker.renewed;
                    self.checker.renewed = lease.map_or(Epoch(0), |lease| lease.epoch.max(known));
                }
                (Key::Challenge, Some(node)) => self.holder_doubted(&node.data),
                (Key::Switchover, Some(node)) => self.order_written::<SwitchoverOrder>(&node.data),
                (Key::Failover, Some(node)) => self.order_written::<FailoverOrder>(&node.data),
                (Key::Confirm, Some(node)) => self.confirm_written(&node.data),
                (Key::Adopt, Some(node)) => self.adoption_written(&node.data),
                (_, Some(_) | None) => {}
            }
        }
    }

    fn office_written(&mut self, before: Option<&Active>, active: &Active) {
        let (incarnation, epoch) = (active.incarnation.clone(), active.epoch);
        // Where somebody destroyed the record, an office that never was renewed may be forgotten: it never had a permit.
        let renewed = Some((incarnation.clone(), self.checker.renewed));
        let known = if before.is_some() { &self.checker.highest } else { &renewed };
        let highest = known.as_ref().filter(|(known, _)| *known == incarnation);
        let fault = match highest.map(|(_, highest)| *highest) {
            Some(highest) if epoch < highest => {
                Some(format!("`active` went back to epoch {epoch}"))
            }
            Some(highest) if epoch == highest && begins_office(before, active) => {
                Some(format!("an office begins in epoch {epoch}, which was given out before"))
            }
            Some(_) | None => before.and_then(|old| unlawful(old, active)),
        };
        if let Some(fault) = fault {
            self.violation(format!("invariant 5: {fault}"));
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
                self.plan_confirm(active);
            }
            (Some(_), _) => {}
            (None, Some(holder)) => {
                if let Phase::Ceded { to, .. } = &active.phase {
                    let to = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
                    self.notice("quorum", format!("{} ceded epoch {epoch}{to}", holder.node));
                    self.check_cession(active);
                } else if begins_office(before, active) {
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
            let open = run.gate(&boot, now).is_ok();
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
        let over = state.run.permit.as_ref().is_some_and(|permit| now >= permit.end());
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

    pub(super) fn controller(&self, host: HostId) -> Option<&Controller> {
        match self.host(host).daemon(Kind::Controller).machine.as_ref()? {
            Machine::Controller(controller) => Some(controller),
            Machine::Guard(_) | Machine::Monitor(_) | Machine::Duty(_) | Machine::Follower(_) => {
                None
            }
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
            let open = run.gate(&state.boot_id(), now).is_ok();
            if state.powered && now < deadline && open {
                believers.push((state.name.clone(), epoch));
            }
        }
        if let [(one, _), (other, epoch), ..] = believers.as_slice() {
            self.violation(format!("invariant 8: {one} and {other} both hold epoch {epoch}"));
        }
    }

    /// Whether a service runs and answers, for long enough that everybody has had time to see it.
    fn is_sound(&self, host: HostId, service: &str) -> bool {
        let unit = self.unit(host, service);
        let answers = unit.manner.reply == Reply::Right;
        let well = unit.state == State::Running && answers && unit.failed.is_none();
        well && self.now > unit.sound_since + SEEN
    }

    /// Invariant 9, and that nobody loses the office needlessly: what a valid permit covers is not stopped, unless somebody
    /// wants the office to end, or master-ha-service finds that it does not serve.
    pub(super) fn check_order(&mut self, by: DaemonId, action: &ServiceAction) {
        self.check_left_alone(by, action);
        let stops = matches!(action.order, Order::Stop | Order::Kill);
        let wants = match by.kind {
            Kind::Guard => true,
            Kind::Controller => self.role(by.host) == "active",
            Kind::Duty => self.is_sound(by.host, &action.service),
            Kind::Monitor | Kind::Follower => false,
        };
        if !stops || !wants {
            return;
        }
        // What is about to stop already is asked once more when that takes too long.
        let state = self.unit(by.host, &action.service).state;
        if action.order == Order::Stop && state == State::Stopping {
            return;
        }
        let host = self.host(by.host);
        let (now, boot) = (host.clock.at(self.now), host.boot_id());
        let run = &host.run;
        let Some(permit) = &run.permit else { return };
        let grace = Duration::from_millis(permit.grace_ms);
        let covered = run.gate(&boot, now.after(grace)).is_ok();
        let unclaimed = parse_active(&self.ensemble.head).is_some_and(|active| {
            active.epoch == permit.epoch
                && active.claimant.is_none()
                && !matches!(active.phase, Phase::Ceded { .. })
        });
        // Whoever wrote it may not have heard yet that it is written.
        let known = self.now > run.permit_at + WRITTEN;
        // Of a start that gave no answer within its limit nobody knows that it went well; nor of one whose answer has waited, with
        // all else, for a process that stood still.
        let told_at = self.unit(by.host, &action.service).told_at;
        let known = known && self.now > told_at.max(host.daemon(by.kind).thawed_at);
        if covered && unclaimed && known {
            let (who, service) = (self.who(by), &action.service);
            self.violation(format!(
                "invariant 9: {} on {who} stops {service}, which a permit covers",
                by.kind.name()
            ));
        }
    }

    /// What is in maintenance by the permit master-ha-service looks at, and nothing else.
    fn check_left_alone(&mut self, by: DaemonId, action: &ServiceAction) {
        let run = &self.host(by.host).run;
        let known = self.now > run.permit_at + WRITTEN;
        let alone = run.permit.as_ref().is_some_and(|it| it.alone.contains_key(&action.service));
        let moves = matches!(action.order, Order::Start | Order::Stop | Order::Kill);
        if by.kind == Kind::Duty && alone && known && moves {
            let (who, service, order) = (self.who(by), &action.service, &action.order);
            let text =
                format!("maintenance: {order:?} of {service}, which is left alone, on {who}");
            self.violation(text);
        }
    }

    /// What each headnode's master-fc says it is.
    pub(super) fn role(&self, host: HostId) -> &'static str {
        self.controller(host).map_or("down", |controller| controller.status().0.as_str())
    }
}

fn state_incarnation(world: &World, host: HostId) -> Option<Incarnation> {
    world.host(host).run.permit.as_ref().map(|permit| permit.incarnation.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::setup::Setup;

    /// What the checks say of a change that somebody makes to `active`, with hn0 in office of epoch 1.
    fn said_of(changes: &[(&str, &str)]) -> Option<String> {
        let mut world = World::new(Setup::calm());
        world.run_until(Duration::from_secs(10));
        for (old, new) in changes {
            let change = |text: &str| {
                assert!(text.contains(old), "{text}");
                text.replace(old, new)
            };
            world.rewrite(Key::Active, change).unwrap();
        }
        world.violated().map(str::to_owned)
    }

    const CLAIM: (&str, &str) = (
        "\"claimant\":null",
        r#""claimant":{"node":"hn1","machine":"m","boot":"b","process":"p"}"#,
    );

    #[test]
    fn an_office_within_its_epoch_passes_only_to_a_process_of_the_same_boot() {
        assert_eq!(said_of(&[("\"process\":\"hn0-", "\"process\":\"another-")]), None);
        for change in [
            ("\"node\":\"hn0\"", "\"node\":\"hn1\""),
            ("machine-of-hn0", "machine-of-hn1"),
            ("hn0-boot-", "hn0-later-boot-"),
        ] {
            let said = said_of(&[change]).expect("the holder is another");
            assert!(said.contains("within epoch 1"), "{said}");
        }
    }

    #[test]
    fn an_office_begins_above_every_epoch_and_with_its_claimant_only() {
        assert_eq!(said_of(&[CLAIM]), None);
        let said = said_of(&[CLAIM, (CLAIM.1, CLAIM.0)]).expect("the epoch is the old one");
        assert!(said.contains("an office begins in epoch 1"), "{said}");
        let said = said_of(&[("\"epoch\":1", "\"epoch\":2")]).expect("nobody claimed it");
        assert!(said.contains("which nobody claims"), "{said}");
        let taken = [CLAIM, ("\"epoch\":1", "\"epoch\":2")];
        let said = said_of(&taken).expect("a claim does not touch the epoch");
        assert!(said.contains("a claim changes the office"), "{said}");
    }

    #[test]
    fn what_was_ceded_is_over() {
        let (active, ceded) =
            ("\"phase\":\"active\"", r#""phase":{"ceded":{"to":null,"until_ms":0}}"#);
        assert_eq!(said_of(&[(active, ceded)]), None);
        let said = said_of(&[(active, ceded), (ceded, active)]).expect("it is resumed");
        assert!(said.contains("was ceded, and is resumed"), "{said}");
    }
}
