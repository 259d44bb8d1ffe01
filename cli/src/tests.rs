//! What the tests of this crate share: a configuration of two headnodes and three services, and its healthy records.

use std::collections::{BTreeMap, BTreeSet};

use headship_core::config::{self, Config};
use headship_core::epoch::{Epoch, Incarnation};
use headship_core::known::Content;
use headship_core::node::{Identity, NodeName};
use headship_core::quorum::Version;
use headship_core::record::{
    Active, Duty, FORMAT, HeadnodeState, Health, History, Keep, Kept, Lock, Maintenance, Phase,
    PhaseTime, Rest, Role, ServiceDuty, ServicesState, Settings, Transition, Verdict,
};
use headship_core::time::WallTime;

use crate::view::{Headnode, Pulse, Records};

const CONFIG: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181", "zk1:2181", "zk2:2181"]
headnode = [{ name = "hn0", address = "10.0.0.10" }, { name = "hn1", address = "10.0.0.11" }]
[[service]]
name = "ambari-server"
unit = "ambari-server.service"
started_by = "master-fc"
[[service]]
name = "job-history"
unit = "mr-jobhistory.service"
[[service]]
name = "livy"
unit = "livy.service"
"#;

/// 2026-11-22 17:20:00 UTC, when the records' office began.
pub(crate) const BEGIN: WallTime = WallTime(1_795_368_000_000);

pub(crate) fn config() -> Config {
    let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
    config::load(&fragments, node("hn0")).unwrap()
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

pub(crate) fn identity(name: &str) -> Identity {
    let id = |what: &str| format!("{what}-of-{name}");
    Identity { node: node(name), machine: id("machine"), boot: id("boot"), process: id("process") }
}

/// hn0 is active in epoch 7, and hn1 is ready.
pub(crate) fn records() -> Records {
    let active = Active {
        format: FORMAT,
        incarnation: Incarnation("i".to_owned()),
        epoch: Epoch(7),
        holder: Some(identity("hn0")),
        phase: Phase::Active,
        claimant: None,
        lease_ms: 6000,
        kill_ms: 2000,
        services: vec![],
        addresses: vec![],
        since: BEGIN,
        taken_on: None,
        rest: Rest::new(),
    };
    let settings = Settings {
        format: FORMAT,
        incarnation: Incarnation("i".to_owned()),
        paused: None,
        keep: None,
        maintenance: Maintenance::default(),
        rest: Rest::new(),
    };
    let why = "hn0 is active (epoch 7)";
    Records {
        settings: Content::Record(settings),
        active: Content::Record(active),
        of_active: Some(Version(40)),
        lock: Content::Record(Lock { format: FORMAT, by: identity("hn0") }),
        pulse: Pulse::Lock,
        history: Content::Record(history()),
        headnodes: vec![
            headnode("hn0", Role::Active, "holds office", "running"),
            headnode("hn1", Role::Standby, why, "stopped"),
        ],
    }
}

/// hn0 is asked to keep its services.
pub(crate) fn asked() -> Keep {
    Keep::asked("k".to_owned(), Epoch(7), BEGIN)
}

/// hn0 has acknowledged that it keeps its services, and its daemons go by it.
pub(crate) fn kept() -> Records {
    let mut records = records();
    let kept = Kept { by: identity("hn0"), epoch: Epoch(7) };
    if let Content::Record(settings) = &mut records.settings {
        *settings = settings.pause("root@hn1: work on the racks", Some(asked()));
        settings.keep.as_mut().unwrap().acknowledged = Some(kept);
    }
    let own = &mut records.headnodes[0];
    if let (Content::Record(state), Content::Record(guard)) = (&mut own.state, &mut own.services) {
        (state.kept, guard.kept) = (Some("k".to_owned()), Some("k".to_owned()));
    }
    records
}

fn history() -> History {
    let phases = [("detect", 510), ("wait", 7750), ("permit", 4), ("start", 1320)];
    let phases = phases.map(|(phase, ms)| PhaseTime { phase: phase.to_owned(), ms }).to_vec();
    let last = Transition {
        epoch: Epoch(7),
        from: Some(node("hn1")),
        to: node("hn0"),
        cause: "the lease of hn1 was waited out".to_owned(),
        at: BEGIN,
        phases,
    };
    History { format: FORMAT, transitions: vec![last], rest: Rest::new() }
}

fn headnode(name: &str, role: Role, why: &str, observed: &str) -> Headnode {
    let by = identity(name);
    let services = ["ambari-server", "job-history", "livy"];
    let state = HeadnodeState {
        format: FORMAT,
        by: by.clone(),
        role,
        epoch: Epoch(7),
        why: why.to_owned(),
        attempt: None,
        fence: None,
        kept: None,
        gave_up: None,
        rest: Rest::new(),
    };
    let health = Health {
        format: FORMAT,
        by: by.clone(),
        seq: 1,
        verdict: Verdict::Eligible,
        reasons: vec![],
        checks: BTreeMap::from([("disk /".to_owned(), "20000 MiB free".to_owned())]),
        rest: Rest::new(),
    };
    let observed = services.map(|service| (service.to_owned(), observed.to_owned()));
    let services = ServicesState {
        format: FORMAT,
        by,
        services: BTreeMap::from(observed),
        reasons: BTreeMap::new(),
        alone: BTreeSet::new(),
        kept: None,
        why: "a permit of epoch 7 covers this headnode".to_owned(),
        rest: Rest::new(),
    };
    Headnode {
        name: node(name),
        address: if name == "hn0" { "10.0.0.10" } else { "10.0.0.11" }.to_owned(),
        state: Content::Record(state),
        health: Content::Record(health),
        services: Content::Record(services),
        duty: Content::Missing,
        promise: Content::Missing,
        past: None,
    }
}

/// hn0 lost its power in epoch 7, and hn1 is active in epoch 8; all that hn0 last said is there still.
pub(crate) fn overtaken() -> Records {
    let mut records = records();
    if let Content::Record(active) = &mut records.active {
        (active.epoch, active.holder) = (Epoch(8), Some(identity("hn1")));
    }
    records.lock = Content::Record(Lock { format: FORMAT, by: identity("hn1") });
    let taker = headnode("hn1", Role::Active, "holds office", "running");
    records.headnodes[1] = taker;
    if let Content::Record(state) = &mut records.headnodes[1].state {
        state.epoch = Epoch(8);
    }
    records
}

/// A service whose restarts did not help.
pub(crate) fn given_up() -> ServiceDuty {
    ServiceDuty {
        observed: "failed".to_owned(),
        restarts: 3,
        given_up: true,
        critical: false,
        alone: false,
        why: "3 restarts in 600 s did not help".to_owned(),
    }
}

/// What master-ha-service does about one service on a headnode.
pub(crate) fn duty(name: &str, service: &str, duty: ServiceDuty) -> Content<Duty> {
    Content::Record(Duty {
        format: FORMAT,
        by: identity(name),
        epoch: Epoch(7),
        services: BTreeMap::from([(service.to_owned(), duty)]),
        rest: Rest::new(),
    })
}
