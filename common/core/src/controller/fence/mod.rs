//! A holder of office that seems to be dead: when it is doubted, and what must hold before a fence method is asked.
//!
//! One mechanism with two uses. *Early*, a standby doubts a holder that still has the lock: it asks fence agents only, and a
//! Yes opens the office to its claim. *After its claim*, while it waits, it asks every method, and a Yes frees the way. In both
//! everything of that host must have stood still while our own writes went through, and the host must answer nothing; early, a
//! challenge must be left unanswered, too. All of that is looked for at once, and must hold together at the end.
//! `protocol.md`, 7.

mod ask;
mod knock;
mod show;

use std::time::Duration;

use self::knock::Knocks;
use super::{Controller, Write};
use crate::controller::fitness::Fitness;
use crate::epoch::Epoch;
use crate::fencing::{ANSWER_LIMIT, Asking, Victim};
use crate::known::Known;
use crate::node::Identity;
use crate::office::{Fenced, MayBeKept};
use crate::quorum::{ActionId, Op};
use crate::record::{self, Active, Challenge, FORMAT, Key, Pausing, Phase, Rest, Sign, signs_of};
use crate::time::Time;

/// How often challenges are repeated, so that a hint that was lost costs nothing; and how long our own writes may take before
/// the quorum counts as busy, which would explain the holder's silence.
const PACE: Duration = Duration::from_millis(250);

/// Why a method is not waited for any more whose answer nobody would go by.
const NO_REASON: &str = "there is no reason to fence it any more";

/// For what a holder is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Use {
    /// So that its office can be claimed, though the lock is there.
    Early,
    /// So that the claim need not be waited out.
    Claimed,
}

/// What is remembered of a holder of office that may be dead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Suspicion {
    over: Identity,
    epoch: Epoch,
    used: Use,
    /// When anything of its host was last seen to move, as far as that was heeded.
    moved: Time,
    /// Since when our own writes are acknowledged without a gap, if they are.
    steady: Option<Time>,
    /// When the last challenge was sent.
    sent: Option<Time>,
    /// When the last one that was acknowledged was sent, and acknowledged.
    heard: Option<(Time, Time)>,
    /// When the first one since the last movement was acknowledged.
    challenged: Option<Time>,
    knocks: Knocks,
    /// Whether what its host would show is read.
    watched: bool,
    /// What the fence methods were asked and said.
    round: Option<Asking>,
    /// Whether more methods are to be asked in that round, once everything still says that the host is dead: those after one that
    /// did not say Yes, and, where a method was being asked when the office was claimed, those that are asked only then.
    goes_on: bool,
    /// The method that is being asked, by its place.
    asked: Option<(ActionId, usize)>,
    fenced: Option<Fenced>,
    /// Until when nothing is tried again, and why.
    rests: Option<(Time, String)>,
}

impl Suspicion {
    fn new(over: Identity, epoch: Epoch, used: Use, moved: Time, connected: Time) -> Self {
        Self {
            over,
            epoch,
            used,
            moved,
            // What was seen to move shows that the quorum commits, as an acknowledgement does.
            steady: Some(moved.max(connected)),
            sent: None,
            heard: None,
            challenged: None,
            knocks: Knocks::default(),
            watched: false,
            round: None,
            goes_on: false,
            asked: None,
            fenced: None,
            rests: None,
        }
    }

    fn is_about(&self, over: &Identity, epoch: Epoch) -> bool {
        self.over.same_boot(over) && self.epoch == epoch
    }

    fn victim(&self) -> Victim {
        let Identity { node, machine, boot, process: _ } = self.over.clone();
        Victim { node, machine, boot, epoch: self.epoch }
    }

    /// Our own writes are not acknowledged in time: what stands still meanwhile says nothing.
    fn gap(&mut self) {
        (self.steady, self.heard, self.challenged) = (None, None, None);
        self.knocks.silent = None;
        // Nor does a knock that is under way; one by which the host is only to be got to know may go on.
        if self.knocks.acquainted || self.used == Use::Claimed {
            self.knocks.asked = None;
        }
    }

    /// A challenge that was sent then is acknowledged now.
    fn acknowledged(&mut self, now: Time, sent: Time) {
        let pause = self.heard.map_or(Duration::ZERO, |(_, before)| now.since(before));
        if now.since(sent) > PACE || pause > PACE * 3 {
            self.gap();
        }
        self.steady.get_or_insert(now);
        // What moved since it was sent may be its answer.
        if sent > self.moved {
            self.challenged.get_or_insert(now);
        }
        self.heard = Some((sent, now));
    }

    /// When everything has stood still for long enough, a challenge was long enough without its answer, and the host was
    /// found silent; nothing while one of them is missing. `begin` is when it may be counted from.
    fn ready(&self, begin: Time, dead_after: Duration) -> Option<Time> {
        let still = self.steady?.max(self.moved).max(begin).after(dead_after);
        let answered = match self.used {
            Use::Early => self.challenged?.after(ANSWER_LIMIT),
            // Whose office is claimed cannot renew.
            Use::Claimed => begin,
        };
        Some(still.max(answered).max(self.knocks.silent?))
    }
}

impl Controller {
    /// Standing by, with a fresh look at the office: doubts a holder that shows nothing. True if there was something to write.
    pub(super) fn suspect_holder(&mut self, now: Time) -> bool {
        let Some((over, epoch)) = self.holder_to_fence(now) else {
            self.set_aside();
            return false;
        };
        // What can be claimed as it is needs no fence; and one challenge after the other, on a slow quorum, would leave the
        // claim no turn.
        if self.obstacle(now).is_none() {
            return false;
        }
        self.suspect(now, over, epoch, Use::Early)
    }

    /// Claimant, with the way not free: doubts that anything of the old holder is left. True if there was something to write.
    pub(super) fn suspect_old_holder(
        &mut self,
        now: Time,
        active: &Active,
        trusted: bool,
        kept: &MayBeKept,
    ) -> bool {
        let kept = match kept {
            MayBeKept::No | MayBeKept::Off(_) => false,
            MayBeKept::Yes => true,
        };
        let over = active.holder.clone().filter(|over| trusted && !kept && self.may_fence(over));
        let Some(over) = over.filter(|over| self.has_method(over, Use::Claimed)) else {
            self.acquit();
            return false;
        };
        self.suspect(now, over, active.epoch, Use::Claimed)
    }

    /// Whoever holds an office that this headnode would claim at once, if it is to be fenced when it is dead.
    fn holder_to_fence(&mut self, now: Time) -> Option<(Identity, Epoch)> {
        let active = self.records.active.record()?;
        let (over, epoch) = (active.holder.clone()?, active.epoch);
        let held = active.claimant.is_none()
            && !matches!(active.phase, Phase::Ceded { .. })
            && self.is_trusted(active);
        let lock = &self.records.lock;
        // Once it is doubted, a lock that goes changes nothing: the claim is about to come.
        let locked = lock.record().is_some_and(|lock| lock.by.same_boot(&over))
            || lock.is_missing() && self.suspicion.is_some();
        let settings = self.records.settings.record()?;
        let automatic = settings.pausing() == Pausing::Automatic
            && !settings.maintenance.nodes.contains_key(&over.node);
        let may = held && locked && automatic && self.may_fence(&over);
        let fit = may
            && self.has_method(&over, Use::Early)
            && self.bar().is_none()
            && self.own_fitness(now) == Fitness::Fit;
        fit.then_some((over, epoch))
    }

    /// Whether it is another headnode of the configuration.
    fn may_fence(&self, over: &Identity) -> bool {
        self.config.peers().any(|peer| peer.name == over.node) && over.machine != self.me.machine
    }

    /// Whether any method could be asked about it.
    fn has_method(&self, over: &Identity, used: Use) -> bool {
        let mut methods = self.config.fencing.methods.iter();
        methods.any(|method| method.fences(&over.node) && self.may_ask(method, used))
    }

    /// Nobody is doubted any more; a method that is being asked is not waited for.
    pub(super) fn acquit(&mut self) {
        self.stop_asking(NO_REASON);
        self.suspicion = None;
    }

    /// Nobody is doubted for now, as this headnode would not take over, or may not. Of whoever holds that office still, it stays known
    /// that its host answers: it may die meanwhile, and then it cannot show that any more.
    fn set_aside(&mut self) {
        let active = self.records.active.record();
        let holder = active.and_then(|active| Some((active.holder.as_ref()?, active.epoch)));
        let same = |it: &Suspicion| holder.is_some_and(|(over, epoch)| it.is_about(over, epoch));
        if !self.suspicion.as_ref().is_some_and(same) {
            return self.acquit();
        }
        self.stop_asking(NO_REASON);
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.gap();
            (suspicion.watched, suspicion.rests) = (false, None);
            (suspicion.round, suspicion.fenced) = (None, None);
        }
    }

    /// The quorum is out of sight: what was seen of the host is no longer known, and its office cannot be claimed.
    pub(super) fn lose_sight_of_suspect(&mut self) {
        self.stop_asking("the failover quorum is out of sight");
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.gap();
            suspicion.round = None;
        }
    }

    fn suspect(&mut self, now: Time, over: Identity, epoch: Epoch, used: Use) -> bool {
        if !self.suspicion.as_ref().is_some_and(|it| it.is_about(&over, epoch)) {
            self.acquit();
            let moved = self.last_movement(&over);
            let new = Suspicion::new(over.clone(), epoch, used, moved, self.connected_at);
            self.suspicion = Some(new);
        }
        self.heed_movement(&over, used);
        if used == Use::Claimed && self.is_seen_alive(&over) {
            return false;
        }
        if self.goes_on_asking(now) || self.is_resting(now) || !self.is_acquainted(now, used) {
            return false;
        }
        let begin = self.doubts_from(used);
        if now < begin {
            self.wake_at(begin);
            return false;
        }
        self.know_signs_of(&over.node);
        self.knock(now);
        let (counts, dead_after) = (self.counts_from(used), self.config.fencing.dead_after);
        let Some(suspicion) = &mut self.suspicion else { return false };
        suspicion.watched = true;
        let ready = suspicion.ready(counts, dead_after);
        let seen_after = suspicion.heard.zip(ready).is_some_and(|((sent, _), ready)| sent >= ready);
        if seen_after && self.is_host_read(&over) {
            self.ask_methods(now);
            return false;
        }
        let sent = self.suspicion.as_ref().and_then(|suspicion| suspicion.sent);
        let due = sent.map_or(now, |sent| {
            let next = sent.after(PACE);
            ready.filter(|ready| sent < *ready).map_or(next, |ready| next.min(ready))
        });
        if now < due {
            self.wake_at(due);
            return false;
        }
        self.challenge(now, epoch)
    }

    /// Whether a session of that boot is there. Whoever lives and is claimed over stops what it runs, which may take until D, and
    /// shows nothing else meanwhile; a host without power loses its sessions about when it loses its lock.
    fn is_seen_alive(&mut self, over: &Identity) -> bool {
        self.know_signs_of(&over.node);
        self.session_of(&over.node, Some(over)).is_some()
    }

    /// From when on the host is doubted: early, once a renewal is late.
    fn doubts_from(&self, used: Use) -> Time {
        let (Some(suspicion), Some(active)) = (&self.suspicion, self.records.active.record())
        else {
            return Time::MAX;
        };
        let renew = self.config.timing.renew_in(Duration::from_millis(active.lease_ms));
        match used {
            Use::Early => suspicion.moved.after(renew + renew / 4),
            Use::Claimed => self.counts_from(used),
        }
    }

    /// From when on stillness counts: whoever reads a claim on its office shows that it lives.
    fn counts_from(&self, used: Use) -> Time {
        match used {
            Use::Early => Time::default(),
            Use::Claimed => self.records.active.first_seen(),
        }
    }

    /// What moved since is a sign of life: nothing is gone by that was found before, and the methods are asked no more.
    fn heed_movement(&mut self, over: &Identity, used: Use) {
        let moved = self.last_movement(over);
        let renewed = self.records.lease.first_seen();
        let Some(suspicion) = &mut self.suspicion else { return };
        if suspicion.used != used {
            // The claim is something new to ask about, with more methods; what is being asked goes on.
            (suspicion.used, suspicion.rests) = (used, None);
            let goes_on = suspicion.goes_on || suspicion.asked.is_some();
            suspicion.goes_on = used == Use::Claimed && goes_on;
        }
        if moved <= suspicion.moved {
            return;
        }
        // A renewal dates whatever was written before it. Anything else that is read goes on being read: forgotten, it would be a
        // movement each time that it is read anew.
        suspicion.watched = suspicion.watched && renewed <= suspicion.moved;
        suspicion.moved = moved;
        suspicion.gap();
        suspicion.steady = Some(moved.max(self.connected_at));
        suspicion.rests = None;
        self.break_off();
    }

    /// When anything was last seen that the host's daemons write. What was written before the newest renewal was seen no later
    /// than that, whenever it was read.
    fn last_movement(&self, over: &Identity) -> Time {
        let records = &self.records;
        let (renewed, at) = (records.lease.changed(), records.lease.first_seen());
        let since = |changed: i64, seen: Time| if changed > renewed { seen } else { at };
        let others = [
            records.promises.get(&over.node).map(|it| since(it.changed(), it.first_seen())),
            records.headnodes.get(&over.node).map(|it| since(it.changed(), it.first_seen())),
            records.health.get(&over.node).map(|it| since(it.changed(), it.first_seen())),
            // As claimant one has written it oneself.
            Some(&records.active)
                .filter(|it| it.record().is_some_and(|active| active.claimant.is_none()))
                .map(|it| since(it.changed(), it.first_seen())),
        ];
        let rest = self.signs_beside(over).map(|it| since(it.changed(), it.first_seen()));
        others.into_iter().flatten().chain(rest).fold(at, Time::max)
    }

    /// What is known of its ephemeral records that are read for this only.
    fn signs_beside(&self, over: &Identity) -> impl Iterator<Item = &Known<Sign>> {
        let keys = signs_of(&over.node).map(|(key, _)| key);
        let known_anyway = |key: &Key| matches!(key, Key::Headnode(_) | Key::Health(_));
        let signs = self.records.signs.iter();
        signs.filter(move |it| keys.contains(it.key()) && !known_anyway(it.key()))
    }

    /// Whether all that the host writes was read, with nothing known of a change since.
    fn is_host_read(&self, over: &Identity) -> bool {
        let (records, node) = (&self.records, &over.node);
        records.promises.get(node).is_some_and(Known::is_fresh)
            && records.headnodes.get(node).is_some_and(Known::is_fresh)
            && records.health.get(node).is_some_and(Known::is_fresh)
            && records.lease.is_fresh()
            && self.knows_signs_of(node)
    }

    /// Write 7's question.
    fn challenge(&mut self, now: Time, epoch: Epoch) -> bool {
        let known = &self.records.challenge;
        let Some(active) = self.records.active.version().filter(|_| known.is_fresh()) else {
            return false;
        };
        let number = known.record().map_or(1, |before| before.number.saturating_add(1));
        let by = self.me.clone();
        let challenge = Challenge { format: FORMAT, epoch, number, by, rest: Rest::new() };
        let (key, data) = (Key::Challenge, record::write(&challenge));
        let op = match known.version() {
            version @ Some(_) => Op::Set { key, version, data },
            None => Op::Create { key, data },
        };
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.sent = Some(now);
        }
        let ops = vec![Op::Check { key: Key::Active, version: Some(active) }, op];
        self.write(now, ops, Write::Challenge(challenge));
        true
    }

    /// A challenge is written. What the host wrote before it is read from now on: the acknowledgement of a write of our own
    /// shows that our server is as new as that.
    pub(super) fn challenge_acknowledged(&mut self, now: Time, sent: Time) {
        let Some(suspicion) = &mut self.suspicion else { return };
        suspicion.acknowledged(now, sent);
        let node = suspicion.over.node.clone();
        self.records.outdate_host(&node);
    }

    /// A challenge was refused, or nobody knows.
    pub(super) fn challenge_failed(&mut self) {
        self.records.challenge.outdate();
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.gap();
        }
    }

    /// A holder answers a challenge by renewing at once.
    pub(super) fn answer_challenge(&mut self) {
        self.renew_due = Time::default();
    }

    fn is_resting(&mut self, now: Time) -> bool {
        let Some(suspicion) = &mut self.suspicion else { return false };
        let Some((until, _)) = &suspicion.rests else { return false };
        let until = *until;
        if now >= until {
            // All of it is looked at anew.
            suspicion.rests = None;
            suspicion.gap();
            suspicion.steady = Some(now);
            return false;
        }
        self.wake_at(until);
        true
    }

    /// Whether what a doubted host would show is being read.
    pub(super) fn watches_suspect(&self) -> bool {
        self.suspicion.as_ref().is_some_and(|it| it.watched)
    }

    /// Whether the holder of office was fenced, so that its office can be claimed though its lock is there.
    pub(super) fn is_holder_fenced(&self) -> bool {
        let active = self.records.active.record();
        let held = active.filter(|active| active.claimant.is_none());
        held.is_some_and(|active| self.fenced(active).is_some())
    }

    /// The Yes about exactly the holder of this office, if there is one.
    fn fenced(&self, active: &Active) -> Option<&Fenced> {
        let fenced = self.suspicion.as_ref()?.fenced.as_ref()?;
        let holder = active.holder.as_ref()?;
        fenced.victim.is(holder, active.epoch).then_some(fenced)
    }
}

#[cfg(test)]
mod tests;
