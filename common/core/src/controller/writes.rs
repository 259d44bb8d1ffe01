//! The writes of a master-fc, and what follows from each that was carried out.

use super::Controller;
use crate::node::NodeName;
use crate::quorum::{ActionId, Version};
use crate::record::{
    Active, AdoptOrder, Challenge, ConfirmOrder, FailoverOrder, History, Key, Lease, Settings,
    SwitchoverOrder,
};
use crate::time::Time;

/// A write that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) id: ActionId,
    pub(super) write: Write,
    pub(super) sent: Time,
}

/// Which write, and what the record says once it is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Settings(Settings),
    /// The acknowledgement of a keep.
    Keep(Settings),
    /// The acknowledgement of its end.
    Resume(Settings),
    Challenge(Challenge),
    Claim(Active),
    Renew(Lease),
    Office(Active),
    EnterPhase(Active),
    Cede(Active),
    Succeed(Active),
    Accept {
        order: SwitchoverOrder,
        to: NodeName,
        active: Active,
    },
    Refuse(SwitchoverOrder),
    AnswerFailover(FailoverOrder),
    AnswerConfirm(ConfirmOrder),
    AnswerAdopt(AdoptOrder),
    History(History),
}

impl Write {
    /// The record that it answers or adds to, where everything else goes on without it.
    pub(super) fn can_wait(&self) -> Option<Key> {
        match self {
            Self::Keep(_) | Self::Resume(_) => Some(Key::Settings),
            Self::Accept { .. } | Self::Refuse(_) => Some(Key::Switchover),
            Self::AnswerFailover(_) => Some(Key::Failover),
            Self::AnswerConfirm(_) => Some(Key::Confirm),
            Self::AnswerAdopt(_) => Some(Key::Adopt),
            Self::History(_) => Some(Key::History),
            Self::Settings(_)
            | Self::Challenge(_)
            | Self::Claim(_)
            | Self::Renew(_)
            | Self::Office(_)
            | Self::EnterPhase(_)
            | Self::Cede(_)
            | Self::Succeed(_) => None,
        }
    }
}

impl Controller {
    /// A write of ours was carried out.
    pub(super) fn done(&mut self, now: Time, write: Write, version: Version, sent: Time) {
        match write {
            Write::Settings(settings) => self.records.settings.wrote(now, settings, version, None),
            Write::Keep(settings) => {
                self.records.settings.wrote(now, settings.clone(), version, None);
                self.keep_acknowledged(now, &settings);
            }
            Write::Resume(settings) => {
                self.records.settings.wrote(now, settings, version, None);
                self.resume_acknowledged();
            }
            Write::Challenge(challenge) => {
                self.records.challenge.wrote(now, challenge, version, None);
                self.challenge_acknowledged(now, sent);
            }
            Write::Claim(active) => self.claimed(now, active, version),
            Write::Renew(lease) => {
                self.records.lease.wrote(now, lease.clone(), version, None);
                self.renewed(now, lease.epoch, sent);
            }
            Write::Office(active) => {
                self.remember(active.incarnation.clone(), active.epoch);
                self.held = None;
                self.timeline.office = now;
                self.renew_due = now;
                self.records.active.wrote(now, active, version, None);
            }
            Write::EnterPhase(active) => self.records.active.wrote(now, active, version, None),
            Write::Cede(active) => self.ceded(now, active, version),
            Write::Succeed(active) => {
                if active.claimant.is_some() {
                    // The wait starts anew: what the earlier process saw and when is not ours to know.
                    self.wait_from = Some(now);
                }
                self.renew_due = now;
                self.records.active.wrote(now, active, version, None);
                self.lock_created(now);
            }
            Write::Accept { order, to, active } => {
                let what = self.say_answer_to_switchover(&order);
                self.records.switchover.outdate();
                self.records.active.wrote(now, active, version, None);
                self.begin_leaving_to(to, what, now);
            }
            Write::Refuse(order) => {
                self.say_answer_to_switchover(&order);
                self.records.switchover.wrote(now, order, version, None);
            }
            Write::AnswerFailover(order) => {
                let what = format!("failover from {} ordered by {}", order.from, order.by);
                self.say_answer(&what, "this headnode takes over", order.answer.as_ref());
                self.records.failover.wrote(now, order, version, None);
            }
            Write::AnswerConfirm(order) => {
                let what = format!("confirmation by {}", order.by);
                self.say_answer(&what, "it counts for this claim", order.answer.as_ref());
                self.records.confirm.wrote(now, order, version, None);
            }
            Write::AnswerAdopt(order) => {
                let answer = order.answers.get(&self.me.node);
                let what = format!("adoption ordered by {}", order.by);
                self.say_answer(&what, "this headnode follows that life", answer);
                self.records.adopt.wrote(now, order, version, None);
            }
            Write::History(history) => {
                self.transitions.retain(|noted| !history.transitions.contains(noted));
                self.records.history.wrote(now, history, version, None);
            }
        }
    }

    fn ceded(&mut self, now: Time, active: Active, version: Version) {
        self.course = format!("epoch {} was ceded", active.epoch);
        self.records.active.wrote(now, active, version, None);
        self.records.lock.outdate();
        self.held = None;
        self.leaving = None;
    }
}
