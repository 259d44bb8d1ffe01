//! Outside office and on the way to it: stand by, claim, wait until the way is free, take office, succeed oneself.

use std::time::Duration;

use super::{Action, Controller, Held, Timeline, Write};
use crate::epoch::{Epoch, Incarnation, Remembered};
use crate::known::Content;
use crate::node::{Identity, NodeName};
use crate::office::{self, Evidence, Ground, MayBeKept, Standing, WayFree};
use crate::quorum::Version;
use crate::record::{Active, Corrupt, FORMAT, Lock, Maintenance, Phase, Promise, Rest, Settings};
use crate::say::Kind;
use crate::time::Time;

impl Controller {
    /// How this process stands to the office, as far as is known.
    pub(super) fn standing(&self) -> Standing {
        let active = self.records.active.record();
        match office::standing(active, &self.me) {
            // slave-ha-service has promised that this epoch is over here: it can only be claimed anew.
            Standing::Heir if active.is_some_and(|active| self.is_closed(active.epoch)) => {
                Standing::Outside
            }
            standing @ (Standing::Outside
            | Standing::Claimant
            | Standing::Holder
            | Standing::Heir
            | Standing::HeirOfClaim) => standing,
        }
    }

    /// Compares how things stand with how they should, and takes the next step.
    pub(super) fn compete(&mut self, now: Time) {
        let standing = self.standing();
        self.notice_loss();
        if standing != Standing::Claimant {
            self.wait_from = None;
        }
        self.forget_claim(standing);
        match standing {
            Standing::Outside | Standing::Claimant => {}
            Standing::Holder | Standing::Heir | Standing::HeirOfClaim => self.acquit(),
        }
        self.doubt(now);
        if !self.is_connected() || self.pending.is_some() {
            return;
        }
        if now < self.write_due {
            self.wake_at(self.write_due);
            return;
        }
        if !self.records.active.is_fresh() || !self.records.lock.is_fresh() {
            // A renewal is bound to the version of `active`: it needs no fresh look at it.
            if standing == Standing::Holder {
                self.renew_if_due(now);
            }
            return;
        }
        let lock_is_mine =
            self.is_connected() && self.records.lock.owner() == self.presence.session();
        match standing {
            Standing::Heir | Standing::HeirOfClaim => self.succeed(now),
            Standing::Holder | Standing::Claimant if !lock_is_mine => self.succeed(now),
            Standing::Holder => self.hold(now),
            Standing::Claimant => self.pursue(now),
            Standing::Outside => {
                self.end_keep_out_of_office();
                self.stand_by(now);
            }
        }
    }

    /// A holder that reads another's claim on its epoch, or a later office of another, is holder no more. A record that
    /// is older than what is held comes from a lagging server and says nothing; D runs anyway.
    fn notice_loss(&mut self) {
        let Some(held) = self.held.as_mut() else { return };
        let Some(active) = self.records.active.record() else { return };
        let outside = office::standing(Some(active), &self.me) == Standing::Outside;
        if held.lost || !outside || active.epoch < held.epoch {
            return;
        }
        held.lost = true;
        held.kept = None;
        let by = active.claimant.as_ref().or(active.holder.as_ref()).map(|by| by.node.to_string());
        let ceded = active.epoch == held.epoch
            && matches!(active.phase, Phase::Ceded { .. })
            && active.claimant.is_none();
        self.leaving = None;
        let by = by.unwrap_or_else(|| "nobody".to_owned());
        self.course = format!("office lost to {by}: services are stopped");
        if !ceded {
            self.tell_of(Kind::OfficeLost, self.course.clone());
        }
    }

    /// Write 6: resume what an earlier process, or this one with an earlier session, held or claimed.
    fn succeed(&mut self, now: Time) {
        let (Some(version), Some(active)) =
            (self.records.active.version(), self.records.active.record())
        else {
            return;
        };
        let lock = &self.records.lock;
        let foreign = lock.record().is_some_and(|lock| !lock.by.same_boot(&self.me))
            || matches!(lock.content(), Content::Corrupt(_));
        let (ops, active) = office::succeed(version, active, lock.version(), &self.me);
        if foreign {
            // It comes from no claim, which would stand in `active`: office is not lost for what somebody wrote by hand.
            let text = "`lock` was there without a claim, as if somebody had written it by hand: it is replaced";
            self.tell_of(Kind::LockReplaced, text.to_owned());
        }
        self.write(now, ops, Write::Succeed(active));
    }

    /// Outside office: claim it if that is due, or know why not.
    fn stand_by(&mut self, now: Time) {
        let records = &self.records;
        if !records.settings.is_fresh() || !records.lease.is_fresh() {
            return;
        }
        if records.settings.is_missing() {
            self.found_cluster(now);
            return;
        }
        if self.answer_adoption(now) || self.answer_failover(now) {
            return;
        }
        self.poll_for_silence(now);
        self.look_for_kept();
        let unknown = self.word_about_keep().is_some() && !self.are_signs_fresh();
        if unknown || self.take_word_back(now) || self.suspect_holder(now) {
            return;
        }
        match self.obstacle(now) {
            Some(why) => self.course = self.with_suspicion(why),
            None => self.claim(now),
        }
    }

    /// Nobody ever wrote here: the records start a new life of the cluster. Many may try; the first one's stands.
    fn found_cluster(&mut self, now: Time) {
        let incarnation = (self.remembered.as_ref()).map_or_else(
            || Incarnation(self.me.process.clone()),
            |remembered| remembered.incarnation.clone(),
        );
        let settings = Settings {
            format: FORMAT,
            incarnation,
            paused: None,
            keep: None,
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        };
        let key = crate::record::Key::Settings;
        let ops = vec![crate::quorum::Op::Create { key, data: crate::record::write(&settings) }];
        self.write(now, ops, Write::Settings(settings));
    }

    /// While no renewal comes, watches are not relied on: a missed one may cost time, never the take-over.
    fn poll_for_silence(&mut self, now: Time) {
        let pace = self.config.timing.renew;
        let silent_at = self.records.lease.first_seen().after(pace * 2);
        if now >= silent_at && now >= self.polled.after(pace) {
            self.polled = now;
            self.records.outdate_office();
        }
        self.wake_at(silent_at.max(self.polled.after(pace)));
    }

    /// Write 1.
    fn claim(&mut self, now: Time) {
        let Some(settings) = self.records.settings.version() else { return };
        let Some(incarnation) = self.incarnation().cloned() else { return };
        let timing = &self.config.timing;
        let unknown =
            office::unknown(incarnation, self.highest_epoch(), timing.lease_ms(), timing.kill_ms());
        let records = &self.records;
        let ground = Ground {
            settings,
            active: &records.active,
            lease: &records.lease,
            lock: &records.lock,
        };
        let (ops, active) = office::claim(&ground, &self.me, unknown);
        self.course = format!(
            "claims office after {} (epoch {})",
            Self::name_of(active.holder.as_ref()),
            active.epoch
        );
        // Here and not when it is done: of a claim whose outcome is unknown nothing is heard but that it stands.
        let ceded = matches!(active.phase, Phase::Ceded { .. });
        let (renewed, moved) = (records.lease.first_seen(), records.active.first_seen());
        self.timeline = Timeline {
            last_sign: if ceded { renewed.max(moved) } else { renewed },
            claimed: now,
            from: active.holder.as_ref().map(|holder| holder.node.clone()),
            ordered: self.ordered_failover().map(|order| order.by.clone()),
            ..Timeline::default()
        };
        self.write(now, ops, Write::Claim(active));
    }

    /// As claimant: take office as soon as the way is free.
    fn pursue(&mut self, now: Time) {
        let fresh = self.records.promises.values().all(crate::known::Known::is_fresh);
        // A process that resumes a claim may not have read yet whether services may be kept.
        if !self.records.lease.is_fresh() || !self.records.settings.is_fresh() || !fresh {
            return;
        }
        let (Some(version), Some(active)) =
            (self.records.active.version(), self.records.active.record().cloned())
        else {
            return;
        };
        let trusted = self.is_trusted(&active);
        let seen = if trusted { self.records.lease.first_seen() } else { now };
        let wait_from = *self.wait_from.get_or_insert(seen);
        let promises: Vec<(NodeName, i64, Promise)> = (self.records.promises.iter())
            .filter_map(|(node, known)| {
                Some((node.clone(), known.changed(), known.record()?.clone()))
            })
            .collect();
        let confirmed = self.believed(version, &active);
        let fenced = self.fenced_since_claim(&active);
        let kept = self.judge_keep();
        let headnodes: Vec<NodeName> =
            self.config.headnodes.iter().map(|headnode| headnode.name.clone()).collect();
        let timing = &self.config.timing;
        // Where `active` does not tell what the last term's lease was, the last renewal does.
        let renewed = self.records.lease.record().filter(|_| !trusted);
        let (lease_ms, kill_ms) =
            renewed.map_or((0, 0), |renewed| (renewed.lease_ms, renewed.kill_ms));
        let evidence = Evidence {
            active: &active,
            trusted,
            changed: self.records.active.changed(),
            promises: &promises,
            confirmed: &confirmed,
            fenced: fenced.as_ref(),
            headnodes: &headnodes,
            wait_from,
            lease_ms: active.lease_ms.max(timing.lease_ms()).max(lease_ms),
            kill_ms: active.kill_ms.max(timing.kill_ms()).max(kill_ms),
            kept,
        };
        match office::way_free(&evidence, &self.me, now) {
            Some(way) => {
                self.trust = None;
                self.trust(&evidence, &way);
                self.take_office(now, version, &active, way);
            }
            None => {
                let waited_at = evidence.waited_at();
                if self.show_and_hear(now, version, &evidence)
                    || self.take_word_back(now)
                    || self.suspect_old_holder(now, &active, trusted, &evidence.kept)
                {
                    return;
                }
                let course = match &evidence.kept {
                    MayBeKept::No | MayBeKept::Off(_) => format!(
                        "claimed over epoch {}; waiting until its lease and kill time have passed, at most {:.1} s more",
                        active.epoch,
                        waited_at.since(now).as_secs_f64()
                    ),
                    MayBeKept::Yes => format!(
                        "claimed over epoch {}; its services may be kept (`headship pause --keep`): waiting for a promise",
                        active.epoch
                    ),
                };
                self.course = self.with_suspicion(course);
                self.wake_at(waited_at);
            }
        }
    }

    /// Whether `active` can be believed about who held office last.
    pub(super) fn is_trusted(&self, active: &Active) -> bool {
        active.holder.is_some()
            && self.incarnation() == Some(&active.incarnation)
            && self.remembered.as_ref().is_none_or(|mine| mine.epoch <= active.epoch)
    }

    /// Write 3.
    fn take_office(&mut self, now: Time, version: Version, old: &Active, way: WayFree) {
        let Some(incarnation) = self.incarnation().cloned() else { return };
        let timing = &self.config.timing;
        let mut office = office::unknown(
            incarnation,
            self.highest_epoch().next(),
            timing.lease_ms(),
            timing.kill_ms(),
        );
        office.holder = Some(self.me.clone());
        office.services = self.config.services.iter().map(|service| service.name.clone()).collect();
        office.addresses = (self.config.headnodes.iter())
            .filter(|headnode| headnode.name == self.me.node)
            .map(|headnode| headnode.address.clone())
            .collect();
        office.since = self.wall;
        office.rest = old.rest.clone();
        office.taken_on = self.taken_on();
        let ops = office::take(version, &office);
        self.timeline.cause = Some(way);
        self.write(now, ops, Write::Office(office));
    }

    pub(super) fn claimed(&mut self, now: Time, active: Active, version: Version) {
        self.wait_from = None;
        if let MayBeKept::Off(word) = self.judge_keep() {
            let text = format!("{} counts as powered off, as {} confirmed", word.node, word.by);
            self.tell_of(Kind::WordTaken, text);
        }
        self.records.active.wrote(now, active, version, None);
        self.lock_created(now);
        // Everything that shows the way free must be read after the claim.
        self.records.active.outdate();
        self.records.lease.outdate();
        self.records.promises.values_mut().for_each(crate::known::Known::outdate);
    }

    pub(super) fn lock_created(&mut self, now: Time) {
        let lock = Lock { format: FORMAT, by: self.me.clone() };
        self.records.lock.wrote(now, lock, Version(0), self.presence.session());
    }

    pub(super) fn renewed(&mut self, now: Time, epoch: Epoch, sent: Time) {
        let current = self.records.active.record().filter(|active| active.epoch == epoch);
        let Some(active) = current else { return };
        let incarnation = active.incarnation.clone();
        let lease = Duration::from_millis(active.lease_ms);
        let kill = Duration::from_millis(active.kill_ms);
        if self.standing() != Standing::Holder {
            return; // Another's claim was read while the renewal was under way: holder no more.
        }
        // Invariant 4: the figures of a term are those that `active` gives to a taker. A configuration that was changed since
        // counts from the next term on.
        let held = Held {
            epoch,
            deadline: crate::lease::deadline(sent, lease),
            kept: self.kept_beyond_renewal(epoch),
            lease,
            kill,
            grace: self.config.timing.grace_in(lease),
            lost: false,
            expired: None,
            gone: false,
        };
        self.let_others_write(now, sent, &held);
        self.remember(incarnation.clone(), epoch);
        self.write_permit(now, incarnation, &held);
        self.held = Some(held);
    }

    /// With a quorum that answers each renewal later than the next is due, nothing but renewals would ever be written: no
    /// announcement, no cession. So another write gets its turn, where the lease has room for it and the next renewal.
    fn let_others_write(&mut self, now: Time, sent: Time, held: &Held) {
        let room = held.lease.saturating_sub(held.grace);
        if now.since(sent) * 3 < room {
            let pause = self.config.timing.renew_in(held.lease) / 4;
            self.renew_due = self.renew_due.max(now.after(pause));
        }
    }

    /// Whoever was seen in office counts, not only oneself.
    pub(super) fn remember_what_is_read(&mut self) {
        let Some(active) = self.records.active.record() else { return };
        if self.incarnation() == Some(&active.incarnation) {
            self.remember(active.incarnation.clone(), active.epoch);
        }
    }

    /// Keeps the highest epoch seen, durably.
    pub(super) fn remember(&mut self, incarnation: Incarnation, epoch: Epoch) {
        let known = self.remembered.as_ref();
        if known.is_none_or(|known| known.incarnation == incarnation && known.epoch < epoch) {
            let remembered = Remembered { incarnation, epoch };
            self.remembered = Some(remembered.clone());
            self.actions.push_back(Action::Remember(remembered));
        }
    }

    /// Why `active` cannot be used at all, if so: a newer program wrote it.
    pub(super) fn unreadable_active(&self) -> Option<String> {
        match self.records.active.content() {
            Content::Corrupt(newer @ Corrupt::Newer { .. }) => Some(newer.to_string()),
            Content::Corrupt(Corrupt::Form { .. })
            | Content::Unread
            | Content::Missing
            | Content::Record(_) => None,
        }
    }

    /// The name of a holder, for sentences.
    pub(super) fn name_of(holder: Option<&Identity>) -> String {
        holder.map_or_else(|| "nobody".to_owned(), |holder| holder.node.to_string())
    }
}
