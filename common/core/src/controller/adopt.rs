//! Following another life of the cluster, by order: after its records were restored or made anew.
//!
//! What this headnode remembered says nothing of the new life, and the records of the new life say nothing of who may still run
//! services under an office of the old one. So nothing is adopted before everything else has surely run out: offices that
//! are not in these records could not be renewed since they are what they are, and that is at least as long as the order lies
//! there. `protocol.md`, 4.

use super::{Action, Controller, Records, Write};
use crate::epoch::{Epoch, Incarnation, Remembered};
use crate::known::Content;
use crate::lease;
use crate::quorum::Op;
use crate::record::{self, AdoptOrder, Answer, Key};
use crate::say::Kind;
use crate::time::Time;

impl Controller {
    /// Answers an order to adopt another life of the cluster, and adopts it. True if there was something to do.
    pub(super) fn answer_adoption(&mut self, now: Time) -> bool {
        let known = self.records.adopt.is_fresh() && self.records.settings.is_fresh();
        if !known || self.is_denied(now, &Key::Adopt) {
            return false;
        }
        let Some(order) = self.records.adopt.record().cloned() else { return false };
        if order.answers.contains_key(&self.me.node) || self.wall > order.not_after {
            return false;
        }
        let Some(answer) = self.judge_adoption(now, &order) else { return false };
        let Some(version) = self.records.adopt.version() else { return false };
        if answer == Answer::Accepted {
            self.adopt(&order);
        }
        let mut order = order;
        order.answers.insert(self.me.node.clone(), answer);
        let data = record::write(&order);
        let ops = vec![Op::Set { key: Key::Adopt, version: Some(version), data }];
        self.write(now, ops, Write::AnswerAdopt(order));
        true
    }

    /// The answer to the order, or nothing while it must wait.
    fn judge_adoption(&mut self, now: Time, order: &AdoptOrder) -> Option<Answer> {
        let refuse = |why: String| Some(Answer::Refused { why });
        let there = self.records.settings.record().map(|settings| &settings.incarnation);
        if there != Some(&order.incarnation) {
            return refuse("the records are of yet another life by now: order anew".to_owned());
        }
        if !self.remembers_another(&order.incarnation) {
            return Some(Answer::Accepted);
        }
        if let Some(held) = &self.held {
            return refuse(format!(
                "{} holds office of epoch {} in another life of the cluster: `systemctl stop master-fc` there, start it again, and order anew",
                self.me.node, held.epoch
            ));
        }
        if order.refusal().is_some() {
            return None;
        }
        let at = self.all_others_run_out_at(&order.incarnation);
        self.wake_at(at);
        (now >= at).then_some(Answer::Accepted)
    }

    /// Each answer of another headnode changes the record. The wait counts from when the order was first seen all the same:
    /// with three headnodes it would else outlast the order.
    pub(super) fn note_adoption(&mut self) {
        let known = &self.records.adopt;
        match known.content() {
            Content::Record(order) => {
                if self.adoption.as_ref().is_none_or(|(id, _)| *id != order.order) {
                    self.adoption = Some((order.order.clone(), known.first_seen()));
                }
            }
            // Should it come back, the records were restored once more.
            Content::Missing | Content::Corrupt(_) => self.adoption = None,
            Content::Unread => {}
        }
    }

    fn remembers_another(&self, incarnation: &Incarnation) -> bool {
        self.remembered.as_ref().is_some_and(|mine| mine.incarnation != *incarnation)
    }

    /// When whatever was not granted by these records has surely run out, by the largest figures that are known. An office of
    /// another life that is still renewed keeps it away.
    fn all_others_run_out_at(&self, incarnation: &Incarnation) -> Time {
        let Records { active, lease, adopt, .. } = &self.records;
        let foreign = active.record().is_some_and(|active| active.incarnation != *incarnation);
        let moved = lease.first_seen().max(active.first_seen());
        let ordered = self.adoption.as_ref().map_or_else(|| adopt.first_seen(), |(_, at)| *at);
        let since = if foreign { ordered.max(moved) } else { ordered };
        let timing = &self.config.timing;
        let of_active = active.record().map_or((0, 0), |active| (active.lease_ms, active.kill_ms));
        let of_lease = lease.record().map_or((0, 0), |lease| (lease.lease_ms, lease.kill_ms));
        let lease_ms = timing.lease_ms().max(of_active.0).max(of_lease.0);
        let kill_ms = timing.kill_ms().max(of_active.1).max(of_lease.1);
        since.after(lease::wait(lease_ms, kill_ms))
    }

    /// From now on this headnode goes by the new life, with the highest number that its records show.
    fn adopt(&mut self, order: &AdoptOrder) {
        let incarnation = &order.incarnation;
        if !self.remembers_another(incarnation) {
            return;
        }
        let active = self.records.active.record();
        let office = active.filter(|active| active.incarnation == *incarnation);
        let office = office.map(|active| active.epoch);
        let promises = self.records.promises.values().filter_map(|known| known.record());
        let promises = promises
            .filter(|promise| promise.incarnation == *incarnation)
            .map(|promise| promise.epoch);
        let epoch = promises.chain(office).max().unwrap_or(Epoch(0));
        let remembered = Remembered { incarnation: incarnation.clone(), epoch };
        self.remembered = Some(remembered.clone());
        self.actions.push_back(Action::Remember(remembered));
        self.course = format!(
            "follows another life of the cluster from epoch {epoch} on, as {} ordered",
            order.by
        );
        self.tell_of(Kind::LifeAdopted, self.course.clone());
    }
}
