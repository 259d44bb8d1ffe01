//! What an order to fail over meets before it is given. Whether this standby takes over is judged by itself, when it answers.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::lease;
use headship_core::node::NodeName;
use headship_core::record::{FORMAT, FailoverOrder, Pausing, Phase, Rest, Settings, Verdict};

use super::kind::{Kind, New, Office};
use crate::refusal::Refusal;
use crate::standing;
use crate::view::{Headnode, Records, record};
use crate::{keep, say};

/// `headship failover`
pub(super) struct Failover {
    pub(super) from: NodeName,
}

impl Kind for Failover {
    type Order = FailoverOrder;

    fn office(&self, config: &Config, records: &Records) -> Result<Office, Refusal> {
        let from = &self.from;
        if !config.headnodes.iter().any(|headnode| headnode.name == *from) {
            return Err(Refusal::new(standing::no_headnode(config, from)));
        }
        let office = held(records, from)?;
        if let Some(settings) = record(&records.settings) {
            may_move(records, settings).map_err(Refusal::new)?;
        }
        let others = || records.headnodes.iter().filter(|headnode| headnode.name != *from);
        if !others().any(|other| may_answer(records, other)) {
            let why = others().filter_map(|other| {
                standing::maintained(records, &other.name).or_else(|| {
                    let why = standing::readiness(other).err()?;
                    Some(format!("{} cannot ({why})", other.name))
                })
            });
            let why = why.collect::<Vec<_>>().join("; ");
            return Err(Refusal::new(format!("no headnode could take over from {from}: {why}")));
        }
        Ok(office)
    }

    fn order(&self, office: &Office, new: New) -> FailoverOrder {
        let New { id, by, not_after } = new;
        let (epoch, from) = (office.epoch, office.from.clone());
        let (taker, answer, rest) = (None, None, Rest::new());
        FailoverOrder { format: FORMAT, order: id, by, epoch, from, not_after, taker, answer, rest }
    }

    fn to(&self) -> Option<&NodeName> {
        None
    }

    fn accepted(order: &FailoverOrder, office: &Office) -> String {
        let taker = order.taker.as_ref().map_or("a headnode", |taker| taker.as_str());
        format!("{taker} accepts: {} is given up", office.from)
    }

    fn unanswered(office: &Office, limit: Duration) -> String {
        format!(
            "no headnode that could take over from {} answered within {limit:?} (see `headship status`, their master-fc, and whether the clocks agree)",
            office.from
        )
    }
}

/// The office that `from` holds, as recorded: of one that stops or that is silent it shall be taken, too.
fn held(records: &Records, from: &NodeName) -> Result<Office, Refusal> {
    let active = record(&records.active);
    let holder = active.and_then(|active| {
        let ceded = matches!(active.phase, Phase::Ceded { .. });
        let unclaimed = active.claimant.is_none() && !ceded;
        active.holder.as_ref().filter(|_| unclaimed).map(|holder| (holder, active.epoch))
    });
    match holder {
        Some((holder, epoch)) if holder.node == *from => {
            Ok(Office { from: from.clone(), epoch, claim: None })
        }
        Some((holder, epoch)) => Err(Refusal::new(format!(
            "{from} does not hold office: {} does, in epoch {epoch}; only who holds it can be given up",
            holder.node
        ))),
        None => {
            let why = standing::in_office(records).err();
            let (exit, why) = why.map_or_else(
                || (headship_daemon::Exit::NobodyActive, "nobody holds office".to_owned()),
                |why| (why.condition.exit(), why.sentence.trim_end_matches('.').to_owned()),
            );
            Err(Refusal { exit, sentence: why })
        }
    }
}

/// Whether a headnode may take over, reluctant or not: it is there, not in maintenance and not ineligible.
fn may_answer(records: &Records, headnode: &Headnode) -> bool {
    let maintained = standing::maintained(records, &headnode.name).is_some();
    let unfit =
        record(&headnode.health).is_some_and(|health| health.verdict == Verdict::Ineligible);
    record(&headnode.state).is_some() && !maintained && !unfit
}

/// What a failover does, for whoever is asked whether it shall be done.
pub(super) fn explanation(config: &Config, from: &NodeName) -> String {
    let timing = &config.timing;
    let at_most = say::span(lease::wait(timing.lease_ms(), timing.kill_ms()));
    format!(
        "{from} is given up, whether it lives or not: another headnode claims its office, and from then on {from} cannot renew \
         its lease. It stops its services at once if it hears of that, and by its deadline if not, or goes down; only then they \
         start elsewhere, after {at_most} at most. If {from} is well, `headship switchover` does it in order."
    )
}

/// Whether automatic failover is on, or why it is not.
fn may_move(records: &Records, settings: &Settings) -> Result<(), String> {
    match settings.pausing() {
        Pausing::Automatic => Ok(()),
        Pausing::Paused(by) | Pausing::Asked { by, .. } => {
            Err(format!("automatic failover is paused ({by}): `headship resume` first"))
        }
        Pausing::Kept { by, kept, .. } if keep::is_over(records, settings, kept) => {
            Err(format!("automatic failover is paused ({by}): `headship resume` first"))
        }
        Pausing::Kept { by, kept, .. } => Err(format!(
            "automatic failover is paused ({by}), and {} keeps its services: `headship resume` first",
            kept.by.node
        )),
        Pausing::Resuming { .. } => {
            let how = keep::phrase(records, settings).unwrap_or_default();
            Err(format!("automatic failover is {how}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::Epoch;
    use headship_core::known::Content;
    use headship_core::record::Role;
    use headship_daemon::Exit;

    use super::*;
    use crate::past;
    use crate::tests::{config, identity, node, overtaken, records};

    fn refused(records: &Records, from: &str) -> (Exit, String) {
        let refusal = Failover { from: node(from) }.office(&config(), records).unwrap_err();
        (refusal.exit, refusal.sentence)
    }

    #[test]
    fn only_who_holds_office_is_given_up() {
        let given_up = Failover { from: node("hn0") }.office(&config(), &records()).unwrap();
        assert_eq!(given_up.epoch.0, 7);
        let (exit, why) = refused(&records(), "hn1");
        assert_eq!(exit, Exit::Refused);
        assert!(why.starts_with("hn1 does not hold office: hn0 does, in epoch 7"), "{why}");
        assert!(refused(&records(), "hn7").1.starts_with("hn7 is not a headnode"));
    }

    #[test]
    fn a_holder_that_stops_for_ever_is_given_up_and_one_that_is_claimed_over_is_not() {
        let mut records = records();
        if let Content::Record(active) = &mut records.active {
            active.phase = Phase::BecomingStandby;
        }
        assert!(Failover { from: node("hn0") }.office(&config(), &records).is_ok());
        if let Content::Record(active) = &mut records.active {
            active.claimant = Some(identity("hn1"));
        }
        let (exit, why) = refused(&records, "hn0");
        assert_eq!(exit, Exit::NobodyActive);
        assert!(why.contains("hn1 claims to succeed hn0"), "{why}");
    }

    #[test]
    fn nobody_is_given_up_for_nobody() {
        let mut records = records();
        if let Content::Record(state) = &mut records.headnodes[1].state {
            (state.role, state.why) = (Role::Out, "no heartbeat".to_owned());
        }
        // It would merely rather not.
        assert!(Failover { from: node("hn0") }.office(&config(), &records).is_ok());
        records.headnodes[1].state = Content::Missing;
        let why = refused(&records, "hn0").1;
        assert_eq!(
            why,
            "no headnode could take over from hn0: hn1 cannot (its master-fc has no session)"
        );
    }

    #[test]
    fn who_lost_its_power_in_office_is_not_waited_for() {
        let records = past::without(overtaken());
        assert_eq!(
            refused(&records, "hn1").1,
            "no headnode could take over from hn1: hn0 cannot (it was active in epoch 7 and has said nothing since it lost office)"
        );
    }

    #[test]
    fn an_order_that_nobody_answers_is_said_in_a_sentence() {
        let office = Office { from: node("hn1"), epoch: Epoch(8), claim: None };
        let said = Failover::unanswered(&office, Duration::from_secs(30));
        let begin = "no headnode that could take over from hn1 answered within 30s (";
        assert!(said.starts_with(begin), "{said}");
    }

    #[test]
    fn who_is_in_maintenance_is_named_with_the_way_out() {
        let mut records = records();
        if let Content::Record(settings) = &mut records.settings {
            settings.maintenance.nodes.insert(node("hn1"), "eve@hn0: disk".to_owned());
        }
        assert_eq!(
            refused(&records, "hn0").1,
            "no headnode could take over from hn0: hn1 is in maintenance (eve@hn0: disk): `headship maintenance hn1 off` first"
        );
    }

    #[test]
    fn a_pause_is_named() {
        let mut records = records();
        if let Content::Record(settings) = &mut records.settings {
            settings.paused = Some("eve@hn1".to_owned());
        }
        assert!(refused(&records, "hn0").1.contains("paused (eve@hn1): `headship resume` first"));
    }
}
