//! Follows an order through the records: what has happened, in which order, and how it ended.

use std::time::Duration;

use headship_core::epoch::Epoch;
use headship_core::known::Content;
use headship_core::node::NodeName;
use headship_core::record::{Active, Answer, Order, Phase};

use super::confirm;
use super::kind::{Kind, Office};
use crate::view::{Records, record};

/// How far an order is. Never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The order is given.
    Ordered,
    /// Whoever has to carry it out has accepted it.
    Accepted,
    /// The active stops its services.
    Stopping,
    /// It gave up office, with everything verified stopped.
    Ceded,
    /// Another headnode claims.
    Claimed,
    /// Another headnode holds office; services start.
    Office,
    /// It is active.
    Active,
}

impl Stage {
    /// The word for programs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Accepted => "accepted",
            Self::Stopping => "stopping",
            Self::Ceded => "ceded",
            Self::Claimed => "claimed",
            Self::Office => "office",
            Self::Active => "active",
        }
    }
}

/// One stage that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) stage: Stage,
    /// How long after the order it was seen.
    pub(super) at: Duration,
    pub(super) text: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The headnode that should be active is; by another way where nobody had accepted the order.
    Done { node: NodeName, epoch: Epoch, otherwise: Option<String> },
    /// The active refused, and nothing moved.
    Refused(String),
    /// It was accepted and came out otherwise.
    Otherwise(String),
}

/// An order on its way.
#[derive(Clone, Debug)]
pub(super) struct Follow {
    id: String,
    office: Office,
    to: Option<NodeName>,
    pub(super) steps: Vec<Step>,
    pub(super) answered: bool,
    accepted: bool,
}

impl Follow {
    /// The order `id` was given just now.
    pub(super) fn new(id: String, office: Office, to: Option<NodeName>) -> Self {
        Self { id, office, to, steps: Vec::new(), answered: false, accepted: false }
    }

    /// How far it is.
    fn stage(&self) -> Stage {
        self.steps.last().map_or(Stage::Ordered, |step| step.stage)
    }

    /// Takes in what the records say now. Steps that are new are added; the end is told if there is one.
    pub(super) fn see<K: Kind>(
        &mut self,
        at: Duration,
        order: &Content<K::Order>,
        records: &Records,
    ) -> Option<End> {
        if let Some(order) = record(order).filter(|order| order.given().id == self.id) {
            match order.given().answer {
                Some(Answer::Refused { why }) => {
                    self.answered = true;
                    if let Some(end) = self.refused(why, record(&records.active)) {
                        return Some(end);
                    }
                }
                Some(Answer::Accepted) => {
                    self.reach(Stage::Accepted, at, K::accepted(order, &self.office));
                    (self.answered, self.accepted) = (true, true);
                }
                None => {}
            }
        }
        let active = record(&records.active)?;
        if active.epoch == self.office.epoch {
            if let Some(claim) = &self.office.claim {
                let same = records.of_active.map(|it| it.0) == Some(claim.attempt.claim);
                let end = if self.answered { End::Otherwise } else { End::Refused };
                return (!same).then(|| end(confirm::changed()));
            }
            self.same_epoch(at, active)
        } else if active.epoch > self.office.epoch {
            self.later_epoch(at, active)
        } else {
            Some(End::Otherwise(format!(
                "the epoch went back to {}: see the journals",
                active.epoch
            )))
        }
    }

    /// The end that a refusal is. It is none where the office has passed to somebody meanwhile, who refuses every order of an
    /// earlier epoch: what becomes of that office tells how it ends.
    fn refused(&self, why: &str, active: Option<&Active>) -> Option<End> {
        if active.is_some_and(|active| active.epoch > self.office.epoch) {
            return None;
        }
        if self.stage() < Stage::Stopping {
            return Some(End::Refused(why.to_owned()));
        }
        let from = &self.office.from;
        let claimant = active.and_then(|active| active.claimant.as_ref());
        let ceded = active.is_some_and(|active| matches!(active.phase, Phase::Ceded { .. }));
        let how = match claimant {
            Some(claimant) => format!("{} claims the office of {from}", claimant.node),
            None if ceded => format!("{from} has ceded: see `headship status`"),
            // What was stopped is started again.
            None => format!("{from} stays in office"),
        };
        let what = if self.accepted { "given up half way" } else { "refused" };
        Some(End::Otherwise(format!("{what}, {how}: {why}")))
    }

    /// That the office passed by another way than this order, in a phrase, if it is so.
    fn otherwise(&self) -> Option<String> {
        let Office { from, epoch, .. } = &self.office;
        (!self.accepted).then(|| {
            format!("not by this order: {from} had lost office of epoch {epoch} before anybody accepted it")
        })
    }

    fn same_epoch(&mut self, at: Duration, active: &Active) -> Option<End> {
        let (from, epoch) = (self.office.from.clone(), self.office.epoch);
        if let Some(claimant) = &active.claimant {
            self.reach(Stage::Claimed, at, format!("{} claims", claimant.node));
            return None;
        }
        match &active.phase {
            Phase::Active if self.stage() >= Stage::Stopping => {
                return Some(End::Otherwise(format!(
                    "{from} is active again in epoch {epoch}: see its journal"
                )));
            }
            Phase::Active | Phase::BecomingActive => {}
            Phase::BecomingStandby => {
                self.reach(Stage::Stopping, at, format!("{from} stops its services"));
            }
            Phase::Ceded { to, .. } => {
                let whom = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
                self.reach(
                    Stage::Ceded,
                    at,
                    format!("{from} ceded{whom}, with everything stopped"),
                );
            }
        }
        None
    }

    fn later_epoch(&mut self, at: Duration, active: &Active) -> Option<End> {
        let holder = active.holder.as_ref()?;
        let (node, epoch) = (holder.node.clone(), active.epoch);
        match &active.phase {
            Phase::BecomingActive => {
                let text = format!("{node} holds office in epoch {epoch}; services start");
                self.reach(Stage::Office, at, text);
                None
            }
            Phase::Active => {
                let wanted = match &self.to {
                    Some(to) => node == *to,
                    None => node != self.office.from,
                };
                let text = format!("{node} is active in epoch {epoch}");
                self.reach(Stage::Active, at, text.clone());
                let otherwise = self.otherwise();
                Some(match (wanted, otherwise) {
                    (true, otherwise) => End::Done { node, epoch, otherwise },
                    (false, Some(otherwise)) => End::Otherwise(format!("{text}, {otherwise}")),
                    (false, None) => End::Otherwise(text),
                })
            }
            Phase::BecomingStandby | Phase::Ceded { .. } => Some(End::Otherwise(format!(
                "{node} took office in epoch {epoch} and gives it up again: see `headship status`"
            ))),
        }
    }

    fn reach(&mut self, stage: Stage, at: Duration, text: String) {
        if stage > self.stage() {
            self.steps.push(Step { stage, at, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use headship_core::record::{FORMAT, FailoverOrder, Rest, SwitchoverOrder};
    use headship_core::time::WallTime;

    use super::*;
    use crate::orders::failover::Failover;
    use crate::orders::switchover::Switchover;
    use crate::tests::{identity, records};

    fn node(name: &str) -> NodeName {
        NodeName::try_from(name).unwrap()
    }

    fn follow(to: Option<&str>) -> Follow {
        let office = Office { from: node("hn0"), epoch: Epoch(7), claim: None };
        Follow::new("mine".to_owned(), office, to.map(node))
    }

    fn done(node_name: &str, otherwise: Option<&str>) -> End {
        let otherwise = otherwise.map(str::to_owned);
        End::Done { node: node(node_name), epoch: Epoch(8), otherwise }
    }

    fn order(answer: Option<Answer>) -> Content<SwitchoverOrder> {
        Content::Record(SwitchoverOrder {
            format: FORMAT,
            order: "mine".to_owned(),
            by: "root@hn0".to_owned(),
            epoch: Epoch(7),
            to: Some(node("hn1")),
            not_after: WallTime(10_000),
            answer,
            rest: Rest::new(),
        })
    }

    /// The records once `change` has happened to `active`.
    fn after(change: impl FnOnce(&mut Active)) -> Records {
        let mut records = records();
        if let Content::Record(active) = &mut records.active {
            change(active);
        }
        records
    }

    fn ceded() -> Phase {
        Phase::Ceded { to: Some(node("hn1")), until_ms: 20_000 }
    }

    fn moved(to: &str, epoch: u64, phase: Phase) -> Records {
        after(|active| {
            (active.holder, active.epoch, active.phase) = (Some(identity(to)), Epoch(epoch), phase);
        })
    }

    #[test]
    fn each_stage_is_told_once_and_in_order() {
        let mut follow = follow(Some("hn1"));
        let accepted = order(Some(Answer::Accepted));
        let course = [
            (order(None), records()),
            (accepted.clone(), records()),
            (accepted.clone(), after(|active| active.phase = Phase::BecomingStandby)),
            (accepted.clone(), after(|active| active.phase = Phase::BecomingStandby)),
            (accepted.clone(), after(|active| active.phase = ceded())),
            (
                accepted.clone(),
                after(|active| {
                    (active.phase, active.claimant) = (ceded(), Some(identity("hn1")));
                }),
            ),
            (accepted.clone(), moved("hn1", 8, Phase::BecomingActive)),
        ];
        for (order, records) in course {
            assert_eq!(follow.see::<Switchover>(Duration::ZERO, &order, &records), None);
        }
        let end =
            follow.see::<Switchover>(Duration::ZERO, &accepted, &moved("hn1", 8, Phase::Active));
        assert_eq!(end, Some(done("hn1", None)));
        let told: Vec<&str> = follow.steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!(
            told,
            [
                "hn0 accepts: hn1 shall be active",
                "hn0 stops its services",
                "hn0 ceded to hn1, with everything stopped",
                "hn1 claims",
                "hn1 holds office in epoch 8; services start",
                "hn1 is active in epoch 8",
            ]
        );
    }

    #[test]
    fn a_refusal_ends_it_before_anything_moved() {
        let mut follow = follow(None);
        let refused = order(Some(Answer::Refused { why: "hn1 is out: no memory".to_owned() }));
        let end = follow.see::<Switchover>(Duration::ZERO, &refused, &records());
        assert_eq!(end, Some(End::Refused("hn1 is out: no memory".to_owned())));
        assert!(follow.steps.is_empty());
    }

    #[test]
    fn an_order_that_is_refused_half_way_did_not_leave_everything_as_it_was() {
        let mut follow = follow(None);
        let accepted = order(Some(Answer::Accepted));
        let stopping = after(|active| active.phase = Phase::BecomingStandby);
        assert_eq!(follow.see::<Switchover>(Duration::ZERO, &accepted, &stopping), None);
        let refused = order(Some(Answer::Refused { why: "somebody paused".to_owned() }));
        let end = follow.see::<Switchover>(Duration::ZERO, &refused, &stopping);
        let why = "given up half way, hn0 stays in office: somebody paused".to_owned();
        assert_eq!(end, Some(End::Otherwise(why)));
    }

    /// The active loses its power with an order unanswered; its successor refuses what was ordered of an earlier epoch.
    #[test]
    fn a_failover_in_between_ends_as_the_office_does_and_not_by_its_refusal() {
        const OTHERWISE: &str =
            "not by this order: hn0 had lost office of epoch 7 before anybody accepted it";
        let why = "it was ordered in epoch 7, and this is epoch 8".to_owned();
        let refused = order(Some(Answer::Refused { why }));
        for seen_while_it_starts in [true, false] {
            let mut follow = follow(Some("hn1"));
            let claimed = after(|active| active.claimant = Some(identity("hn1")));
            assert_eq!(follow.see::<Switchover>(Duration::ZERO, &order(None), &claimed), None);
            if seen_while_it_starts {
                let starts = moved("hn1", 8, Phase::BecomingActive);
                assert_eq!(follow.see::<Switchover>(Duration::ZERO, &refused, &starts), None);
            }
            let serves = moved("hn1", 8, Phase::Active);
            let end = follow.see::<Switchover>(Duration::ZERO, &refused, &serves);
            assert_eq!(end, Some(done("hn1", Some(OTHERWISE))));
        }
        let mut elsewhere = follow(Some("hn1"));
        let back = moved("hn0", 8, Phase::Active);
        let end = elsewhere.see::<Switchover>(Duration::ZERO, &refused, &back);
        assert_eq!(end, Some(End::Otherwise(format!("hn0 is active in epoch 8, {OTHERWISE}"))));
    }

    #[test]
    fn who_has_ceded_does_not_stay_in_office_whatever_is_refused() {
        let mut follow = follow(None);
        let ceded = after(|active| active.phase = ceded());
        let accepted = order(Some(Answer::Accepted));
        assert_eq!(follow.see::<Switchover>(Duration::ZERO, &accepted, &ceded), None);
        let refused = order(Some(Answer::Refused { why: "no".to_owned() }));
        let end = follow.see::<Switchover>(Duration::ZERO, &refused, &ceded);
        assert!(
            matches!(&end, Some(End::Otherwise(why)) if why.starts_with("given up half way, hn0 has ceded")),
            "{end:?}"
        );
    }

    #[test]
    fn the_answer_to_somebody_elses_order_is_not_ours() {
        let mut follow = follow(None);
        let mut other = order(Some(Answer::Accepted));
        if let Content::Record(order) = &mut other {
            order.order = "theirs".to_owned();
        }
        assert_eq!(follow.see::<Switchover>(Duration::ZERO, &other, &records()), None);
        assert!(!follow.answered);
    }

    #[test]
    fn an_old_active_that_comes_back_is_no_success() {
        let accepted = order(Some(Answer::Accepted));
        let mut first = follow(None);
        let stopping = after(|active| active.phase = Phase::BecomingStandby);
        assert_eq!(first.see::<Switchover>(Duration::ZERO, &accepted, &stopping), None);
        assert!(matches!(
            first.see::<Switchover>(Duration::ZERO, &accepted, &records()),
            Some(End::Otherwise(why)) if why.starts_with("hn0 is active again in epoch 7")
        ));
        let mut second = follow(None);
        let back = moved("hn0", 9, Phase::Active);
        assert!(matches!(
            second.see::<Switchover>(Duration::ZERO, &accepted, &back),
            Some(End::Otherwise(_))
        ));
    }

    #[test]
    fn a_failover_is_accepted_by_its_taker_and_done_when_another_is_active() {
        let mut follow = follow(None);
        let accepted = Content::Record(FailoverOrder {
            format: FORMAT,
            order: "mine".to_owned(),
            by: "root@hn0".to_owned(),
            epoch: Epoch(7),
            from: node("hn0"),
            not_after: WallTime(10_000),
            taker: Some(node("hn1")),
            answer: Some(Answer::Accepted),
            rest: Rest::new(),
        });
        let claimed = after(|active| active.claimant = Some(identity("hn1")));
        assert_eq!(follow.see::<Failover>(Duration::ZERO, &accepted, &claimed), None);
        let moved = moved("hn1", 8, Phase::Active);
        let end = follow.see::<Failover>(Duration::ZERO, &accepted, &moved);
        assert_eq!(end, Some(done("hn1", None)));
        let told: Vec<&str> = follow.steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!(
            told,
            ["hn1 accepts: hn0 is given up", "hn1 claims", "hn1 is active in epoch 8"]
        );
    }
}
