//! Operators' orders as records: `orders/<kind>`, one of a kind at a time.
//!
//! Each says who gave it, and is bound to what it was given for and to an end of its validity, so that one that got lost or
//! came late does no harm. It is answered before anything moves. Who carries it out is decided in `controller`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Key, Rest};
use crate::epoch::{Epoch, Incarnation};
use crate::node::{Identity, NodeName};
use crate::time::WallTime;

/// What every kind of order has.
pub trait Order {
    /// Where orders of this kind lie.
    const KEY: Key;

    /// What this one shares with all others.
    fn given(&self) -> Given<'_>;
}

/// What an order shares with all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<'a> {
    /// Its random id.
    pub id: &'a str,
    /// What was ordered, in a phrase with an article.
    pub what: String,
    /// Who gave it, and from where.
    pub by: &'a str,
    /// The epoch it was given for.
    pub epoch: Epoch,
    /// After this it must not be carried out.
    pub not_after: WallTime,
    /// How it was answered, if it was.
    pub answer: Option<&'a Answer>,
}

impl Given<'_> {
    /// Whether another order of this epoch would contradict it now: it waits for its answer, or is being carried out.
    pub fn is_live(&self, epoch: Epoch, now: WallTime) -> bool {
        let refused = matches!(self.answer, Some(Answer::Refused { .. }));
        self.epoch == epoch && now <= self.not_after && !refused
    }
}

/// The answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is being carried out.
    Accepted,
    /// It will not be carried out.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// `orders/switchover`: the holder shall cede. It answers and carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SwitchoverOrder {
    /// Format version.
    pub format: u32,
    /// A random id of the order.
    pub order: String,
    /// Who gave it, and from where.
    pub by: String,
    /// The epoch of the active it was given for.
    pub epoch: Epoch,
    /// The headnode that shall be active; `None`: the other one.
    pub to: Option<NodeName>,
    /// After this it must not be carried out.
    pub not_after: WallTime,
    /// What the active answered.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Order for SwitchoverOrder {
    const KEY: Key = Key::Switchover;

    fn given(&self) -> Given<'_> {
        let whom = self.to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
        Given {
            id: &self.order,
            what: format!("a switchover{whom}"),
            by: &self.by,
            epoch: self.epoch,
            not_after: self.not_after,
            answer: self.answer.as_ref(),
        }
    }
}

/// `orders/failover`: the holder is given up, though it may live. A standby answers, and takes office.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailoverOrder {
    /// Format version.
    pub format: u32,
    /// A random id of the order.
    pub order: String,
    /// Who gave it, and from where.
    pub by: String,
    /// The epoch of the holder it was given for.
    pub epoch: Epoch,
    /// The holder that is given up.
    pub from: NodeName,
    /// After this office must not be claimed for it.
    pub not_after: WallTime,
    /// The headnode that accepted it, and nobody else, may claim for it.
    #[serde(default)]
    pub taker: Option<NodeName>,
    /// How it was answered.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Order for FailoverOrder {
    const KEY: Key = Key::Failover;

    fn given(&self) -> Given<'_> {
        Given {
            id: &self.order,
            what: format!("a failover from {}", self.from),
            by: &self.by,
            epoch: self.epoch,
            not_after: self.not_after,
            answer: self.answer.as_ref(),
        }
    }
}

/// `orders/confirm`: somebody states that a headnode is powered off. Said of exactly one claim, whose claimant answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfirmOrder {
    /// Format version.
    pub format: u32,
    /// A random id of the order.
    pub order: String,
    /// Who gave it, and from where.
    pub by: String,
    /// The epoch that is claimed over.
    pub epoch: Epoch,
    /// The headnode that is powered off.
    pub node: NodeName,
    /// Which machine and boot of it, where a record tells who held office.
    #[serde(default)]
    pub over: Option<Identity>,
    /// Who claims.
    pub claimant: Identity,
    /// The version of `active` that bears the claim.
    pub claim: i32,
    /// After this it must not be believed.
    pub not_after: WallTime,
    /// What the claimant answered.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Order for ConfirmOrder {
    const KEY: Key = Key::Confirm;

    fn given(&self) -> Given<'_> {
        Given {
            id: &self.order,
            what: format!("a confirmation that {} is powered off", self.node),
            by: &self.by,
            epoch: self.epoch,
            not_after: self.not_after,
            answer: self.answer.as_ref(),
        }
    }
}

/// `orders/adopt`: the headnodes shall follow exactly this life of the cluster. Each answers for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AdoptOrder {
    /// Format version.
    pub format: u32,
    /// A random id of the order.
    pub order: String,
    /// Who gave it, and from where.
    pub by: String,
    /// The life that is to be followed.
    pub incarnation: Incarnation,
    /// After this it must not be followed any more.
    pub not_after: WallTime,
    /// What each headnode answered: accepted, and it follows; or refused, and none may that did not before.
    #[serde(default)]
    pub answers: BTreeMap<NodeName, Answer>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl AdoptOrder {
    /// Who refused it and why, if anybody did.
    pub fn refusal(&self) -> Option<(&NodeName, &str)> {
        self.answers.iter().find_map(|(node, answer)| match answer {
            Answer::Refused { why } => Some((node, why.as_str())),
            Answer::Accepted => None,
        })
    }
}
