//! An operator's orders: a switchover is carried out by the holder, a failover by a standby. Each is bound to the epoch it was
//! given for and to an end of its validity, and is answered before anything moves.

use super::{Controller, Write};
use crate::controller::fitness::Fitness;
use crate::node::NodeName;
use crate::office::{self, Standing};
use crate::quorum::Op;
use crate::record::{
    self, Active, Answer, FailoverOrder, Given, Key, Order, Pausing, Phase, Settings,
    SwitchoverOrder,
};
use crate::say::Kind;
use crate::time::Time;

impl Controller {
    /// Answers an order to switch over, if there is one. True if there was something to do.
    pub(super) fn obey_switchover(&mut self, now: Time) -> bool {
        let mine = self.standing() == Standing::Holder && self.leaving.is_none();
        // Whether somebody paused, or ordered something else first, decides the answer.
        let records = &self.records;
        let known = records.switchover.is_fresh()
            && records.settings.is_fresh()
            && records.failover.is_fresh();
        if !mine || !known {
            return false;
        }
        let Some(active) = self.records.active.record().cloned() else { return false };
        let Some(order) = self.records.switchover.record() else { return false };
        let order = order.clone();
        let old = order.epoch != active.epoch || self.wall > order.not_after;
        let accepted = match order.answer {
            // One of a later epoch is for whoever holds that: this look at `active` is behind.
            None if order.epoch > active.epoch => return false,
            None => false,
            Some(Answer::Accepted) if old => return false,
            // By this process or one before it: nobody else carries it out.
            Some(Answer::Accepted) => true,
            Some(Answer::Refused { .. }) => return false,
        };
        let target = self.target(now, &active, &order);
        if accepted && let Ok(to) = target {
            self.begin_leaving_to(to, format!("switchover ordered by {}", order.by), now);
            return true;
        }
        if self.is_denied(now, &Key::Switchover) {
            return false;
        }
        let (Some(version), Some(of_active)) =
            (self.records.switchover.version(), self.records.active.version())
        else {
            return false;
        };
        match target {
            Ok(to) => {
                let order = SwitchoverOrder { answer: Some(Answer::Accepted), ..order };
                let (phase, since) = (Phase::BecomingStandby, self.wall);
                let active = Active { phase, since, ..active };
                let ground = (self.records.settings.version(), self.records.failover.version());
                let ops = office::accept(of_active, &active, ground, (version, &order));
                self.write(now, ops, Write::Accept { order, to, active });
            }
            Err(why) => {
                let order = SwitchoverOrder { answer: Some(Answer::Refused { why }), ..order };
                let data = record::write(&order);
                let ops = vec![Op::Set { key: Key::Switchover, version: Some(version), data }];
                self.write(now, ops, Write::Refuse(order));
            }
        }
        true
    }

    /// The headnode that the order shall make active, or why it cannot.
    fn target(
        &mut self,
        now: Time,
        active: &Active,
        order: &SwitchoverOrder,
    ) -> Result<NodeName, String> {
        let given = order.given();
        self.is_void(&given, active)?;
        self.is_contradicted(self.records.failover.record().map(Order::given), &given)?;
        let peers: Vec<NodeName> = self.config.peers().map(|peer| peer.name.clone()).collect();
        let candidates: Vec<NodeName> = match &order.to {
            Some(to) if *to == self.me.node => return Err(format!("{to} is active already")),
            Some(to) if !peers.contains(to) => {
                let known: Vec<String> = peers.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "{to} is not a headnode of this cluster: say one of {}",
                    known.join(", ")
                ));
            }
            Some(to) => vec![to.clone()],
            None => peers,
        };
        let mut refusals = Vec::new();
        for candidate in candidates {
            match self.peer_fitness(&candidate, now) {
                Fitness::Fit => return Ok(candidate),
                Fitness::Reluctant(why) | Fitness::Unfit(why) => refusals.push(why),
            }
        }
        Err(format!("no headnode is eligible and ready: {}", refusals.join("; ")))
    }

    /// What was answered to an order; where it is accepted, `then` says what follows.
    pub(super) fn say_answer(&mut self, what: &str, then: &str, answer: Option<&Answer>) {
        match answer {
            Some(Answer::Accepted) => self.tell_of(Kind::OrderAccepted, format!("{what}: {then}")),
            Some(Answer::Refused { why }) => {
                self.tell_of(Kind::OrderRefused, format!("{what} is refused: {why}"));
            }
            None => {}
        }
    }

    /// The same of a switchover; returns what was ordered by whom.
    pub(super) fn say_answer_to_switchover(&mut self, order: &SwitchoverOrder) -> String {
        let what = format!("switchover ordered by {}", order.by);
        self.say_answer(&what, "this headnode gives up office", order.answer.as_ref());
        what
    }

    /// What makes any order come to nothing, whatever it says.
    fn is_void(&self, given: &Given<'_>, active: &Active) -> Result<(), String> {
        if given.epoch != active.epoch {
            return Err(format!(
                "it was ordered in epoch {}, and this is epoch {}: see `headship status`, and order anew if need be",
                given.epoch, active.epoch
            ));
        }
        if self.wall > given.not_after {
            return Err("it came too late: order anew, and compare the hosts' clocks".to_owned());
        }
        match self.records.settings.record().map(Settings::pausing) {
            None | Some(Pausing::Automatic) => Ok(()),
            Some(Pausing::Paused(by) | Pausing::Asked { by, .. } | Pausing::Kept { by, .. }) => {
                Err(format!("automatic failover is paused ({by}): `headship resume` first"))
            }
            Some(Pausing::Resuming { kept }) => Err(format!(
                "{} has not acknowledged yet that automatic failover is resumed: wait for that (see `headship status`)",
                kept.by.node
            )),
        }
    }

    /// Of two orders that contradict each other, the one that was answered first stands.
    fn is_contradicted(&self, other: Option<Given<'_>>, given: &Given<'_>) -> Result<(), String> {
        let live = other.filter(|other| other.is_live(given.epoch, self.wall));
        let accepted = live.filter(|other| other.answer.is_some());
        accepted.map_or(Ok(()), |other| {
            Err(format!(
                "{} that {} ordered is being carried out: see `headship status --watch`",
                other.what, other.by
            ))
        })
    }

    /// Answers an order to give up the holder, if it is for this headnode to answer. True if there was something to do.
    pub(super) fn answer_failover(&mut self, now: Time) -> bool {
        let known = self.records.failover.is_fresh() && self.records.switchover.is_fresh();
        if !known || self.is_denied(now, &Key::Failover) {
            return false;
        }
        let (Some(order), Some(active)) =
            (self.records.failover.record().cloned(), self.records.active.record().cloned())
        else {
            return false;
        };
        // One of a later epoch: this look at `active` is behind.
        if order.epoch > active.epoch {
            return false;
        }
        // Accepted here, and not claimed yet: what speaks against it since then is a pause.
        let accepted = self.ordered_failover().is_some();
        if order.answer.is_some() && !accepted {
            return false;
        }
        let may = if accepted {
            self.is_void(&order.given(), &active).map(|()| false)
        } else {
            self.may_take_over(now, &active, &order)
        };
        let (answer, taker) = match may {
            Ok(true) => (Answer::Accepted, Some(self.me.node.clone())),
            Ok(false) => return false,
            Err(why) => (Answer::Refused { why }, None),
        };
        // Conditional, so that one of many accepts, and none beside a pause.
        let Some(version) = self.records.failover.version() else { return false };
        let order = FailoverOrder { answer: Some(answer), taker, ..order };
        let ground = (self.records.settings.version(), self.records.switchover.version());
        let ops = office::answer_failover(ground, (version, &order));
        self.write(now, ops, Write::AnswerFailover(order));
        true
    }

    /// Whether this headnode takes over from the holder that is to be given up, leaves it to a better one, or why nobody does.
    /// Who would merely rather not does it where nobody is better: the operator has decided that anybody is.
    fn may_take_over(
        &mut self,
        now: Time,
        active: &Active,
        order: &FailoverOrder,
    ) -> Result<bool, String> {
        let given = order.given();
        self.is_void(&given, active)?;
        self.is_contradicted(self.records.switchover.record().map(Order::given), &given)?;
        if !holds(active, &order.from) {
            return Err(format!(
                "{} holds no office that could be given up: see `headship status`",
                order.from
            ));
        }
        // Rebooted meanwhile, perhaps; but it is the one that is not trusted.
        if order.from == self.me.node {
            return Ok(false);
        }
        let own = match self.bar() {
            Some(why) => Fitness::Unfit(why),
            None => self.own_fitness(now),
        };
        let others: Vec<NodeName> = self.config.peers().map(|peer| peer.name.clone()).collect();
        let others: Vec<(NodeName, Fitness)> = (others.into_iter())
            .filter(|other| *other != order.from)
            .map(|other| (other.clone(), self.peer_fitness(&other, now)))
            .collect();
        let is_fit = |(_, fitness): &(NodeName, Fitness)| *fitness == Fitness::Fit;
        match own {
            Fitness::Fit => Ok(true),
            Fitness::Reluctant(_) | Fitness::Unfit(_) if others.iter().any(is_fit) => Ok(false),
            Fitness::Reluctant(_) => Ok(true),
            Fitness::Unfit(why) => {
                let able = others.iter().any(|(_, fitness)| match fitness {
                    Fitness::Fit | Fitness::Reluctant(_) => true,
                    Fitness::Unfit(_) => false,
                });
                if able { Ok(false) } else { Err(format!("no headnode can take over: {why}")) }
            }
        }
    }

    /// The order by which this headnode may claim office although its holder lives, if there is one: accepted by it, for the
    /// office as it is, and not too late.
    pub(super) fn ordered_failover(&self) -> Option<&FailoverOrder> {
        let (order, active) = (self.records.failover.record()?, self.records.active.record()?);
        let mine =
            order.answer == Some(Answer::Accepted) && order.taker.as_ref() == Some(&self.me.node);
        let live = order.given().is_live(active.epoch, self.wall) && holds(active, &order.from);
        (mine && live).then_some(order)
    }
}

/// Whether `node` holds the office, unclaimed.
fn holds(active: &Active, node: &NodeName) -> bool {
    active.claimant.is_none()
        && !matches!(active.phase, Phase::Ceded { .. })
        && active.holder.as_ref().is_some_and(|holder| holder.node == *node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::keep::tests::{acknowledged, controller, hn0};
    use crate::epoch::Epoch;
    use crate::quorum::{Found, Version};
    use crate::record::{FORMAT, Rest};
    use crate::time::WallTime;

    #[test]
    fn a_switchover_is_answered_only_once_it_is_known_what_was_ordered_beside_it() {
        let (mut controller, now) = (controller(hn0("b0"), None), Time::from_millis(1000));
        let settings = acknowledged("k", hn0("b0"), 7).automatic();
        let mut active = office::unknown(settings.incarnation.clone(), Epoch(7), 6000, 2000);
        active.holder = Some(hn0("b0"));
        let order = SwitchoverOrder {
            format: FORMAT,
            order: "o".to_owned(),
            by: "eve".to_owned(),
            epoch: Epoch(7),
            to: None,
            not_after: WallTime(u64::MAX),
            answer: None,
            rest: Rest::new(),
        };
        controller.records.settings.wrote(now, settings, Version(3), None);
        controller.records.active.wrote(now, active, Version(5), None);
        controller.records.switchover.wrote(now, order, Version(0), None);
        assert!(!controller.obey_switchover(now), "a failover may have been accepted");
        let asked = controller.records.failover.next_read(&mut controller.ids);
        let (id, _) = asked.expect("it was never read");
        controller.records.failover.take(now, id, &Found::Missing);
        assert!(controller.obey_switchover(now));
        controller.records.failover.outdate();
        assert!(!controller.obey_switchover(now), "a hint came, and it is not read yet");
    }
}
