//! What an operator's word that a headnode is powered off meets before it is given. Whether it is believed is judged by the
//! claimant, when it answers.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_core::quorum::{Op, Version};
use headship_core::record::{Answer, ConfirmOrder, FORMAT, Given, Key, Order, Rest};
use headship_core::time::WallTime;

use super::kind::{self, Kind, New, Office, in_the_way};
use crate::fence::{self, Claim};
use crate::refusal::Refusal;
use crate::view::Records;

/// `headship fence confirm`
pub(super) struct Confirm {
    pub(super) node: NodeName,
    /// The claim that the operator was asked about.
    pub(super) agreed: Claim,
}

impl Kind for Confirm {
    type Order = ConfirmOrder;

    fn office(&self, config: &Config, records: &Records) -> Result<Office, Refusal> {
        let claim = fence::claim(records)?;
        if claim.by != self.agreed.by || claim.attempt.claim != self.agreed.attempt.claim {
            return Err(Refusal::new(changed()));
        }
        fence::is_awaited(config, &claim, &self.node)?;
        let epoch = claim.attempt.epoch;
        Ok(Office { from: self.node.clone(), epoch, claim: Some(claim) })
    }

    fn order(&self, office: &Office, new: New) -> ConfirmOrder {
        let New { id, by, not_after } = new;
        let Claim { by: claimant, attempt } = self.agreed.clone();
        let (node, epoch) = (self.node.clone(), office.epoch);
        let (over, claim, answer, rest) = (attempt.over, attempt.claim, None, Rest::new());
        ConfirmOrder {
            format: FORMAT,
            order: id,
            by,
            epoch,
            node,
            over,
            claimant,
            claim,
            not_after,
            answer,
            rest,
        }
    }

    fn to(&self) -> Option<&NodeName> {
        None
    }

    fn accepted(order: &ConfirmOrder, _office: &Office) -> String {
        format!("{} accepts: {} counts as powered off", order.claimant.node, order.node)
    }

    fn unanswered(office: &Office, limit: Duration) -> String {
        let claimant = office.claim.as_ref().map_or("whoever claims", |it| it.by.node.as_str());
        kind::silent(claimant, limit)
    }
}

/// That the claim which somebody spoke of is over.
pub(super) fn changed() -> String {
    "the attempt has changed meanwhile: see `headship fence list`, and say it again if need be"
        .to_owned()
}

/// The write of a word about `claim`, bound to it; or which order is in its way. Orders of other kinds only while they wait for
/// an answer: those that were accepted led to this claim, or end with it.
pub(super) fn steps(
    (claim, node): (&Claim, &NodeName),
    others: &[Given<'_>],
    earlier: Option<&ConfirmOrder>,
    (version, data): (Option<Version>, String),
    now: WallTime,
) -> Result<Vec<Op>, String> {
    let epoch = claim.attempt.epoch;
    let earlier = earlier.filter(|earlier| earlier.claim == claim.attempt.claim);
    let accepted = earlier.filter(|it| it.answer == Some(Answer::Accepted) && it.node == *node);
    if let Some(ConfirmOrder { by, node, .. }) = accepted.filter(|it| now <= it.not_after) {
        return Err(format!(
            "{by} confirmed already that {node} is powered off: see `headship status`"
        ));
    }
    let waits = |given: &&Given<'_>| given.answer.is_none();
    let earlier = earlier.map(Order::given);
    let mut waiting = others.iter().chain(&earlier).filter(waits);
    if let Some(why) = waiting.find_map(|given| in_the_way(given, epoch, now)) {
        return Err(why);
    }
    let key = Key::Confirm;
    Ok(vec![
        Op::Check { key: Key::Active, version: Some(Version(claim.attempt.claim)) },
        match version {
            Some(_) => Op::Set { key, version, data },
            None => Op::Create { key, data },
        },
    ])
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::Epoch;
    use headship_core::record::FailoverOrder;

    use super::*;
    use crate::fence::tests::claimed;
    use crate::tests::node;

    fn claim() -> Claim {
        fence::claim(&claimed()).unwrap()
    }

    fn earlier(claim_version: i32, answer: Option<Answer>) -> ConfirmOrder {
        let kind = Confirm { node: node("hn0"), agreed: claim() };
        let office = Office { from: node("hn0"), epoch: Epoch(7), claim: Some(claim()) };
        let (id, by) = ("another".to_owned(), "eve@hn1".to_owned());
        let order = kind.order(&office, New { id, by, not_after: WallTime(10_000) });
        ConfirmOrder { claim: claim_version, answer, ..order }
    }

    /// What is in the way at 5 s.
    fn in_the_way_of(others: &[Given<'_>], earlier: Option<&ConfirmOrder>) -> Option<String> {
        let about = (&claim(), &node("hn0"));
        steps(about, others, earlier, (None, String::new()), WallTime(5000)).err()
    }

    #[test]
    fn a_word_is_written_for_exactly_one_claim() {
        let about = (&claim(), &node("hn0"));
        let ops = steps(about, &[], None, (Some(Version(3)), "text".to_owned()), WallTime(0));
        let bound = Op::Check { key: Key::Active, version: Some(Version(41)) };
        let (key, version, data) = (Key::Confirm, Some(Version(3)), "text".to_owned());
        assert_eq!(ops, Ok(vec![bound, Op::Set { key, version, data }]));
    }

    #[test]
    fn another_word_about_the_same_claim_is_in_the_way_and_one_about_an_earlier_is_not() {
        let waits = in_the_way_of(&[], Some(&earlier(41, None))).unwrap();
        assert!(
            waits.starts_with("eve@hn1 ordered a confirmation that hn0 is powered off"),
            "{waits}"
        );
        let accepted = in_the_way_of(&[], Some(&earlier(41, Some(Answer::Accepted)))).unwrap();
        assert!(accepted.starts_with("eve@hn1 confirmed already that hn0 is powered off"));
        let refused = Answer::Refused { why: "it lives".to_owned() };
        assert_eq!(in_the_way_of(&[], Some(&earlier(41, Some(refused)))), None);
        assert_eq!(in_the_way_of(&[], Some(&earlier(40, None))), None);
    }

    #[test]
    fn an_order_that_led_to_the_claim_is_not_in_the_way_and_one_that_waits_is() {
        let failover = |answer| FailoverOrder {
            format: FORMAT,
            order: "another".to_owned(),
            by: "eve@hn1".to_owned(),
            epoch: Epoch(7),
            from: node("hn0"),
            not_after: WallTime(10_000),
            taker: None,
            answer,
            rest: Rest::new(),
        };
        assert_eq!(in_the_way_of(&[failover(Some(Answer::Accepted)).given()], None), None);
        let waits = in_the_way_of(&[failover(None).given()], None).unwrap();
        assert!(waits.starts_with("eve@hn1 ordered a failover from hn0"), "{waits}");
    }
}
