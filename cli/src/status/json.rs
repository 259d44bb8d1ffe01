//! The view as JSON. The keys are documented in headship(1): they are added to, and neither renamed nor removed.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::hadoop;
use headship_core::node::NodeName;
use headship_core::record::{Active, Phase, Verdict};
use headship_core::time::WallTime;
use serde::Serialize;

use crate::apache;
use crate::followers::Follower;
use crate::history::{self, Transition};
use crate::keep::{self, Keep};
use crate::refusal::Refusal;
use crate::standing::{self, Conclusion};
use crate::view::{self, Headnode, Left, Local, Pulse, Quorum, Records, View, corrupt, record};

/// The whole of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Document {
    cluster: Option<String>,
    node: Option<String>,
    seen_ms: u64,
    condition: Option<&'static str>,
    exit: u8,
    conclusion: String,
    active: Option<String>,
    epoch: Option<u64>,
    office: Option<Office>,
    paused: Option<String>,
    keep: Option<Keep>,
    maintenance: Maintenance,
    headnodes: Vec<HeadnodeSeen>,
    last_transition: Option<Transition>,
    followers: Vec<FollowerSeen>,
    servers: Vec<Server>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apache_quorum: Option<Apache>,
    corrupt: Vec<String>,
    local: Option<Host>,
}

/// By whom and why each is in maintenance.
#[derive(Clone, Debug, Default, Serialize)]
struct Maintenance {
    nodes: BTreeMap<NodeName, String>,
    services: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize)]
struct Office {
    holder: Option<String>,
    epoch: u64,
    phase: &'static str,
    since_ms: u64,
    ceded_to: Option<String>,
    claimant: Option<String>,
    pulse: &'static str,
    unrenewed_ms: Option<u64>,
    lease_ms: u64,
    kill_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
struct HeadnodeSeen {
    name: String,
    address: String,
    role: Option<&'static str>,
    why: Option<String>,
    verdict: Option<&'static str>,
    reasons: Vec<String>,
    checks: BTreeMap<String, String>,
    ready: bool,
    services: BTreeMap<String, Service>,
    guard: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Service {
    observed: String,
    restarts: u32,
    given_up: bool,
    why: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct FollowerSeen {
    name: String,
    follows: bool,
    epoch: Option<u64>,
    agent: Option<String>,
    agent_epoch: Option<u64>,
    version: Option<String>,
    why: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Server {
    server: String,
    mode: Option<String>,
    why: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Apache {
    /// Why nothing is known of it, if so.
    why: Option<String>,
    components: Vec<Component>,
}

#[derive(Clone, Debug, Serialize)]
struct Component {
    component: &'static str,
    of: Option<String>,
    active: Option<Instance>,
    last: Option<Instance>,
    standbys: Vec<Instance>,
    why: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Instance {
    id: Option<String>,
    host: Option<String>,
    port: Option<u16>,
}

#[derive(Clone, Debug, Serialize)]
struct Host {
    folder: String,
    permit: Option<Permit>,
    closed: Option<Closed>,
    daemons: Vec<Daemon>,
    unreadable: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Permit {
    epoch: u64,
    this_boot: bool,
    /// Below zero once D has passed; none while a keep has moved it out of the way.
    left_ms: Option<i64>,
    kill_ms: u64,
    age_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Closed {
    epoch: u64,
    age_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Daemon {
    daemon: String,
    line: String,
    age_ms: u64,
}

impl Document {
    /// The same, seen at no time in particular: to tell whether anything changed.
    pub(super) fn undated(&self) -> Self {
        Self { seen_ms: 0, ..self.clone() }
    }
}

/// That nothing could be looked at.
pub(super) fn refused(refusal: &Refusal, now: WallTime) -> Document {
    let (exit, conclusion) = (refusal.exit.code(), refusal.sentence.clone());
    Document { seen_ms: now.0, exit, conclusion, ..Document::default() }
}

/// The view as JSON.
pub(super) fn document(view: &View, conclusion: &Conclusion) -> Document {
    let (records, local) = match &view.quorum {
        Quorum::Away { local, .. } => (None, Some(local)),
        Quorum::InSight(records) => (Some(records.as_ref()), None),
    };
    let holder = records.and_then(|records| standing::holder(records).ok());
    Document {
        cluster: Some(view.cluster.clone()),
        node: Some(view.node.to_string()),
        seen_ms: view.now.0,
        condition: Some(conclusion.condition.as_str()),
        exit: conclusion.condition.exit().code(),
        conclusion: conclusion.sentence.clone(),
        active: holder.map(|holder| holder.node.to_string()),
        epoch: holder.map(|holder| holder.epoch.0),
        office: records.and_then(office),
        paused: records
            .and_then(|records| record(&records.settings))
            .and_then(|settings| settings.paused.clone()),
        keep: records.and_then(keep::seen),
        maintenance: records
            .and_then(|records| record(&records.settings))
            .map(|settings| Maintenance {
                nodes: settings.maintenance.nodes.clone(),
                services: settings.maintenance.services.clone(),
            })
            .unwrap_or_default(),
        headnodes: records.map_or_else(Vec::new, |records| {
            records.headnodes.iter().map(|headnode| headnode_seen(view, headnode)).collect()
        }),
        last_transition: records.and_then(last_transition),
        followers: view
            .followers
            .iter()
            .map(|follower| {
                follower_seen(follower, records.and_then(|records| record(&records.active)))
            })
            .collect(),
        servers: view.servers.iter().map(server).collect(),
        apache_quorum: view.apache.as_ref().map(apache),
        corrupt: records.map_or_else(Vec::new, corrupt_records),
        local: local.map(host),
    }
}

fn apache(seen: &apache::Seen) -> Apache {
    let of_instance = |instance: &hadoop::Instance| Instance {
        id: instance.id.clone(),
        host: instance.host.clone(),
        port: instance.port,
    };
    let component = |component: &apache::Component| Component {
        component: component.kind.word(),
        of: component.of.clone(),
        active: component.active.as_ref().map(of_instance),
        last: component.last.as_ref().map(of_instance),
        standbys: component.standbys.iter().map(of_instance).collect(),
        why: component.fault.clone(),
    };
    match seen {
        Ok(components) => {
            Apache { why: None, components: components.iter().map(component).collect() }
        }
        Err(why) => Apache { why: Some(why.clone()), components: Vec::new() },
    }
}

fn office(records: &Records) -> Option<Office> {
    let active = record(&records.active)?;
    let (phase, ceded_to) = match &active.phase {
        Phase::BecomingActive => ("becoming-active", None),
        Phase::Active => ("active", None),
        Phase::BecomingStandby => ("becoming-standby", None),
        Phase::Ceded { to, .. } => ("ceded", to.as_ref()),
    };
    Some(Office {
        holder: active.holder.as_ref().map(|by| by.node.to_string()),
        epoch: active.epoch.0,
        phase,
        since_ms: active.since.0,
        ceded_to: ceded_to.map(ToString::to_string),
        claimant: active.claimant.as_ref().map(|by| by.node.to_string()),
        pulse: match records.pulse {
            Pulse::Lock => "lock",
            Pulse::Silent { .. } => "silent",
            Pulse::Lease => "lease",
            Pulse::Still(_) => "still",
            Pulse::NoHolder => "none",
        },
        unrenewed_ms: match records.pulse {
            Pulse::Lock | Pulse::Lease => Some(0),
            Pulse::Silent { unrenewed, .. } | Pulse::Still(unrenewed) => Some(millis(unrenewed)),
            Pulse::NoHolder => None,
        },
        lease_ms: active.lease_ms,
        kill_ms: active.kill_ms,
    })
}

fn headnode_seen(view: &View, headnode: &Headnode) -> HeadnodeSeen {
    let state = record(&headnode.state);
    let health = record(&headnode.health);
    let service = |name: &String| {
        let seen = headnode.service(name)?;
        let view::ServiceSeen { observed, restarts, given_up, why } = seen;
        Some((name.clone(), Service { observed, restarts, given_up, why }))
    };
    HeadnodeSeen {
        name: headnode.name.to_string(),
        address: headnode.address.clone(),
        role: state.map(|state| state.role.as_str()),
        why: state.map(|state| state.why.clone()).or_else(|| headnode.past.clone()),
        verdict: health.map(|health| verdict(health.verdict)),
        reasons: health.map_or_else(Vec::new, |health| health.reasons.clone()),
        checks: health.map_or_else(BTreeMap::new, |health| health.checks.clone()),
        ready: standing::readiness(headnode).is_ok(),
        services: (view.services.iter())
            .chain(view.pinned.iter().map(|(name, _)| name))
            .filter_map(service)
            .collect(),
        guard: record(&headnode.services).map(|services| services.why.clone()),
    }
}

/// The word for a verdict.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Eligible => "eligible",
        Verdict::Reluctant => "reluctant",
        Verdict::Ineligible => "ineligible",
    }
}

fn last_transition(records: &Records) -> Option<Transition> {
    history::last(records).map(Transition::from)
}

fn follower_seen(follower: &Follower, active: Option<&Active>) -> FollowerSeen {
    let state = follower.seen.as_ref().ok();
    let behind = follower.behind(active);
    FollowerSeen {
        name: follower.name.clone(),
        follows: behind.is_none(),
        epoch: state.map(|state| state.epoch.0),
        agent: state.and_then(|state| state.agent.as_ref()).map(|it| it.observed.clone()),
        agent_epoch: state.and_then(|state| state.agent.as_ref()).map(|it| it.epoch.0),
        version: state.map(|state| state.version.clone()),
        why: behind.or_else(|| state.map(|state| state.why.clone())),
    }
}

fn server(server: &view::Server) -> Server {
    Server {
        server: server.address.clone(),
        mode: server.answer.as_ref().ok().cloned(),
        why: server.answer.as_ref().err().cloned(),
    }
}

/// Each record that cannot be understood, in a sentence.
pub(super) fn corrupt_records(records: &Records) -> Vec<String> {
    let mut found = vec![
        corrupt(&records.settings),
        corrupt(&records.active),
        corrupt(&records.lock),
        corrupt(&records.history),
    ];
    for headnode in &records.headnodes {
        found.push(corrupt(&headnode.state));
        found.push(corrupt(&headnode.health));
        found.push(corrupt(&headnode.services));
        found.push(corrupt(&headnode.duty));
    }
    found.into_iter().flatten().collect()
}

fn host(local: &Local) -> Host {
    let permit = local.permit.as_ref().ok().and_then(Option::as_ref);
    let closed = local.closed.as_ref().ok().and_then(Option::as_ref);
    let daemons = local.daemons.as_ref().map_or(&[][..], |daemons| daemons);
    let unreadable =
        [local.permit.as_ref().err(), local.closed.as_ref().err(), local.daemons.as_ref().err()];
    Host {
        folder: local.folder.clone(),
        permit: permit.map(|permit| Permit {
            epoch: permit.epoch.0,
            this_boot: permit.this_boot,
            left_ms: match permit.left {
                Left::Until(left) => Some(signed_millis(left)),
                Left::Since(since) => Some(-signed_millis(since)),
                Left::Kept => None,
            },
            kill_ms: millis(permit.kill),
            age_ms: millis(permit.age),
        }),
        closed: closed.map(|(epoch, age)| Closed { epoch: epoch.0, age_ms: millis(*age) }),
        daemons: daemons
            .iter()
            .map(|daemon| Daemon {
                daemon: daemon.name.clone(),
                line: daemon.line.clone(),
                age_ms: millis(daemon.age),
            })
            .collect(),
        unreadable: unreadable.into_iter().flatten().cloned().collect(),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn signed_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
