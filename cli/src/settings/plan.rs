//! What is to be done about a wish, by what the records say; or why it is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::config::Config;
use headship_core::known::Content;
use headship_core::node::NodeName;
use headship_core::record::{Keep, Maintenance, Pausing, Phase, Settings};
use headship_core::time::WallTime;
use headship_daemon::Exit;

use super::{Plan, Subject, Wish};
use crate::keep;
use crate::standing::{self, Holder};
use crate::view::{self, Pulse, Records};

/// How long a keep may be acknowledged. It is withdrawn sooner by who asked for it; this is for one that could not, and for
/// clocks that differ.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// What is to be done, by what the records say.
pub(super) fn plan(
    config: &Config,
    records: &Records,
    settings: &Content<Settings>,
    wish: &Wish,
    (by, now): (&str, WallTime),
) -> Plan {
    let settings = match settings {
        Content::Record(settings) => settings,
        Content::Corrupt(corrupt) => return Plan::Refuse(Exit::Failed, corrupt.to_string()),
        Content::Unread => {
            let why = "the failover quorum does not let us read the record `settings`";
            return Plan::Refuse(Exit::Failed, why.to_owned());
        }
        Content::Missing => {
            let why = "this cluster has not begun: start master-fc on a headnode first";
            return Plan::Refuse(Exit::Refused, why.to_owned());
        }
    };
    let mut new = settings.clone();
    match wish {
        Wish::Pause => paused(records, settings, None, by),
        Wish::PauseAndKeep(id) => paused(records, settings, Some((id, now)), by),
        Wish::Resume => resumed(settings, by),
        Wish::Begin(subject) => begin(config, records, new, subject, by),
        Wish::End(subject) => {
            let name = subject.name();
            let earlier = match subject {
                Subject::Node(node) => new.maintenance.nodes.remove(node),
                Subject::Service(name) => new.maintenance.services.remove(name),
            };
            match earlier {
                None => Plan::Nothing(format!("{name} was not in maintenance")),
                Some(earlier) => Plan::Write(
                    Box::new(new),
                    format!("maintenance of {name} has ended; it was in it: {earlier}"),
                ),
            }
        }
    }
}

/// With a keep of this id, asked for now, if there is to be one.
fn paused(
    records: &Records,
    settings: &Settings,
    keep: Option<(&String, WallTime)>,
    by: &str,
) -> Plan {
    let refuse = |why: String| Plan::Refuse(Exit::Refused, why);
    match settings.pausing() {
        Pausing::Automatic => {}
        Pausing::Paused(earlier)
        | Pausing::Asked { by: earlier, .. }
        | Pausing::Kept { by: earlier, .. } => {
            return refuse(format!(
                "automatic failover is paused already: {earlier} (`headship resume` ends that)"
            ));
        }
        Pausing::Resuming { .. } => {
            let how = keep::phrase(records, settings).unwrap_or_default();
            return refuse(format!("automatic failover is {how}"));
        }
    }
    if let Some(why) = cession_under_way(records, settings) {
        return refuse(why);
    }
    let keep = match (keep, standing::in_office(records)) {
        (None, _) => None,
        (Some((id, now)), Ok(Holder { epoch, .. })) => {
            let good_for = u64::try_from(GOOD_FOR.as_millis()).unwrap_or(u64::MAX);
            let not_after = WallTime(now.0.saturating_add(good_for));
            Some(Keep::asked(id.clone(), epoch, not_after))
        }
        (Some(_), Err(nobody)) => {
            let nobody = nobody.sentence;
            return refuse(format!(
                "nobody would keep any services: {}; `headship pause` alone keeps others from taking over",
                nobody.trim_end_matches('.')
            ));
        }
    };
    let new = settings.pause(by, keep);
    Plan::Write(Box::new(new), format!("automatic failover is paused: {by}"))
}

/// The cession that a pause would leave half way, if there is one: whoever it is for could claim no more, and nobody would be
/// active. One that nobody is there for to claim is not waited for: the pause changes nothing then.
fn cession_under_way(records: &Records, settings: &Settings) -> Option<String> {
    let active = view::record(&records.active).filter(|active| active.claimant.is_none())?;
    let (holder, epoch) = (&active.holder.as_ref()?.node, active.epoch);
    let in_maintenance = |name: &NodeName| settings.maintenance.nodes.contains_key(name);
    let mut others = records.headnodes.iter().filter(|it| !in_maintenance(&it.name));
    let claimed_soon = others.any(|other| standing::readiness(other).is_ok());
    let alive = !matches!(records.pulse, Pulse::Still(_));
    let what = match &active.phase {
        Phase::BecomingStandby if alive || claimed_soon => {
            format!("{holder} is stopping the services in order to cede epoch {epoch}")
        }
        Phase::Ceded { .. } if claimed_soon => {
            format!("{holder} ceded epoch {epoch}, and nobody claimed it yet")
        }
        Phase::BecomingStandby | Phase::Ceded { .. } | Phase::BecomingActive | Phase::Active => {
            return None;
        }
    };
    Some(format!(
        "{what}: with a pause now nobody would become active; wait for its end (see `headship status --watch`)"
    ))
}

pub(super) fn resumed(settings: &Settings, by: &str) -> Plan {
    let write = |done| Plan::Write(Box::new(settings.resume(by)), done);
    match settings.pausing() {
        Pausing::Automatic => Plan::Nothing("automatic failover was not paused".to_owned()),
        Pausing::Paused(earlier) | Pausing::Asked { by: earlier, .. } => {
            write(format!("automatic failover is on again; it was paused: {earlier}"))
        }
        Pausing::Kept { by: earlier, .. } => {
            write(format!("automatic failover is resumed; it was paused: {earlier}"))
        }
        Pausing::Resuming { .. } => {
            Plan::Nothing("automatic failover was resumed before".to_owned())
        }
    }
}

fn begin(
    config: &Config,
    records: &Records,
    mut new: Settings,
    subject: &Subject,
    by: &str,
) -> Plan {
    let refuse = |why: String| Plan::Refuse(Exit::Refused, why);
    let keeps = keep::may_keep(records, &new).cloned();
    let Maintenance { nodes, services, .. } = &mut new.maintenance;
    let (earlier, what) = match subject {
        Subject::Node(node)
            if keeps.as_ref() == Some(node) && standing::in_office(records).is_err() =>
        {
            return refuse(format!(
                "{node} may keep its services all the same (pause --keep), and is in office again as soon as it is seen: `headship resume` first, and wait for the end of that"
            ));
        }
        Subject::Node(node) => {
            if let Some(why) = in_the_way(config, records, nodes, node) {
                return refuse(why);
            }
            (nodes.insert(node.clone(), by.to_owned()), "takes no office")
        }
        Subject::Service(name) => {
            (services.insert(name.clone(), by.to_owned()), "is left alone where it may run")
        }
    };
    let name = subject.name();
    match earlier {
        Some(earlier) => refuse(format!("{name} is in maintenance already: {earlier}")),
        None => Plan::Write(Box::new(new), format!("{name} is in maintenance and {what}: {by}")),
    }
}

/// What speaks against taking a headnode into maintenance. One that holds or claims office would go on with it, and its loss
/// would leave nobody; and one is left that may take office.
fn in_the_way(
    config: &Config,
    records: &Records,
    nodes: &BTreeMap<NodeName, String>,
    node: &NodeName,
) -> Option<String> {
    if let Ok(Holder { node: holder, epoch, .. }) = standing::in_office(records)
        && holder == node
    {
        return Some(format!(
            "{node} holds office in epoch {epoch}: `headship switchover` first (or `headship pause`, if only takeovers shall stop)"
        ));
    }
    let active = view::record(&records.active);
    if active.and_then(|it| it.claimant.as_ref()).is_some_and(|claimant| claimant.node == *node) {
        return Some(format!(
            "{node} claims office: wait until it is active, then `headship switchover` first"
        ));
    }
    let others = config.headnodes.iter().filter(|headnode| headnode.name != *node);
    let others: Vec<&NodeName> = others.map(|headnode| &headnode.name).collect();
    if others.iter().all(|other| nodes.contains_key(*other)) {
        let others: Vec<&str> = others.iter().map(|other| other.as_str()).collect();
        return Some(format!(
            "nobody could take office any more: end the maintenance of {} first",
            others.join(" or ")
        ));
    }
    None
}
