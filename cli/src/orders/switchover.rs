//! What an order to switch over meets before it is given: who would carry it out, and what is in its way.
//!
//! Whether the other headnode is eligible and ready is judged by the active itself, which knows best, when it answers.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_core::record::{FORMAT, Rest, SwitchoverOrder};

use super::kind::{self, Kind, New, Office};
use crate::refusal::Refusal;
use crate::standing::{self, Holder};
use crate::view::Records;

/// `headship switchover`
pub(super) struct Switchover {
    pub(super) to: Option<NodeName>,
}

impl Kind for Switchover {
    type Order = SwitchoverOrder;

    fn office(&self, config: &Config, records: &Records) -> Result<Office, Refusal> {
        office(config, records, self.to.as_ref())
    }

    fn order(&self, office: &Office, new: New) -> SwitchoverOrder {
        let New { id, by, not_after } = new;
        let (epoch, to) = (office.epoch, self.to.clone());
        let (answer, rest) = (None, Rest::new());
        SwitchoverOrder { format: FORMAT, order: id, by, epoch, to, not_after, answer, rest }
    }

    fn to(&self) -> Option<&NodeName> {
        self.to.as_ref()
    }

    fn accepted(order: &SwitchoverOrder, office: &Office) -> String {
        let whom = order.to.as_ref().map_or("the other headnode", |to| to.as_str());
        format!("{} accepts: {whom} shall be active", office.from)
    }

    fn unanswered(office: &Office, limit: Duration) -> String {
        kind::silent(office.from.as_str(), limit)
    }
}

/// Who would carry the order out, or why nobody would.
pub(super) fn office(
    config: &Config,
    records: &Records,
    to: Option<&NodeName>,
) -> Result<Office, Refusal> {
    let refuse = |sentence| Err(Refusal::new(sentence));
    if let Some(to) = to
        && !config.headnodes.iter().any(|headnode| headnode.name == *to)
    {
        return refuse(standing::no_headnode(config, to));
    }
    // A holder that cannot start its services is what a switchover helps against, so it is not asked whether it serves.
    let Holder { node, epoch, announced } =
        standing::in_office(records).map_err(|conclusion| Refusal {
            exit: conclusion.condition.exit(),
            sentence: conclusion.sentence.trim_end_matches('.').to_owned(),
        })?;
    if to == Some(node) && announced {
        return refuse(format!("{node} is active already (epoch {epoch})"));
    }
    if to == Some(node) {
        return refuse(format!(
            "{node} holds office already (epoch {epoch}) and is starting the services"
        ));
    }
    // All else that speaks against another one the active itself knows better.
    let others = records.headnodes.iter().map(|headnode| &headnode.name);
    let candidates: Vec<&NodeName> =
        others.filter(|other| to.map_or(*other != node, |to| *other == to)).collect();
    let kept_out: Vec<String> =
        candidates.iter().filter_map(|other| standing::maintained(records, other)).collect();
    if !kept_out.is_empty() && kept_out.len() == candidates.len() {
        return refuse(kept_out.join("; "));
    }
    Ok(Office { from: node.clone(), epoch, claim: None })
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::Epoch;
    use headship_core::known::Content;
    use headship_core::record::{Answer, Order, Phase};
    use headship_core::time::WallTime;
    use headship_daemon::Exit;

    use super::*;
    use crate::orders::kind::in_the_way;
    use crate::tests::{config, records};
    use crate::view::Pulse;

    fn node(name: &str) -> NodeName {
        NodeName::try_from(name).unwrap()
    }

    fn refused(records: &Records, to: Option<&str>) -> (Exit, String) {
        let to = to.map(node);
        let refusal = office(&config(), records, to.as_ref()).unwrap_err();
        (refusal.exit, refusal.sentence)
    }

    #[test]
    fn the_active_of_the_epoch_carries_it_out() {
        let from = Office { from: node("hn0"), epoch: Epoch(7), claim: None };
        assert_eq!(office(&config(), &records(), None), Ok(from.clone()));
        assert_eq!(office(&config(), &records(), Some(&node("hn1"))), Ok(from));
    }

    #[test]
    fn an_unknown_headnode_and_the_active_itself_are_refused() {
        let unknown = "hn7 is not a headnode of this cluster: say one of hn0, hn1";
        assert_eq!(refused(&records(), Some("hn7")), (Exit::Refused, unknown.to_owned()));
        let already = "hn0 is active already (epoch 7)";
        assert_eq!(refused(&records(), Some("hn0")), (Exit::Refused, already.to_owned()));
    }

    #[test]
    fn a_headnode_in_maintenance_is_named_with_the_way_out() {
        let mut records = records();
        if let Content::Record(settings) = &mut records.settings {
            settings.maintenance.nodes.insert(node("hn1"), "eve@hn0: disk".to_owned());
        }
        let why = "hn1 is in maintenance (eve@hn0: disk): `headship maintenance hn1 off` first";
        assert_eq!(refused(&records, Some("hn1")), (Exit::Refused, why.to_owned()));
        assert_eq!(refused(&records, None), (Exit::Refused, why.to_owned()));
    }

    fn in_phase(phase: Phase) -> Records {
        let mut records = records();
        if let Content::Record(active) = &mut records.active {
            active.phase = phase;
        }
        records
    }

    #[test]
    fn a_holder_that_is_still_starting_its_services_can_be_ordered_to_go() {
        let records = in_phase(Phase::BecomingActive);
        let from = Office { from: node("hn0"), epoch: Epoch(7), claim: None };
        assert_eq!(office(&config(), &records, None), Ok(from.clone()));
        assert_eq!(office(&config(), &records, Some(&node("hn1"))), Ok(from));
        let already = "hn0 holds office already (epoch 7) and is starting the services";
        assert_eq!(refused(&records, Some("hn0")), (Exit::Refused, already.to_owned()));
        // To everybody else it is not active yet.
        assert!(standing::holder(&records).is_err());
    }

    #[test]
    fn without_a_living_holder_there_is_nobody_to_order() {
        let (exit, sentence) = refused(&in_phase(Phase::BecomingStandby), None);
        assert_eq!(exit, Exit::NobodyActive);
        assert!(sentence.starts_with("nobody is active: hn0 is stopping"), "{sentence}");
        let still = Pulse::Still(Duration::from_secs(5));
        let dead = Records { pulse: still, ..in_phase(Phase::BecomingActive) };
        let (exit, sentence) = refused(&dead, None);
        assert_eq!(exit, Exit::NobodyActive);
        assert!(sentence.contains("its lease stands still"), "{sentence}");
    }

    #[test]
    fn only_a_live_order_of_this_epoch_is_in_the_way() {
        let order = SwitchoverOrder {
            format: FORMAT,
            order: "a".to_owned(),
            by: "root@hn0".to_owned(),
            epoch: Epoch(7),
            to: Some(node("hn1")),
            not_after: WallTime(10_000),
            answer: None,
            rest: Rest::new(),
        };
        let meets =
            |order: &SwitchoverOrder, now| in_the_way(&order.given(), Epoch(7), WallTime(now));
        let waits = "root@hn0 ordered a switchover to hn1, which is not answered yet: wait for it; it runs out in 4.0 s";
        assert_eq!(meets(&order, 6000), Some(waits.to_owned()));
        assert_eq!(meets(&order, 10_001), None);
        assert_eq!(meets(&SwitchoverOrder { epoch: Epoch(6), ..order.clone() }, 6000), None);
        let accepted = SwitchoverOrder { answer: Some(Answer::Accepted), ..order.clone() };
        assert!(meets(&accepted, 6000).unwrap().contains("that root@hn0 ordered"));
        let refused = Answer::Refused { why: "no".to_owned() };
        assert_eq!(meets(&SwitchoverOrder { answer: Some(refused), ..order }, 6000), None);
    }
}
