//! What follows from a view: who is active, who could take over, and the one sentence that says it all.
//!
//! Nothing is decided here that the cluster goes by; the words are those of `headship-core`, read from the records.

use headship_core::config::Config;
use headship_core::epoch::Epoch;
use headship_core::known::Content;
use headship_core::node::NodeName;
use headship_core::record::{Active, Pausing, Phase, Role, Verdict};
use headship_core::services::Observed;
use headship_daemon::Exit;

use crate::view::{Headnode, Left, Local, Pulse, Quorum, Records, ServiceSeen, View};
use crate::view::{corrupt, record};
use crate::{followers, keep, say};

/// How the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// One headnode is active, another one is ready to take over.
    Healthy,
    /// One headnode is active, and something is missing.
    Degraded,
    /// No headnode is active.
    NobodyActive,
    /// The record of office cannot be understood.
    Unreadable,
    /// The failover quorum is out of sight.
    QuorumAway,
}

impl Condition {
    /// The exit code that tells it.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Healthy => Exit::Ok,
            Self::Degraded => Exit::Degraded,
            Self::NobodyActive => Exit::NobodyActive,
            Self::Unreadable => Exit::Failed,
            Self::QuorumAway => Exit::QuorumAway,
        }
    }

    /// The word for programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::NobodyActive => "nobody-active",
            Self::Unreadable => "unreadable",
            Self::QuorumAway => "quorum-away",
        }
    }
}

/// How the cluster is, with the sentence that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conclusion {
    pub(crate) condition: Condition,
    pub(crate) sentence: String,
}

/// The headnode that holds office and lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) node: &'a NodeName,
    pub(crate) epoch: Epoch,
    /// Whether it has announced that it serves: it is active. Otherwise it is starting the services.
    pub(crate) announced: bool,
}

/// How the cluster is.
pub(crate) fn conclude(view: &View) -> Conclusion {
    let records = match &view.quorum {
        Quorum::Away { why, local } => {
            return Conclusion {
                condition: Condition::QuorumAway,
                sentence: format!("{why}; {}.", here(&view.node, local)),
            };
        }
        Quorum::InSight(records) => records,
    };
    match holder(records) {
        Ok(holder) => beside(view, records, holder),
        Err(nobody) => nobody,
    }
}

/// Who is active; or that nobody is, and why.
pub(crate) fn holder(records: &Records) -> Result<Holder<'_>, Conclusion> {
    let holder = in_office(records)?;
    if holder.announced {
        return Ok(holder);
    }
    let Holder { node, epoch, .. } = holder;
    let mut why = format!("{node} took office in epoch {epoch} and is starting the services");
    if let Some(silence) = silence(records.pulse) {
        why.push_str(&format!(", but {silence}"));
    }
    Err(nobody(&why, records))
}

/// Who holds office, whether or not it serves yet; or that nobody does, and why.
pub(crate) fn in_office(records: &Records) -> Result<Holder<'_>, Conclusion> {
    let active = match &records.active {
        Content::Record(active) => active,
        Content::Corrupt(corrupt) => {
            let sentence = format!("nobody can say who is active: {corrupt}.");
            return Err(Conclusion { condition: Condition::Unreadable, sentence });
        }
        Content::Unread => {
            let sentence = "nobody can say who is active: the failover quorum does not let us read the record `active`.".to_owned();
            return Err(Conclusion { condition: Condition::Unreadable, sentence });
        }
        Content::Missing => return Err(nobody("nobody ever held office", records)),
    };
    match state(active, records.pulse) {
        Ok(holder) => Ok(holder),
        Err(why) => Err(nobody(&why, records)),
    }
}

fn state(active: &Active, pulse: Pulse) -> Result<Holder<'_>, String> {
    let epoch = active.epoch;
    let Some(by) = &active.holder else {
        let claimant = active.claimant.as_ref().map_or("nobody", |by| by.node.as_str());
        return Err(format!("nobody ever held office, and {claimant} claims it"));
    };
    let node = &by.node;
    if let Some(claimant) = &active.claimant {
        let claimant = &claimant.node;
        return Err(format!(
            "{claimant} claims to succeed {node} (epoch {epoch}; `headship fence list` tells what it waits for)"
        ));
    }
    match (&active.phase, pulse) {
        (Phase::Ceded { to: Some(to), .. }, _) => {
            Err(format!("{node} ceded epoch {epoch} to {to}, which did not claim yet"))
        }
        (Phase::Ceded { to: None, .. }, _) => Err(format!("{node} ceded epoch {epoch}")),
        (_, Pulse::Still(time)) => Err(format!(
            "{node} held office in epoch {epoch}, but its lock is gone and its lease stands still ({})",
            say::span(time)
        )),
        (Phase::Active, Pulse::Lock | Pulse::Silent { .. } | Pulse::Lease | Pulse::NoHolder) => {
            Ok(Holder { node, epoch, announced: true })
        }
        (
            Phase::BecomingActive,
            Pulse::Lock | Pulse::Silent { .. } | Pulse::Lease | Pulse::NoHolder,
        ) => Ok(Holder { node, epoch, announced: false }),
        (
            Phase::BecomingStandby,
            Pulse::Lock | Pulse::Silent { .. } | Pulse::Lease | Pulse::NoHolder,
        ) => Err(format!("{node} is stopping the services in order to cede epoch {epoch}")),
    }
}

fn nobody(why: &str, records: &Records) -> Conclusion {
    let headnodes = records.headnodes.iter().map(condition_of);
    let headnodes: Vec<String> =
        keep::beside_nobody(records).into_iter().chain(headnodes).collect();
    Conclusion {
        condition: Condition::NobodyActive,
        sentence: format!("nobody is active: {why}; {}.", headnodes.join("; ")),
    }
}

/// What one headnode is and why, in a phrase.
fn condition_of(headnode: &Headnode) -> String {
    let name = &headnode.name;
    record(&headnode.state).map_or_else(
        || absent(headnode),
        |state| format!("{name} is {}: {}", state.role.as_str(), state.why),
    )
}

/// Why there is no record of a headnode's master-fc.
fn absent(headnode: &Headnode) -> String {
    let name = &headnode.name;
    if let Some(past) = &headnode.past {
        return format!("{name} {past}");
    }
    corrupt(&headnode.state).map_or_else(
        || format!("{name} is not there (its master-fc has no session)"),
        |corrupt| format!("{name} is unknown ({corrupt})"),
    )
}

/// One is active: whether all is well beside that.
fn beside(view: &View, records: &Records, holder: Holder<'_>) -> Conclusion {
    let Holder { node, epoch, .. } = holder;
    let others = || records.headnodes.iter().filter(|headnode| headnode.name != *node);
    let own = records.headnodes.iter().find(|headnode| headnode.name == *node);
    let maintenance = record(&records.settings).map(|settings| &settings.maintenance);
    // What is written holds from then on, whatever the headnode itself says until it has read it.
    let able = |other: &Headnode| match maintenance.and_then(|it| it.nodes.get(&other.name)) {
        Some(by) => Err(format!("it is in maintenance ({by})")),
        None => readiness(other),
    };
    let ready: Vec<&Headnode> = others().filter(|other| able(other).is_ok()).collect();
    let alone = |name: &String| maintenance.is_some_and(|it| it.services.contains_key(name));
    let kept: Vec<&String> = view.services.iter().filter(|name| !alone(name)).collect();
    let mut missing = own.map_or_else(
        || vec!["it is no headnode of the configuration here: bring it up to date".to_owned()],
        |own| troubles(own, &kept),
    );
    missing.extend(pinned_down(view, records, alone));
    missing.extend(maintenance.into_iter().flat_map(|maintenance| {
        maintenance.services.iter().map(|(name, by)| format!("{name} is in maintenance ({by})"))
    }));
    if let Some(silence) = silence(records.pulse) {
        missing.insert(0, silence);
    }
    match &records.settings {
        Content::Record(settings) => {
            missing.extend(match settings.pausing() {
                Pausing::Automatic => None,
                Pausing::Paused(by) => Some(format!("automatic failover is paused ({by})")),
                Pausing::Asked { .. } | Pausing::Kept { .. } | Pausing::Resuming { .. } => {
                    keep::phrase(records, settings)
                        .map(|how| format!("automatic failover is {how}"))
                }
            });
        }
        Content::Corrupt(corrupt) => missing.push(corrupt.to_string()),
        Content::Unread | Content::Missing => {}
    }
    if ready.is_empty() {
        missing.extend(others().filter_map(|other| {
            Some(format!("{} cannot take over ({})", other.name, able(other).err()?))
        }));
    }
    if let Some(summary) = followers::summary(&view.followers, record(&records.active))
        && !summary.behind.is_empty()
    {
        let (behind, all) = (summary.behind.len(), summary.all);
        let do_not = if behind == 1 { "does" } else { "do" };
        missing.push(format!("{behind} of {all} nodes {do_not} not follow ({})", summary.named()));
    }
    let office = format!("{node} is active in epoch {epoch}");
    if missing.is_empty() {
        let ready: Vec<&str> = ready.iter().map(|headnode| headnode.name.as_str()).collect();
        let is = if ready.len() == 1 { "is" } else { "are" };
        let sentence = format!("{office}; {} {is} ready to take over.", ready.join(", "));
        return Conclusion { condition: Condition::Healthy, sentence };
    }
    let sentence = format!("{office}, but {}.", missing.join("; "));
    Conclusion { condition: Condition::Degraded, sentence }
}

/// The pinned services that do not run where they belong. Nobody takes them over: only mending them helps.
fn pinned_down(view: &View, records: &Records, alone: impl Fn(&String) -> bool) -> Vec<String> {
    let kept = view.pinned.iter().filter(|(name, _)| !alone(name));
    let down = kept.filter_map(|(name, node)| {
        let headnode = records.headnodes.iter().find(|headnode| headnode.name == *node);
        let why = match headnode.and_then(|headnode| headnode.service(name)) {
            Some(seen) if seen.is_running() => return None,
            Some(ServiceSeen { observed, why: Some(why), .. }) => format!("{observed}: {why}"),
            Some(ServiceSeen { observed, why: None, .. }) => observed,
            None => "its slave-ha-service has no session".to_owned(),
        };
        Some(format!("{name}, pinned to {node}, is not running ({why})"))
    });
    down.collect()
}

/// That a holder whose session lives does not renew, if so: it may be gone, and nobody can know it yet.
fn silence(pulse: Pulse) -> Option<String> {
    let Pulse::Silent { unrenewed, due } = pulse else { return None };
    Some(format!(
        "it may be gone: no renewal of its lease was seen for {} (due every {})",
        say::span(unrenewed),
        say::span(due)
    ))
}

/// What is not as it should be on the active itself.
fn troubles(own: &Headnode, services: &[&String]) -> Vec<String> {
    let mut troubles = Vec::new();
    match &own.state {
        Content::Record(state) if state.role == Role::Active => {}
        Content::Record(state) => {
            troubles.push(format!("its master-fc is {}: {}", state.role.as_str(), state.why));
        }
        Content::Corrupt(corrupt) => troubles.push(corrupt.to_string()),
        Content::Missing | Content::Unread => {
            troubles.push("its master-fc has no session".to_owned());
        }
    }
    let mut given_up = own.given_up();
    given_up.retain(|name| services.iter().any(|kept| kept == name));
    let mut unseen = Vec::new();
    for name in services.iter().filter(|name| !given_up.contains(&name.as_str())) {
        match own.service(name) {
            None => unseen.push(name.as_str()),
            Some(seen) if seen.observed == Observed::Unknown.as_str() => unseen.push(name.as_str()),
            Some(seen) if seen.is_running() => {}
            Some(ServiceSeen { observed, why: Some(why), .. }) => {
                troubles.push(format!("{name} is not running ({observed}: {why})"));
            }
            Some(ServiceSeen { observed, why: None, .. }) => {
                troubles.push(format!("{name} is not running ({observed})"));
            }
        }
    }
    if !unseen.is_empty() {
        let unseen = unseen.join(", ");
        troubles.push(format!("nobody tells whether {unseen} runs (see its slave-ha-service)"));
    }
    troubles.extend(given_up.iter().map(|name| format!("{name} is given up")));
    troubles
}

/// Whether a headnode that is not active could take over at once, or why not.
pub(crate) fn readiness(headnode: &Headnode) -> Result<(), String> {
    let state = match &headnode.state {
        Content::Record(state) => state,
        Content::Corrupt(corrupt) => return Err(corrupt.to_string()),
        Content::Missing | Content::Unread => {
            let past = headnode.past.as_ref().map(|past| format!("it {past}"));
            return Err(past.unwrap_or_else(|| "its master-fc has no session".to_owned()));
        }
    };
    if state.role != Role::Standby {
        return Err(format!("it is {}: {}", state.role.as_str(), state.why));
    }
    let health = match &headnode.health {
        Content::Record(health) => health,
        Content::Corrupt(corrupt) => return Err(corrupt.to_string()),
        Content::Missing | Content::Unread => {
            return Err("no heartbeat of its health-monitor".to_owned());
        }
    };
    match health.verdict {
        Verdict::Eligible => Ok(()),
        Verdict::Reluctant | Verdict::Ineligible => Err(health.reasons.join("; ")),
    }
}

/// That a headnode is in maintenance, and how that ends, if it is.
pub(crate) fn maintained(records: &Records, node: &NodeName) -> Option<String> {
    let by = record(&records.settings)?.maintenance.nodes.get(node)?;
    Some(format!("{node} is in maintenance ({by}): `headship maintenance {node} off` first"))
}

/// That a node is no headnode, and which nodes are.
pub(crate) fn no_headnode(config: &Config, node: &NodeName) -> String {
    let known: Vec<&str> = config.headnodes.iter().map(|headnode| headnode.name.as_str()).collect();
    format!("{node} is not a headnode of this cluster: say one of {}", known.join(", "))
}

/// What this host knows of itself, in a phrase.
fn here(node: &NodeName, local: &Local) -> String {
    match &local.permit {
        Err(why) => format!("{node} holds no permit that can be read ({why})"),
        Ok(None) => format!("{node} holds no permit: HA services are kept stopped here"),
        Ok(Some(permit)) if !permit.this_boot => {
            format!("the permit on {node} is of an earlier boot: HA services are kept stopped here")
        }
        Ok(Some(permit)) => match permit.left {
            Left::Until(left) => format!(
                "{node} holds the permit of epoch {} for {} more",
                permit.epoch,
                say::span(left)
            ),
            Left::Kept => format!(
                "{node} holds the permit of epoch {} and keeps its services, whatever the quorum does, until `headship resume`",
                permit.epoch
            ),
            Left::Since(since) => format!(
                "the permit of epoch {} on {node} ended {} ago: HA services are stopped here",
                permit.epoch,
                say::span(since)
            ),
        },
    }
}
