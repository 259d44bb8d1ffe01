//! In office: renew, announce, and give it up in order.

use std::time::Duration;

use super::{Controller, Leaving, Write};
use crate::controller::fitness::Fitness;
use crate::epoch::Epoch;
use crate::node::NodeName;
use crate::office;
use crate::quorum::Version;
use crate::record::{Active, Pausing, Phase};
use crate::say::Kind;
use crate::time::{Time, millis};

impl Controller {
    /// Holder, with a fresh look at `active` and the lock.
    pub(super) fn hold(&mut self, now: Time) {
        self.renew_if_due(now);
        if self.pending.is_some() {
            return;
        }
        let Some(active) = self.records.active.record().cloned() else { return };
        self.consider_leaving(now, &active);
        if self.pending.is_some() {
            return;
        }
        if self.acknowledge(now, &active) {
            return;
        }
        match &self.leaving {
            // Who leaves answers no order of adoption: it can be answered better without office, and an answer that is denied
            // would hold up the cession.
            Some(leaving) => {
                let leaving = leaving.clone();
                self.leave(now, &active, &leaving);
            }
            None => {
                self.announce(now, &active);
                if self.pending.is_none() && !self.refuse_confirm(now, &active) {
                    self.answer_adoption(now);
                }
            }
        }
    }

    /// Write 2.
    pub(super) fn renew_if_due(&mut self, now: Time) {
        self.wake_at(self.renew_due);
        if now < self.renew_due || self.gives_up_stopping(now) {
            return;
        }
        if !self.records.lease.is_fresh() {
            // A read that was refused would else be tried again only after a period, which may be longer than the lease. Not at
            // once either: without a connection it is refused at once, and asked again in a spin.
            if now >= self.unblock_due {
                self.unblock_due = now.after(self.config.timing.renew / 4);
                self.records.lease.unblock();
            }
            self.wake_at(self.unblock_due);
            return;
        }
        let Some(version) = self.records.active.version() else { return };
        let Some(office) = self.records.active.record() else { return };
        let term = Duration::from_millis(office.lease_ms);
        self.renew_due = now.after(self.config.timing.renew_in(term));
        let (ops, lease) = office::renew(version, office, &self.records.lease);
        self.write(now, ops, Write::Renew(lease));
    }

    /// Write 4, when the services that announce it serve; and back, for an office that was resumed half way out.
    fn announce(&mut self, now: Time, active: &Active) {
        let serving = self.held().is_some()
            && self.services.not_serving(|service| service.announce).is_empty();
        let phase = match active.phase {
            Phase::BecomingActive if serving => Phase::Active,
            Phase::BecomingStandby => Phase::BecomingActive,
            Phase::BecomingActive | Phase::Active | Phase::Ceded { .. } => {
                return self.write_history(now);
            }
        };
        if phase == Phase::Active {
            self.note_transition(now, active.epoch);
        }
        self.enter_phase(now, active, phase);
    }

    fn enter_phase(&mut self, now: Time, active: &Active, phase: Phase) {
        let Some(version) = self.records.active.version() else { return };
        let office = Active { phase, since: self.wall, ..active.clone() };
        let ops = office::enter_phase(version, &office, self.bound_settings());
        self.write(now, ops, Write::EnterPhase(office));
    }

    /// Whether to give up office, and to whom. Never for a headnode that is worse, nor for nobody, unless told to.
    fn consider_leaving(&mut self, now: Time, active: &Active) {
        self.stay_if_paused();
        if self.leaving.is_some() {
            return;
        }
        if self.stop {
            let to = self.fit_peer(now);
            self.begin_leaving(to, "master-fc is being stopped".to_owned(), now);
            return;
        }
        if self.is_closed(active.epoch) {
            let why = format!("slave-ha-service closed epoch {} here", active.epoch);
            self.begin_leaving(None, why, now);
            return;
        }
        if self.obey_switchover(now) {
            return;
        }
        if let Some(why) = self.reason_to_quit(now, active.epoch)
            && self.paused_by().is_none()
            && let Some(peer) = self.fit_peer(now)
        {
            self.begin_leaving_to(peer, why, now);
        }
    }

    /// By whom and why everybody is kept from claiming, as far as is known.
    fn paused_by(&self) -> Option<&str> {
        match self.records.settings.record()?.pausing() {
            Pausing::Paused(by) | Pausing::Asked { by, .. } | Pausing::Kept { by, .. } => Some(by),
            Pausing::Automatic | Pausing::Resuming { .. } => None,
        }
    }

    /// An office that is given up for another headnode is kept after all, however far that is, if somebody paused meanwhile.
    fn stay_if_paused(&mut self) {
        let ends = self.leaving.as_ref().is_some_and(|leaving| leaving.unless_paused)
            && self.records.settings.is_fresh();
        if let Some(by) = self.paused_by().filter(|_| ends) {
            let text = format!("stays in office: automatic failover is paused ({by})");
            self.tell_of(Kind::CessionEnded, text);
            self.leaving = None;
        }
    }

    /// The `settings` that a step out of office is bound to.
    fn bound_settings(&self) -> Option<Version> {
        let bound = self.leaving.as_ref().is_some_and(|leaving| leaving.unless_paused);
        self.records.settings.version().filter(|_| bound)
    }

    /// Why this headnode should not go on, if another is ready. That another would do better is no reason: office that
    /// works is not handed round, and a silent health-monitor is no data.
    fn reason_to_quit(&mut self, now: Time, epoch: Epoch) -> Option<String> {
        if let Some(what) = self.permit_fault(now) {
            self.reluctance.permit_stuck(now, epoch, what.clone());
            return Some(what);
        }
        // What runs goes on; but what ends, or is still to be started, would be down for as long as that lasts.
        if let Some(what) = self.gate_fault(now) {
            self.reluctance.permit_stuck(now, epoch, what.clone());
            return Some(what);
        }
        self.gives_up = self.given_up_critical(now);
        if let Some(what) = self.gives_up.clone() {
            self.reluctance.gave_up(now, what.clone());
            return Some(what);
        }
        match self.own_fitness(now) {
            Fitness::Unfit(why) => Some(why),
            Fitness::Fit | Fitness::Reluctant(_) => None,
        }
    }

    /// A service that was given up here, by master-fc itself or by master-ha-service, and that is critical; or, on the way
    /// into office, one without which office cannot be announced.
    fn given_up_critical(&self, now: Time) -> Option<String> {
        let active = self.records.active.record();
        let entering = active.is_some_and(|active| active.phase == Phase::BecomingActive);
        let announces = |name: &str| {
            self.config.services.iter().any(|service| service.announce && service.name == name)
        };
        let counts = |name: &str, critical: bool| critical || entering && announces(name);
        let mut given_up = self.services.given_up(now).into_iter();
        let own = given_up.find(|(name, critical)| counts(name, *critical)).map(|(name, _)| name);
        let epoch = self.held().map(|(epoch, _)| epoch);
        let duty = self
            .records
            .duty
            .record()
            .filter(|duty| Some(duty.epoch) == epoch && duty.by.same_boot(&self.me));
        let others = duty.and_then(|duty| {
            let mut services = duty.services.iter();
            let spent = services.find(|(name, duty)| {
                duty.given_up && counts(name, duty.critical) && !self.alone.contains_key(*name)
            });
            spent.map(|(name, _)| name.clone())
        });
        own.or(others).map(|name| format!("{} gave up {name}", self.me.node))
    }

    /// Whatever comes of it.
    pub(super) fn begin_leaving(&mut self, to: Option<NodeName>, why: String, now: Time) {
        let whom = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
        self.tell_of(Kind::CessionBegun, format!("ceding{whom}: {why}"));
        self.leaving =
            Some(Leaving { to, why, unless_paused: false, since: now, permit_gone: false });
    }

    /// For the sake of a headnode that takes over.
    pub(super) fn begin_leaving_to(&mut self, to: NodeName, why: String, now: Time) {
        self.begin_leaving(Some(to), why, now);
        self.leaving =
            self.leaving.take().map(|leaving| Leaving { unless_paused: true, ..leaving });
    }

    /// Whether what should stop has not stopped for so long that renewing would only keep the other headnode out: from then
    /// on D, the kill and the last resort see to it.
    pub(super) fn gives_up_stopping(&mut self, now: Time) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        let limits: Duration = self.config.services.iter().map(|service| service.stop_limit).sum();
        let at = leaving.since.after(limits).after(self.config.timing.kill);
        self.wake_at(at);
        now >= at && !(self.services.all_stopped() && self.permit.content.is_none())
    }

    /// Gives up office: stop everything, remove the permit, verify once more that nothing runs, cede. A permit that cannot be
    /// removed lets nothing through once it has ended, and is no longer renewed.
    fn leave(&mut self, now: Time, active: &Active, leaving: &Leaving) {
        if leaving.unless_paused && !self.records.settings.is_fresh() {
            // A step that is bound to them would be refused if it is a pause that is not read yet.
        } else if active.phase != Phase::BecomingStandby {
            self.enter_phase(now, active, Phase::BecomingStandby);
        } else if !self.services.all_stopped() || self.permit.pending.is_some() {
            // `serve` sees to the stops; a file's outcome comes back by itself.
        } else if self.permit.content.as_ref().is_some_and(|permit| now < permit.end()) {
            self.remove_permit(now);
        } else if !leaving.permit_gone {
            // Invariant 4: with the gate shut nothing starts any more; what is found stopped from now on stays so.
            self.services.look_anew();
            self.leaving = Some(Leaving { permit_gone: true, ..leaving.clone() });
        } else if !self.must_keep_others_out(now) {
            self.cede(now, active, leaving);
        }
    }

    /// Write 5.
    fn cede(&mut self, now: Time, active: &Active, leaving: &Leaving) {
        let Some(version) = self.records.active.version() else { return };
        // Without a successor in sight nobody is kept out.
        let stay_out = leaving.to.as_ref().map_or(Duration::ZERO, |_| self.config.timing.stay_out);
        let phase = Phase::Ceded { to: leaving.to.clone(), until_ms: millis(stay_out) };
        let office = Active { phase, since: self.wall, ..active.clone() };
        let lock = self.records.lock.version();
        let ops = office::cede(version, &office, lock, self.bound_settings());
        self.write(now, ops, Write::Cede(office));
    }
}
