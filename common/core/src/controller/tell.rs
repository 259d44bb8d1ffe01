//! What this headnode is, in one word and one sentence, told in the log and in its record; and the history of transitions.

use std::collections::BTreeMap;

use super::{Action, Controller, Write};
use crate::controller::fitness::Fitness;
use crate::epoch::Epoch;
use crate::known::Content;
use crate::node::NodeName;
use crate::office::Standing;
use crate::quorum::Op;
use crate::record::{
    self, FORMAT, HeadnodeState, History, Key, Maintenance, Pausing, Phase, PhaseTime, Rest, Role,
    Transition,
};
use crate::say::{Kind, Line};
use crate::time::{Time, millis};

/// How many transitions the history keeps: a year of one a week, and small enough to read at once.
const HISTORY_LENGTH: usize = 50;

impl Controller {
    /// Works out what this headnode is, and tells whoever should know.
    pub(super) fn tell(&mut self, now: Time) {
        let (role, why) = self.assess(now);
        if role != self.role {
            let epoch = self.epoch_of(role);
            let (from, to) = (self.role.as_str(), role.as_str());
            let text = format!("{from} -> {to} (epoch {epoch}): {why}");
            self.say(kind_of(role), text, Some(epoch));
            self.role = role;
        }
        self.why = why;
        self.say_once_what_is_corrupt();
        self.publish();
    }

    /// The epoch that a role is about. A claimant is on the way to the next one; the last one is over, or about to be.
    fn epoch_of(&self, role: Role) -> Epoch {
        let highest = self.highest_epoch();
        match self.standing() {
            Standing::Claimant | Standing::HeirOfClaim if role == Role::BecomingActive => {
                highest.next()
            }
            Standing::Claimant
            | Standing::HeirOfClaim
            | Standing::Outside
            | Standing::Holder
            | Standing::Heir => highest,
        }
    }

    fn assess(&mut self, now: Time) -> (Role, String) {
        let lapsed =
            self.held.as_ref().is_some_and(|held| now >= self.end_of(held).before(held.grace));
        // A start by hand that the gate refuses is no reason to be anything else than standby: it never runs.
        let running = self.services.being_stopped(now);
        if let Some(held) = self.held.clone() {
            if held.lost {
                return (Role::BecomingStandby, format!("another took over epoch {}", held.epoch));
            }
            if lapsed && self.gives_up_stopping(now) {
                let left = self.services.not_gone().join(", ");
                let what = if self.services.all_stopped() {
                    "the permit could not be removed".to_owned()
                } else if left.is_empty() {
                    "nobody confirms that everything has stopped".to_owned()
                } else {
                    format!("{left} did not stop in time")
                };
                return (Role::Neutral, format!("{what}: epoch {} runs out", held.epoch));
            }
            if lapsed {
                return (
                    Role::Neutral,
                    format!("no renewal of epoch {} was acknowledged in time", held.epoch),
                );
            }
            if let Some(leaving) = &self.leaving {
                return (Role::BecomingStandby, leaving.why.clone());
            }
            if self.stop {
                let sight = if self.is_connected() {
                    ""
                } else {
                    ", and cannot cede: the failover quorum is out of sight"
                };
                return (Role::BecomingStandby, format!("master-fc is being stopped{sight}"));
            }
            if let Some(why) = self.permit_fault(now) {
                return (Role::Neutral, why);
            }
            let read = *self.records.active.content() != Content::Unread;
            if read && self.standing() == Standing::Outside {
                let ends = if self.end_of(&held) == Time::MAX { "is kept" } else { "ends" };
                let why = format!("`active` no longer tells of epoch {}; it {ends}", held.epoch);
                return (Role::Neutral, why);
            }
        }
        match self.standing() {
            Standing::Holder | Standing::Heir => self.assess_holder(now),
            Standing::Claimant | Standing::HeirOfClaim => {
                (Role::BecomingActive, self.course.clone())
            }
            Standing::Outside if !self.is_connected() => {
                (Role::Out, "the failover quorum is out of sight".to_owned())
            }
            // Who may not claim is no successor: an active that cedes to it would leave nobody.
            Standing::Outside => {
                match self.bar().map_or_else(|| self.own_fitness(now), Fitness::Unfit) {
                    Fitness::Unfit(why) | Fitness::Reluctant(why) => (Role::Out, why),
                    Fitness::Fit
                        if self.role == Role::Out
                            && !self.services.is_any_seen_up()
                            && !running.is_empty() =>
                    {
                        (Role::Out, format!("looks whether {} run here", running.join(", ")))
                    }
                    Fitness::Fit if !running.is_empty() => {
                        (Role::BecomingStandby, format!("stopping {}", running.join(", ")))
                    }
                    Fitness::Fit => (Role::Standby, self.course.clone()),
                }
            }
        }
    }

    fn assess_holder(&mut self, now: Time) -> (Role, String) {
        let phase = self.records.active.record().map(|active| active.phase.clone());
        let mut doubts = String::new();
        if !self.is_connected() {
            doubts.push_str("; the failover quorum is out of sight");
        } else if let Some(why) = self.missing_guard(now) {
            doubts.push_str(&format!("; {why}"));
        }
        if let Some(why) = self.gate_fault(now) {
            doubts.push_str(&format!("; {why}"));
        }
        match phase {
            None => (Role::BecomingActive, self.course.clone()),
            Some(Phase::Active) if self.held.is_some() => {
                for (name, why) in self.services.failed() {
                    doubts.push_str(&format!("; {name} is down: {why}"));
                }
                let alone: Vec<&str> = self.services.left_alone().collect();
                if !alone.is_empty() {
                    doubts.push_str(&format!("; left alone: {} (maintenance)", alone.join(", ")));
                }
                let kept = if self.kept().is_some() {
                    "; keeps its services, whatever the quorum does, until `headship resume`"
                } else {
                    ""
                };
                (Role::Active, format!("holds office{kept}{doubts}"))
            }
            Some(
                Phase::Active
                | Phase::BecomingActive
                | Phase::BecomingStandby
                | Phase::Ceded { .. },
            ) => {
                let missing = self.services.not_serving(|service| service.announce);
                let what = match (self.alias_waited_for(), missing.as_slice()) {
                    (Some(waits), _) => waits,
                    (None, []) => "about to announce office".to_owned(),
                    (None, missing) => format!("starting {}", missing.join(", ")),
                };
                (Role::BecomingActive, format!("{what}{doubts}"))
            }
        }
    }

    fn publish(&mut self) {
        let state = HeadnodeState {
            format: FORMAT,
            by: self.me.clone(),
            role: self.role,
            epoch: self.highest_epoch(),
            why: self.why.clone(),
            attempt: self.attempt(),
            fence: self.fence_seen(),
            kept: self.kept(),
            gave_up: self.gives_up.clone().filter(|_| self.held().is_some()),
            rest: Rest::new(),
        };
        if self.shown.as_ref() != Some(&state) {
            self.presence.publish(record::write(&state));
            self.shown = Some(state);
        }
        self.actions.extend(self.presence.next_request(&mut self.ids).map(Action::Ask));
    }

    /// What operators pause and take into maintenance counts from when it is read, and as it was read last.
    pub(super) fn heed_settings(&mut self) {
        let Some(settings) = self.records.settings.record() else { return };
        let paused = match settings.pausing() {
            Pausing::Automatic => None,
            Pausing::Paused(by) | Pausing::Asked { by, .. } | Pausing::Kept { by, .. } => {
                Some(by.to_owned())
            }
            // It is on again when that is acknowledged.
            Pausing::Resuming { .. } => self.told_settings.0.clone(),
        };
        let now = (paused, settings.maintenance.clone());
        // Also what an earlier process left in the permit.
        if self.alone != now.1.services {
            self.alone.clone_from(&now.1.services);
            self.services.leave_alone(&self.alone);
        }
        // Of the others their roles tell.
        let in_office = matches!(self.standing(), Standing::Holder | Standing::Heir);
        let now = if in_office { now } else { <(Option<String>, Maintenance)>::default() };
        if self.told_settings == now {
            return;
        }
        if !in_office {
            self.told_settings = now;
            return;
        }
        let before = std::mem::replace(&mut self.told_settings, now.clone());
        match (&before.0, &now.0) {
            (before, Some(by)) if before.as_ref() != Some(by) => {
                self.tell_of(Kind::Paused, format!("automatic failover is paused: {by}"));
            }
            (Some(_), None) => {
                self.tell_of(Kind::Resumed, "automatic failover is on again".to_owned());
            }
            (Some(_) | None, Some(_)) | (None, None) => {}
        }
        let names = |nodes: &BTreeMap<NodeName, String>| -> BTreeMap<String, String> {
            nodes.iter().map(|(name, by)| (name.to_string(), by.clone())).collect()
        };
        self.say_maintenance(&names(&before.1.nodes), &names(&now.1.nodes), "takes no office");
        self.say_maintenance(&before.1.services, &now.1.services, "is left alone");
    }

    fn say_maintenance(
        &mut self,
        before: &BTreeMap<String, String>,
        now: &BTreeMap<String, String>,
        what: &str,
    ) {
        for (name, by) in now.iter().filter(|(name, by)| before.get(*name) != Some(by)) {
            let text = format!("{name} is in maintenance and {what}: {by}");
            self.tell_of(Kind::MaintenanceBegun, text);
        }
        for name in before.keys().filter(|name| !now.contains_key(*name)) {
            self.tell_of(Kind::MaintenanceEnded, format!("maintenance of {name} has ended"));
        }
    }

    /// A corrupt or foreign record is said once, for as long as it stays so, and survived.
    fn say_once_what_is_corrupt(&mut self) {
        let corrupt = self.records.corrupt();
        for text in corrupt.difference(&self.said).cloned().collect::<Vec<_>>() {
            self.say(Kind::CorruptRecord, text, None);
        }
        self.said = corrupt;
    }

    /// Notes how office came here, when it is about to be announced.
    pub(super) fn note_transition(&mut self, now: Time, epoch: Epoch) {
        let Some(cause) = self.timeline.cause.take() else { return };
        let cause = match &self.timeline.ordered {
            Some(by) => format!("a failover was ordered by {by}; {cause}"),
            None => cause.to_string(),
        };
        let line = &self.timeline;
        let started = line.first_start.unwrap_or(now);
        let points = [
            ("detect", line.last_sign, line.claimed),
            ("wait", line.claimed, line.office),
            ("permit", line.office, started),
            ("start", started, now),
        ];
        let length = |from: Time, to: Time| millis(to.since(from));
        let phases = (points.into_iter())
            .map(|(phase, from, to)| PhaseTime { phase: phase.to_owned(), ms: length(from, to) })
            .collect::<Vec<_>>();
        let told: Vec<String> =
            phases.iter().map(|phase| format!("{} {} ms", phase.phase, phase.ms)).collect();
        self.say(
            Kind::OfficeTaken,
            format!("serving in epoch {epoch} after {}: {cause}", told.join(", ")),
            Some(epoch),
        );
        let (from, to) = (self.timeline.from.clone(), self.me.node.clone());
        self.transitions.push(Transition { epoch, from, to, cause, at: self.wall, phases });
    }

    /// Adds the transition to the history. Of one that cannot be read nothing is lost: it is left as it is.
    pub(super) fn write_history(&mut self, now: Time) {
        if self.transitions.is_empty() {
            return;
        }
        if self.is_denied(now, &Key::History) {
            return;
        }
        let known = &self.records.history;
        if !known.is_fresh() {
            return;
        }
        let mut history = match known.content() {
            Content::Missing => History { format: FORMAT, ..History::default() },
            Content::Record(history) => history.clone(),
            Content::Unread | Content::Corrupt(_) => return,
        };
        history.transitions.extend(self.transitions.iter().cloned());
        let surplus = history.transitions.len().saturating_sub(HISTORY_LENGTH);
        history.transitions.drain(..surplus);
        let data = record::write(&history);
        let op = match known.version() {
            version @ Some(_) => Op::Set { key: Key::History, version, data },
            None => Op::Create { key: Key::History, data },
        };
        self.write(now, vec![op], Write::History(history));
    }

    /// Says something that is of the highest epoch that is known.
    pub(super) fn tell_of(&mut self, kind: Kind, text: String) {
        let epoch = self.highest_epoch();
        self.say(kind, text, Some(epoch));
    }

    pub(super) fn say(&mut self, kind: Kind, text: String, epoch: Option<Epoch>) {
        self.actions.push_back(Action::Say(Line { kind, text, epoch }));
    }
}

/// What kind of line tells that a headnode has become `role`.
fn kind_of(role: Role) -> Kind {
    match role {
        Role::Active => Kind::RoleActive,
        Role::BecomingActive => Kind::RoleBecomingActive,
        Role::BecomingStandby => Kind::RoleBecomingStandby,
        Role::Standby => Kind::RoleStandby,
        Role::Neutral => Kind::RoleNeutral,
        Role::Out => Kind::RoleOut,
    }
}
