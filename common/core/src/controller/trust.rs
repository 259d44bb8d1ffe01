//! An office that was taken on a word: an operator's, or a fence method's, that a host is off.
//!
//! If something shows later that the host lives, the word was wrong, and everything that was started by it is stopped again.
//! `protocol.md`, 7.

use super::Controller;
use crate::epoch::Epoch;
use crate::node::{Identity, NodeName};
use crate::office::{Confirmed, Evidence, MayBeKept, Standing, WayFree};
use crate::record::signs_of;
use crate::say::Kind;
use crate::time::Time;

/// Whose word it is that a headnode is off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// Somebody's, and from where.
    Operator(String),
    /// A fence method's.
    Method(String),
}

/// A word that an office was taken on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Word {
    /// Which headnode is off.
    node: NodeName,
    whose: Whose,
}

/// An office that was taken on somebody's word, or a fence method's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Trust {
    words: Vec<Word>,
    /// Which machine and boot, where that is known.
    over: Option<Identity>,
    /// When lease and kill time of whoever held office before have surely passed.
    until: Time,
    /// The epoch that was claimed over.
    epoch: Epoch,
    /// The transaction of the claim: what was written before it says nothing.
    claimed: i64,
    /// Whether the word was found to be wrong while that mattered.
    pub(super) wrong: bool,
}

impl Controller {
    /// Where office is being taken on somebody's word, or a fence method's: what shows that it was wrong is looked for from now
    /// on.
    pub(super) fn trust(&mut self, evidence: &Evidence<'_>, way: &WayFree) {
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
        let mut trust = Trust {
            words,
            over,
            until: evidence.waited_at(),
            epoch: evidence.active.epoch,
            claimed: evidence.changed,
            wrong: false,
        };
        if let Some((_, kept)) = self.unproven_keep() {
            let word = match &evidence.kept {
                MayBeKept::Off(word) => Some(Word::from(word)),
                MayBeKept::No | MayBeKept::Yes => {
                    trust.words.iter().find(|word| word.node == kept.by.node).cloned()
                }
            };
            // What is kept has no D: it ends with its boot or by its promise, and never by itself.
            if let Some(word) = word {
                trust.words = vec![word];
                (trust.over, trust.epoch) = (Some(kept.by.clone()), kept.epoch);
                trust.until = Time::MAX;
            }
        }
        self.trust = Some(trust);
    }

    /// A sign of life of whoever was said to be off: the word was wrong. While what it held may still run, everything is
    /// stopped here at once; afterwards it is only said, and only where a record told which machine and boot it was: any other
    /// sign may be of a host that was repaired.
    pub(super) fn doubt(&mut self, now: Time) {
        let holds = self.standing() == Standing::Holder;
        let Some(trust) = self.trust.clone().filter(|trust| holds && !trust.wrong) else { return };
        let harmless = trust.over.is_none() && now >= trust.until;
        if harmless || trust.words.iter().any(|it| self.boots_anew(&it.node, trust.over.as_ref())) {
            self.trust = None;
            return;
        }
        let found = trust.words.iter().find_map(|word| {
            let (over, since) = (trust.over.as_ref(), trust.claimed);
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
        if now >= trust.until || self.all_promised(&trust) {
            let text = format!("{sign}; nothing that it held can run any more");
            self.say(kind, text, None);
            self.trust = None;
            return;
        }
        self.say(kind, format!("{sign}; everything is stopped here"), None);
        self.trust = Some(Trust { wrong: true, ..trust });
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
    fn all_promised(&self, trust: &Trust) -> bool {
        let life = self.incarnation();
        trust.words.iter().all(|it| {
            let promise = self.records.promises.get(&it.node).and_then(|known| known.record());
            promise.is_some_and(|promise| {
                trust.over.as_ref().is_some_and(|over| over.machine == promise.machine)
                    && life == Some(&promise.incarnation)
                    && promise.epoch >= trust.epoch
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
        let promised = self.all_promised(&trust);
        self.wake_at(trust.until);
        !promised && now < trust.until
    }
}

impl From<&Confirmed> for Word {
    fn from(word: &Confirmed) -> Self {
        Self { node: word.node.clone(), whose: Whose::Operator(word.by.clone()) }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator(by) => write!(f, "{by} confirmed it"),
            Self::Method(method) => write!(f, "fence method `{method}` said so"),
        }
    }
}
