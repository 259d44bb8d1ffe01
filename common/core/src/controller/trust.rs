//! An office that was taken on a word: an operator's, or a fence method's, that a host is off.
//!
//! If something shows later that the host lives, the word was wrong, and everything that was started by it is stopped again.
//! `protocol.md`, 7.

use super::Controller;
use crate::lease;
use crate::node::{Identity, NodeName};
use crate::office::{Confirmed, Evidence, MayBeKept, Standing, WayFree};
use crate::record::{TakenOn, Whose, Word, signs_of};
use crate::say::Kind;
use crate::time::{Time, millis};

/// An office that was taken on somebody's word, or a fence method's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Trust {
    on: TakenOn,
    /// When lease and kill time of whoever held office before have surely passed.
    until: Time,
    /// What would show that it was wrong was not read yet: an earlier process took office on it, which may have known more.
    unread: bool,
    /// Whether the word was found to be wrong while that mattered.
    pub(super) wrong: bool,
}

/// Whether it was looked on what this headnode's office was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Recall {
    /// Not yet: an earlier process may have taken it on a word.
    #[default]
    Due,
    /// It was looked, or this process took office itself.
    Done,
}

impl Controller {
    /// Where office is being taken on somebody's word, or a fence method's: what shows that it was wrong is looked for from now
    /// on.
    pub(super) fn trust(&mut self, evidence: &Evidence<'_>, way: &WayFree) {
        self.recall = Recall::Done;
        let over = evidence.active.holder.clone();
        let words = match (way, evidence.fenced) {
            (WayFree::Fenced { .. }, Some(fenced)) => {
                let whose = Whose::Method(fenced.by.clone());
                vec![Word { node: fenced.victim.node.clone(), whose }]
            }
            (WayFree::Confirmed { .. }, _) => evidence.confirmed.iter().map(Word::from).collect(),
            (
                WayFree::Ceded { .. }
                | WayFree::OwnPromise
                | WayFree::Promised
                | WayFree::WaitedOut
                | WayFree::Fenced { .. },
                _,
            ) => return,
        };
        let wait = lease::wait(evidence.lease_ms, evidence.kill_ms);
        let mut on = TakenOn {
            words,
            over,
            epoch: evidence.active.epoch,
            claimed: evidence.changed,
            wait_ms: Some(millis(wait)),
        };
        let mut until = evidence.waited_at();
        if let Some((_, kept)) = self.unproven_keep() {
            let word = match &evidence.kept {
                MayBeKept::Off(word) => Some(Word::from(word)),
                MayBeKept::No | MayBeKept::Yes => {
                    on.words.iter().find(|word| word.node == kept.by.node).cloned()
                }
            };
            // What is kept has no D: it ends with its boot or by its promise, and never by itself.
            if let Some(word) = word {
                on.words = vec![word];
                (on.over, on.epoch, on.wait_ms) = (Some(kept.by.clone()), kept.epoch, None);
                until = Time::MAX;
            }
        }
        self.trust = Some(Trust { on, until, unread: false, wrong: false });
    }

    /// The word that office is being taken on, as it stands in the record of the office.
    pub(super) fn taken_on(&self) -> Option<TakenOn> {
        self.trust.as_ref().map(|trust| trust.on.clone())
    }

    /// In an office that an earlier process took on a word: when that was is not known, so it counts from now. Where it is not known
    /// which boot the word was about, a sign may be of a host that was repaired since.
    fn recall_trust(&mut self, now: Time) {
        if std::mem::replace(&mut self.recall, Recall::Done) == Recall::Done {
            return;
        }
        let on = self.records.active.record().and_then(|active| active.taken_on.clone());
        let Some(on) = on.filter(|on| on.over.is_some()) else { return };
        let wait = on.wait_ms.map(std::time::Duration::from_millis);
        let until = wait.map_or(Time::MAX, |wait| now.after(wait));
        for Word { node, .. } in &on.words {
            self.know_signs_of(node);
        }
        self.trust = Some(Trust { on, until, unread: true, wrong: false });
    }

    /// Whether it is not known yet what would show that the word for this office was wrong. Nothing is started before: the process
    /// that took it may have found that out, and stopped everything.
    pub(super) fn may_be_misled(&self) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.unread)
    }

    /// A sign of life of whoever was said to be off: the word was wrong. While what it held may still run, everything is
    /// stopped here at once; afterwards it is only said, and only where a record told which machine and boot it was: any other
    /// sign may be of a host that was repaired.
    pub(super) fn doubt(&mut self, now: Time) {
        let holds = self.standing() == Standing::Holder;
        if holds {
            self.recall_trust(now);
        }
        let Some(trust) = self.trust.clone().filter(|trust| holds && !trust.wrong) else { return };
        let (on, over) = (&trust.on, trust.on.over.as_ref());
        let harmless = over.is_none() && now >= trust.until;
        if harmless || on.words.iter().any(|it| self.boots_anew(&it.node, over)) {
            self.trust = None;
            return;
        }
        let read = on.words.iter().all(|it| self.knows_signs_of(&it.node));
        if let Some(trust) = self.trust.as_mut().filter(|_| read) {
            trust.unread = false;
        }
        let found = on.words.iter().find_map(|word| {
            let since = on.claimed;
            let sign = match &word.whose {
                Whose::Operator(_) => self.sign_of_life(&word.node, over, since),
                Whose::Method(_) => self.shown_since(&word.node, over, since),
            };
            Some((word, sign?))
        });
        let Some((Word { node, whose }, sign)) = found else { return };
        let sign = format!("{node} is not powered off, though {whose}: {sign}");
        let kind = match whose {
            Whose::Operator(_) => Kind::WordWrong,
            Whose::Method(method) => {
                self.liars.insert(method.clone());
                Kind::FenceLied
            }
        };
        if now >= trust.until || self.all_promised(on) {
            let text = format!("{sign}; nothing that it held can run any more");
            self.say(kind, text, None);
            self.trust = None;
            return;
        }
        self.say(kind, format!("{sign}; everything is stopped here"), None);
        self.trust = Some(Trust { wrong: true, unread: false, ..trust });
        self.leaving = None;
        self.begin_leaving(None, sign, now);
        self.remove_permit(now);
    }

    /// Whether the machine shows another boot than the one that was said to be over, which proves that it is.
    pub(super) fn boots_anew(&self, node: &NodeName, over: Option<&Identity>) -> bool {
        self.records.signs.iter().any(|known| {
            let of_node = signs_of(node).iter().any(|(key, _)| key == known.key());
            let sign = known.record().filter(|_| of_node);
            sign.zip(over)
                .is_some_and(|(sign, over)| sign.machine == over.machine && sign.boot != over.boot)
        })
    }

    /// Whether all who were held to be off have promised what they held.
    fn all_promised(&self, on: &TakenOn) -> bool {
        let life = self.incarnation();
        on.words.iter().all(|it| {
            let promise = self.records.promises.get(&it.node).and_then(|known| known.record());
            promise.is_some_and(|promise| {
                on.over.as_ref().is_some_and(|over| over.machine == promise.machine)
                    && life == Some(&promise.incarnation)
                    && promise.epoch >= on.epoch
            })
        })
    }

    /// Whether this office was taken on a word that was found to be wrong.
    pub(super) fn was_misled(&self) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.wrong)
    }

    /// Whether a cession would free the way while somebody, who was held to be off, may still run what it held.
    pub(super) fn must_keep_others_out(&mut self, now: Time) -> bool {
        let Some(trust) = self.trust.clone().filter(|trust| trust.wrong) else { return false };
        let promised = self.all_promised(&trust.on);
        self.wake_at(trust.until);
        !promised && now < trust.until
    }
}

impl From<&Confirmed> for Word {
    fn from(word: &Confirmed) -> Self {
        Self { node: word.node.clone(), whose: Whose::Operator(word.by.clone()) }
    }
}
