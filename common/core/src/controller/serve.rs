//! What this host may run, and seeing to it: the permit, the deadline D, and the services that master-fc starts and stops.

use std::time::Duration;

use super::{Action, Controller, Held};
use crate::epoch::Incarnation;
use crate::lease::{self, Closed, Permit};
use crate::office::Standing;
use crate::quorum::ActionId;
use crate::say::Kind;
use crate::services::{Desired, Order};
use crate::time::{Time, millis};

impl Held {
    /// What an earlier process of this boot left in the permit.
    pub(super) fn found(permit: &Permit) -> Self {
        Self {
            epoch: permit.epoch,
            deadline: permit.deadline,
            kept: permit.kept.clone(),
            lease: Duration::from_millis(permit.lease_ms),
            kill: Duration::from_millis(permit.kill_ms),
            grace: Duration::from_millis(permit.grace_ms),
            lost: false,
            expired: None,
            gone: false,
        }
    }
}

impl Controller {
    /// Compares what may run with what is desired, and lets the supervisor order the difference.
    pub(super) fn serve(&mut self, now: Time) {
        self.notice_expiry(now);
        self.withdraw_permit(now);
        let desired = self.desired(now);
        self.services.desire(desired);
        self.services.decide(now, &mut self.ids);
        while let Some(action) = self.services.poll_action() {
            if action.order == Order::Start {
                self.timeline.first_start.get_or_insert(now);
            }
            self.actions.push_back(Action::Service(action));
        }
        let epoch = self.held().map(|(epoch, _)| epoch);
        for (kind, text) in self.services.news(now) {
            self.say(kind, text, epoch);
        }
        self.forget_loss();
        self.last_resort(now);
    }

    /// Running only under a permit of the held epoch, outside the grace at its end, and while nobody wants to leave.
    fn desired(&mut self, now: Time) -> Desired {
        let Some(held) = self.held.clone() else { return Desired::Stopped { kill_at: now } };
        // What is on disk counts, not what was acknowledged: the guard and the gate go by nothing else.
        let permit = self.permit.content.as_ref().filter(|permit| permit.epoch == held.epoch);
        let end = self.end_of(&held);
        let deadline = permit.map_or(end, |permit| permit.end().min(end));
        let permitted = permit.is_some();
        let grace_from = deadline.before(held.grace);
        for at in [grace_from, deadline] {
            self.wake_at(at);
        }
        // Told to stop, ceded or not: where it cannot be ceded the taker waits.
        let stops = self.leaving.is_some() || self.stop;
        if permitted && !held.lost && !stops && now < grace_from {
            // Whatever runs already, as of a term that was resumed, goes on meanwhile.
            let waits = self.waits_for_alias(now, held.epoch) || self.may_be_misled();
            return if waits { Desired::Alone } else { Desired::Running };
        }
        // Who notices late has no grace left, nor has who was wrong to start.
        Desired::Stopped { kill_at: if self.was_misled() { now } else { deadline.max(now) } }
    }

    /// Why this headnode cannot serve although it renews, if so: what it may do cannot be written down.
    pub(super) fn permit_fault(&self, now: Time) -> Option<String> {
        let why = self.permit.error.as_ref()?;
        let content = self.permit.content.as_ref();
        let covered = content.is_some_and(|permit| now < permit.grace_from());
        (!covered).then(|| format!("the permit cannot be written: {why}"))
    }

    /// What slave-ha-service has closed, or why that cannot be read. It never goes down, so what was read last counts on.
    pub(super) fn closed_read(&mut self, now: Time, closed: Result<Option<Closed>, String>) {
        match closed {
            Ok(closed) => (self.closed, self.gate_fault) = (closed, None),
            Err(why) => {
                let before = self.gate_fault.take();
                let since = before.as_ref().map_or(now, |(_, since)| *since);
                if before.is_none_or(|(before, _)| before != why) {
                    let text = format!(
                        "the gate lets nothing through until slave-ha-service has written anew what is closed here, which it does at the latest when office is given up (`headship switchover`, or stop and start master-fc): {why}"
                    );
                    self.tell_of(Kind::GateShut, text);
                }
                self.gate_fault = Some((why, since));
            }
        }
    }

    /// Why nothing can be started here, if so: the gate is shut by a file that cannot be read. slave-ha-service gets a moment to
    /// write it anew, which it can as long as it knows what stood there.
    pub(super) fn gate_fault(&mut self, now: Time) -> Option<String> {
        let (why, since) = self.gate_fault.as_ref()?;
        let why = format!("nothing can be started on {}: {why}", self.me.node);
        let at = since.after(self.config.timing.renew * 2);
        self.wake_at(at);
        (now >= at).then_some(why)
    }

    /// An office that is lost, or that ended while no record tells of it any more, is forgotten when nothing of it is left.
    fn forget_loss(&mut self) {
        let outside = self.standing() == Standing::Outside;
        let over = |held: &Held| held.lost || outside && held.expired.is_some();
        if self.held.as_ref().is_some_and(over) && self.services.all_stopped() {
            self.held = None;
            self.leaving = None;
        }
    }

    /// D has passed: whatever was seen before, from here on only what is killed or seen anew counts.
    fn notice_expiry(&mut self, now: Time) {
        let permit = self.permit.content.as_ref();
        let fresh = |held: &&mut Held| now >= held.end(permit) && held.expired.is_none();
        let Some(held) = self.held.as_mut().filter(fresh) else { return };
        held.expired = Some(now);
        let epoch = held.epoch;
        if let Some(text) = self.services.expired(epoch) {
            self.say(Kind::DeadlineReached, text, Some(epoch));
        }
    }

    /// Once D has passed, everything is verified gone within the kill time, or the host goes down: a taker counts on it.
    fn last_resort(&mut self, now: Time) {
        let permit = self.permit.content.as_ref();
        let Some(held) = self.held.as_mut().filter(|held| now >= held.end(permit)) else { return };
        let noticed = held.expired.unwrap_or(now);
        let at = lease::last_resort(held.deadline, held.kill, noticed);
        let epoch = held.epoch;
        let left = self.services.not_gone();
        if left.is_empty() {
            held.gone = true;
        }
        // Once it was gone, what runs was started past the gate: it is stopped, but no taker was told to count on its end.
        if held.gone {
            return;
        }
        self.wake_at(at.max(self.reboot_due));
        if now >= at && now >= self.reboot_due {
            self.reboot_due = now.after(self.config.timing.period);
            let why = format!(
                "{} could not be stopped by the deadline of epoch {epoch}",
                left.join(", ")
            );
            self.actions.push_back(Action::Reboot { why });
        }
    }

    pub(super) fn write_permit(&mut self, now: Time, incarnation: Incarnation, held: &Held) {
        let leaves = self.leaving.as_ref().is_some_and(|leaving| leaving.permit_gone);
        let late = held.kept.is_none() && now >= held.deadline;
        if leaves || self.was_misled() || late {
            return; // The renewal only keeps others out while we leave, or came too late to be of use.
        }
        let permit = Permit {
            incarnation,
            epoch: held.epoch,
            boot: self.me.boot.clone(),
            deadline: held.deadline,
            lease_ms: millis(held.lease),
            kill_ms: millis(held.kill),
            grace_ms: millis(held.grace),
            alone: self.alone.clone(),
            kept: held.kept.clone(),
        };
        let id = self.ids.draw();
        self.permit.pending = Some((id, Some(permit.clone())));
        self.actions.push_back(Action::WritePermit { id, permit });
    }

    /// No permit stays behind an office that is lost, or that was given up out of sight of the quorum. (A cession removes it
    /// by itself, in its order.)
    fn withdraw_permit(&mut self, now: Time) {
        let lost = self.held.as_ref().is_none_or(|held| held.lost);
        let given_up = self.stop && !self.is_connected() && self.services.all_stopped();
        if lost || given_up {
            self.remove_permit(now);
        }
    }

    /// Removes what is there or is being written. A removal that fails is repeated, but not in a spin.
    pub(super) fn remove_permit(&mut self, now: Time) {
        let nothing_to_do = match &self.permit.pending {
            Some((_, content)) => content.is_none(),
            None => self.permit.content.is_none(),
        };
        if nothing_to_do {
            return;
        }
        if now < self.permit.removal_due {
            self.wake_at(self.permit.removal_due);
        } else {
            let id = self.ids.draw();
            self.permit.pending = Some((id, None));
            self.actions.push_back(Action::RemovePermit { id });
        }
    }

    pub(super) fn permit_written(&mut self, now: Time, id: ActionId, error: Option<String>) {
        let Some((pending, content)) = self.permit.pending.take() else { return };
        if pending != id {
            self.permit.pending = Some((pending, content)); // An older write; the newer one decides.
            return;
        }
        match error {
            None => {
                let failed_before = self.permit.error.take().is_some();
                let before = std::mem::replace(&mut self.permit.content, content);
                self.say_keep(before.as_ref());
                if self.permit.content.is_some() {
                    self.reluctance.permit_written();
                    if failed_before {
                        let text = "the permit can be written again".to_owned();
                        self.tell_of(Kind::PermitBack, text);
                    }
                }
            }
            Some(why) => {
                let deed = if content.is_some() { "written" } else { "removed" };
                if content.is_none() {
                    self.permit.removal_due = now.after(self.config.timing.renew);
                }
                if self.permit.error.as_ref() != Some(&why) {
                    self.say(
                        Kind::PermitFault,
                        format!("the permit cannot be {deed}: {why}"),
                        None,
                    );
                }
                self.permit.error = Some(why);
            }
        }
    }
}
