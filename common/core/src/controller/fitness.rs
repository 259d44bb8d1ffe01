//! Whether a headnode should hold office, and what stands between this one and a claim.

use std::time::Duration;

use super::Controller;
use crate::known::{Content, Known};
use crate::node::NodeName;
use crate::office;
use crate::record::{Phase, Role, Verdict};
use crate::say::Kind;
use crate::time::Time;

/// In how many renewals whoever is fit claims an office that is open: a standby whose hint was lost polls once in each, and a busy
/// quorum may take another two.
const OTHERS_CLAIM_WITHIN: u32 = 4;

/// Whether a headnode should hold office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    /// Eligible and ready.
    Fit,
    /// It could, but any fit one would do better.
    Reluctant(String),
    /// It cannot run the services.
    Unfit(String),
}

impl Controller {
    /// Whether this headnode should hold office.
    pub(super) fn own_fitness(&mut self, now: Time) -> Fitness {
        if let Some(machine) = self.presence.conflict() {
            let node = &self.me.node;
            return Fitness::Unfit(format!(
                "machine {machine} is registered as {node} too: give one of the two another name"
            ));
        }
        let me = self.me.node.clone();
        let fitness = self.fitness_by_heartbeat(&me, now);
        let host = self.missing_guard(now).or_else(|| self.gate_fault(now));
        if self.holder_gave_up() {
            self.reluctance.holder_gave_up(now);
        }
        self.wake_at(self.reluctance.until());
        let reluctance = self.reluctance.reason(now, |epoch| self.is_closed(epoch));
        match (fitness, host, reluctance) {
            (unfit @ Fitness::Unfit(_), _, _) => unfit,
            (_, Some(why), _) => Fitness::Reluctant(why),
            (Fitness::Fit, None, Some(why)) => Fitness::Reluctant(why.to_owned()),
            (fitness @ (Fitness::Fit | Fitness::Reluctant(_)), None, _) => fitness,
        }
    }

    /// Whether another headnode holds office and says that it has given up a service there.
    fn holder_gave_up(&self) -> bool {
        let holder = self.records.active.record().and_then(|active| active.holder.as_ref());
        let Some(holder) = holder.filter(|holder| holder.node != self.me.node) else {
            return false;
        };
        let state = self.records.headnodes.get(&holder.node).and_then(Known::record);
        state.is_some_and(|state| state.by.same_boot(holder) && state.gave_up.is_some())
    }

    /// Without its slave-ha-service a headnode has only master-fc to stop at D: another one would do better.
    pub(super) fn missing_guard(&mut self, now: Time) -> Option<String> {
        let guard = &self.records.guard;
        if guard.record().is_some_and(|guard| guard.by.same_boot(&self.me)) {
            return None;
        }
        // It may only just have begun, as we have.
        let at = guard.first_seen().max(self.connected_at).after(self.config.health.silent_after);
        self.wake_at(at);
        (now >= at).then(|| format!("slave-ha-service does not run on {}", self.me.node))
    }

    /// Whether another headnode is eligible and ready to take office at once.
    pub(super) fn peer_fitness(&mut self, peer: &NodeName, now: Time) -> Fitness {
        let state = self.records.headnodes.get(peer).and_then(|known| known.record());
        if let Some(why) = self.in_maintenance(peer) {
            return Fitness::Unfit(why);
        }
        let active = self.records.active.record();
        match state {
            None => Fitness::Unfit(format!("{peer} is not there: its master-fc has no session")),
            Some(state) if active.is_some_and(|active| state.is_past(active)) => {
                Fitness::Reluctant(format!("{peer} {}", state.was()))
            }
            Some(state) if state.role != Role::Standby => {
                Fitness::Reluctant(format!("{peer} is {}: {}", state.role.as_str(), state.why))
            }
            Some(_) => self.fitness_by_heartbeat(peer, now),
        }
    }

    /// That a headnode is in maintenance, with by whom and why, if it is.
    fn in_maintenance(&self, node: &NodeName) -> Option<String> {
        let by = self.records.settings.record()?.maintenance.nodes.get(node)?;
        Some(format!("{node} is in maintenance ({by})"))
    }

    /// The first other headnode that is eligible and ready.
    pub(super) fn fit_peer(&mut self, now: Time) -> Option<NodeName> {
        let peers: Vec<NodeName> = self.config.peers().map(|peer| peer.name.clone()).collect();
        peers.into_iter().find(|peer| self.peer_fitness(peer, now) == Fitness::Fit)
    }

    /// No data is never a reason that forbids: a dead health-monitor alone must not leave the cluster without an active.
    fn fitness_by_heartbeat(&mut self, node: &NodeName, now: Time) -> Fitness {
        let limit = self.config.health.silent_after;
        let Some(known) = self.records.health.get(node) else {
            return Fitness::Unfit(format!("{node} is not a headnode of the configuration"));
        };
        // Out of sight of the quorum nobody is heard: that says nothing of who is silent.
        let silent_at = known.first_seen().max(self.connected_at).after(limit);
        let record = known.record().cloned();
        let Some(health) = record else {
            return Fitness::Reluctant(format!("no heartbeat of health-monitor on {node}"));
        };
        if now >= silent_at {
            return Fitness::Reluctant(format!(
                "health-monitor on {node} is silent for {} s",
                limit.as_secs()
            ));
        }
        self.wake_at(silent_at);
        let reasons = || format!("{node}: {}", health.reasons.join("; "));
        match health.verdict {
            Verdict::Eligible => Fitness::Fit,
            Verdict::Reluctant => Fitness::Reluctant(reasons()),
            Verdict::Ineligible => Fitness::Unfit(reasons()),
        }
    }

    /// What stands between this headnode and a claim, in one sentence; nothing if it is to claim now.
    pub(super) fn obstacle(&mut self, now: Time) -> Option<String> {
        let closed = self.office_is_open(now).err();
        let open = closed.is_none() && !self.may_be_kept();
        let bar = self.bar().or(closed).or_else(|| match self.own_fitness(now) {
            Fitness::Fit => None,
            Fitness::Unfit(why) => Some(why),
            // Of whoever orders a failover it is known who is there to take over.
            Fitness::Reluctant(_) if self.ordered_failover().is_some() => None,
            Fitness::Reluctant(why) => self.too_early_for_reluctant(now).then_some(why),
        });
        let own_health = self.records.health.get(&self.me.node);
        let judged = own_health.is_some_and(|known| *known.content() != Content::Unread);
        let barred = bar.as_ref().filter(|_| open && judged && !self.stop);
        if let Some(why) = barred.filter(|_| !self.barred) {
            // Whoever asks why nothing runs shall find it in the log; once, for the reason may have figures that change.
            let text = format!("nobody is active, and this headnode does not claim office: {why}");
            self.tell_of(Kind::NobodyClaims, text);
        }
        self.barred = barred.is_some();
        bar
    }

    /// What keeps this headnode from any claim, whoever is active.
    pub(super) fn bar(&self) -> Option<String> {
        if self.stop {
            return Some("master-fc is being stopped".to_owned());
        }
        if let Some(why) = self.unreadable_active() {
            return Some(why);
        }
        match self.records.settings.content() {
            Content::Record(settings) => {
                if let Some(why) = self.paused(settings) {
                    return Some(why);
                }
                if let Some(why) = self.in_maintenance(&self.me.node) {
                    return Some(why);
                }
            }
            Content::Corrupt(corrupt) => return Some(corrupt.to_string()),
            Content::Unread | Content::Missing => {
                return Some("settings are not there yet".to_owned());
            }
        }
        self.incarnation().is_none().then(|| {
            "the quorum holds another life of this cluster than this headnode remembers: if that is intended, `headship adopt`"
                .to_owned()
        })
    }

    /// Who fails only what is preferred joins when nobody has been active for long.
    fn too_early_for_reluctant(&mut self, now: Time) -> bool {
        let moved = self.records.lease.first_seen().max(self.records.active.first_seen());
        let at = moved.after(self.config.timing.lonely_after);
        self.wake_at(at);
        now < at
    }

    /// Whether the office can be claimed now, by what the records say of its holder.
    fn office_is_open(&mut self, now: Time) -> Result<(), String> {
        // From the claim on the old holder's renewals fail, whether it lives or not: the way is proven free as ever.
        if self.ordered_failover().is_some() || self.is_holder_fenced() {
            return Ok(());
        }
        let records = &self.records;
        let holder =
            Self::name_of(records.active.record().and_then(|active| active.holder.as_ref()));
        let epoch = self.highest_epoch();
        let lease_moved = records.lease.first_seen();
        let active_moved = records.active.first_seen();
        if records.lock.is_missing() {
            let ceded = records.active.record().and_then(|active| match &active.phase {
                Phase::Ceded { to, until_ms } => Some((to.clone(), *until_ms)),
                Phase::BecomingActive | Phase::Active | Phase::BecomingStandby => None,
            });
            if let Some((to, until_ms)) = ceded {
                let until = active_moved.after(Duration::from_millis(until_ms));
                return self.may_take_ceded(now, to, until);
            }
            // A holder that merely lost its session gets time to create its lock anew.
            let at = lease_moved.after(self.config.timing.renew * 2);
            self.wake_at(at);
            return if now >= at {
                self.may_go_first(now)
            } else {
                Err(format!("nobody holds the lock; {holder} was active last (epoch {epoch})"))
            };
        }
        let timing = &self.config.timing;
        let active = records.active.record();
        let lease_ms = active.map_or(0, |active| active.lease_ms).max(timing.lease_ms());
        let kill_ms = active.map_or(0, |active| active.kill_ms).max(timing.kill_ms());
        let claimant = active
            .and_then(|active| active.claimant.as_ref())
            .map(|claimant| claimant.node.clone());
        let patience = office::patience(lease_ms, kill_ms, claimant.is_some(), timing.renew);
        let at = lease_moved.max(active_moved).after(patience);
        self.wake_at(at);
        if now >= at {
            return Ok(());
        }
        Err(claimant.map_or_else(
            || format!("{holder} is active (epoch {epoch})"),
            |claimant| format!("{claimant} takes over from {holder} (epoch {epoch})"),
        ))
    }

    /// Whether an office that was ceded to `to` can be claimed: by that one at once, by others when it is seen that it will not, or
    /// `until` has passed. The cession is the proof that nothing runs, whoever claims.
    fn may_take_ceded(
        &mut self,
        now: Time,
        to: Option<NodeName>,
        until: Time,
    ) -> Result<(), String> {
        let mine = to.as_ref() == Some(&self.me.node);
        if mine || now >= until || to.as_ref().is_some_and(|to| self.cannot_succeed(now, to)) {
            return Ok(());
        }
        self.wake_at(until);
        let to = to.map_or_else(|| "the others".to_owned(), |to| to.to_string());
        Err(format!("office was ceded to {to} (epoch {})", self.highest_epoch()))
    }

    /// Whether a headnode that is to succeed is gone since, or cannot run the services.
    fn cannot_succeed(&mut self, now: Time, node: &NodeName) -> bool {
        let records = &self.records;
        let gone = records.headnodes.get(node).is_some_and(|it| it.is_fresh() && it.is_missing());
        let judged = records.health.get(node).is_some_and(Known::is_fresh);
        gone || self.in_maintenance(node).is_some()
            || judged && matches!(self.fitness_by_heartbeat(node, now), Fitness::Unfit(_))
    }

    /// Whether this headnode may be the first to claim an office that is open. Who went down in it, and is back before anybody has
    /// claimed it, leaves it to one that is eligible and ready: what took it down may do so again. Not for longer than that one needs,
    /// if it can claim at all.
    fn may_go_first(&mut self, now: Time) -> Result<(), String> {
        let records = &self.records;
        let Some(active) = records.active.record() else { return Ok(()) };
        let before = active.holder.as_ref().filter(|_| active.claimant.is_none());
        let went_down =
            before.is_some_and(|it| it.same_machine(&self.me) && !it.same_boot(&self.me));
        let epoch = active.epoch;
        let open = records.lease.first_seen().max(records.lock.first_seen());
        let at = open.after(self.config.timing.renew * OTHERS_CLAIM_WITHIN);
        if !went_down || now >= at {
            return Ok(());
        }
        self.wake_at(at);
        match self.fit_peer(now) {
            Some(peer) => Err(format!(
                "this headnode went down as the active of epoch {epoch}, and leaves office to {peer}"
            )),
            None => Ok(()),
        }
    }
}
