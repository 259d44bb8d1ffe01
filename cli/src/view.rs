//! What the command line sees of the cluster at one moment, as plain data. What follows from it is in `standing`.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::epoch::Epoch;
use headship_core::known::Content;
use headship_core::node::NodeName;
use headship_core::quorum::Version;
use headship_core::record::{
    Active, Duty, HeadnodeState, Health, History, Lock, Promise, ServicesState, Settings,
};
use headship_core::services::Observed;
use headship_core::time::WallTime;

use crate::apache;
use crate::followers::Follower;

/// What is seen of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The node that looks.
    pub(crate) node: NodeName,
    /// When it looked.
    pub(crate) now: WallTime,
    /// The names of the HA services, in their order.
    pub(crate) services: Vec<String>,
    /// The pinned ones, each with its headnode.
    pub(crate) pinned: Vec<(String, NodeName)>,
    /// The servers of the failover quorum.
    pub(crate) servers: Vec<Server>,
    /// The nodes that show how far they follow the active.
    pub(crate) followers: Vec<Follower>,
    /// What is elected in the Apache quorum, if the configuration has one.
    pub(crate) apache: Option<apache::Seen>,
    /// What the quorum says.
    pub(crate) quorum: Quorum,
}

/// One server of the failover quorum.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its `host:port`.
    pub(crate) address: String,
    /// What it says it is (`unknown` if it may not say), or why it says nothing.
    pub(crate) answer: Result<String, String>,
}

/// What the quorum says.
#[derive(Clone, Debug)]
pub(crate) enum Quorum {
    /// Nothing: it is out of sight.
    Away {
        /// Why.
        why: String,
        /// What this host knows by itself.
        local: Local,
    },
    /// Its records.
    InSight(Box<Records>),
}

/// The records, each as far as it could be read. They are not one snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) settings: Content<Settings>,
    pub(crate) active: Content<Active>,
    /// The version of `active`, if it exists.
    pub(crate) of_active: Option<Version>,
    pub(crate) lock: Content<Lock>,
    /// Whether the holder gives signs of life.
    pub(crate) pulse: Pulse,
    pub(crate) history: Content<History>,
    pub(crate) headnodes: Vec<Headnode>,
}

/// Whether the holder of office gives signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// It holds the lock with a live session. Where a renewal was awaited (`Cluster::examine`), one came.
    Lock,
    /// It holds the lock with a live session and lets its lease stand still: the session outlives a holder that lost its
    /// power by as much as the session timeout.
    Silent {
        /// For how long no renewal was seen.
        unrenewed: Duration,
        /// How often it renews while all is well.
        due: Duration,
    },
    /// Its lock is gone, and it renews the lease.
    Lease,
    /// Its lock is gone, and the lease stood still for as long as we looked.
    Still(Duration),
    /// There is no holder to look for.
    NoHolder,
}

/// What is recorded of one headnode.
#[derive(Clone, Debug)]
pub(crate) struct Headnode {
    pub(crate) name: NodeName,
    /// Its address or host name, as configured.
    pub(crate) address: String,
    pub(crate) state: Content<HeadnodeState>,
    pub(crate) health: Content<Health>,
    pub(crate) services: Content<ServicesState>,
    pub(crate) duty: Content<Duty>,
    pub(crate) promise: Content<Promise>,
    /// What it was in an office that is over, if that was all there was to read of its master-fc (`past::without`).
    pub(crate) past: Option<String>,
}

/// What this host knows by itself, from its run folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// The run folder.
    pub(crate) folder: String,
    /// The permit, if there is one.
    pub(crate) permit: Result<Option<Permit>, String>,
    /// The closed epoch, if there is one, and how long ago it was written.
    pub(crate) closed: Result<Option<(Epoch, Duration)>, String>,
    /// What each daemon last said of itself.
    pub(crate) daemons: Result<Vec<Daemon>, String>,
}

/// The permit of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    pub(crate) epoch: Epoch,
    /// Of an earlier boot it is none.
    pub(crate) this_boot: bool,
    /// How long ago it was written.
    pub(crate) age: Duration,
    /// Until D, or since D.
    pub(crate) left: Left,
    /// How long after D everything must be gone.
    pub(crate) kill: Duration,
}

/// How far D is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Until(Duration),
    Since(Duration),
    /// A keep has moved it out of the way.
    Kept,
}

/// What a daemon last said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) line: String,
    pub(crate) age: Duration,
}

impl View {
    /// A view of the cluster of `config` with nothing in it yet.
    pub(crate) fn new(config: &Config, now: WallTime, quorum: Quorum) -> Self {
        Self {
            cluster: config.cluster.clone(),
            node: config.node.clone(),
            now,
            services: config.services.iter().map(|service| service.name.clone()).collect(),
            pinned: (config.pinned.iter())
                .filter_map(|service| Some((service.name.clone(), service.pinned.clone()?)))
                .collect(),
            servers: Vec::new(),
            followers: Vec::new(),
            apache: None,
            quorum,
        }
    }

    /// The leader of a failover quorum that seems well and gives no answer: seen with ZooKeeper 3.8 after all servers had stood
    /// still, for as long as nobody restarted one.
    pub(crate) fn stuck_leader(&self) -> Option<&str> {
        let answering = self.servers.iter().filter(|server| server.answer.is_ok()).count();
        let most = answering * 2 > self.servers.len();
        let leads = |server: &&Server| server.answer.as_deref() == Ok("leader");
        let leader = self.servers.iter().find(leads).map(|server| server.address.as_str());
        match self.quorum {
            Quorum::Away { .. } => leader.filter(|_| most),
            Quorum::InSight(_) => None,
        }
    }
}

impl Headnode {
    /// What was observed of each service here, with what master-ha-service does about it: the newer of the two words.
    pub(crate) fn service(&self, name: &str) -> Option<ServiceSeen> {
        let observed = record(&self.services).and_then(|record| record.services.get(name));
        let duty = record(&self.duty).and_then(|record| record.services.get(name));
        let observed = observed.or_else(|| duty.map(|duty| &duty.observed))?.clone();
        let reason = record(&self.services).and_then(|record| record.reasons.get(name));
        Some(ServiceSeen {
            observed,
            restarts: duty.map_or(0, |duty| duty.restarts),
            given_up: duty.is_some_and(|duty| duty.given_up),
            why: duty.map(|duty| &duty.why).filter(|why| !why.is_empty()).or(reason).cloned(),
        })
    }

    /// Whether this headnode leaves a service alone, as its guard and its master-ha-service show; nothing if they do not agree,
    /// or nobody shows anything.
    pub(crate) fn leaves_alone(&self, name: &str) -> Option<bool> {
        let guard = record(&self.services).map(|services| services.alone.contains(name));
        let duty = record(&self.duty).and_then(|duty| duty.services.get(name));
        match (guard, duty.map(|duty| duty.alone)) {
            (Some(guard), Some(duty)) => (guard == duty).then_some(guard),
            (one @ Some(_), None) | (None, one) => one,
        }
    }

    /// The services that master-ha-service gave up here.
    pub(crate) fn given_up(&self) -> Vec<&str> {
        let duties = record(&self.duty).into_iter().flat_map(|duty| &duty.services);
        duties.filter(|(_, duty)| duty.given_up).map(|(name, _)| name.as_str()).collect()
    }
}

/// One service on one headnode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceSeen {
    pub(crate) observed: String,
    pub(crate) restarts: u32,
    pub(crate) given_up: bool,
    pub(crate) why: Option<String>,
}

impl ServiceSeen {
    /// Whether it was seen running.
    pub(crate) fn is_running(&self) -> bool {
        self.observed == Observed::Running.as_str()
    }
}

/// The record, if it was read and understood.
pub(crate) fn record<T>(content: &Content<T>) -> Option<&T> {
    match content {
        Content::Record(record) => Some(record),
        Content::Unread | Content::Missing | Content::Corrupt(_) => None,
    }
}

/// What is wrong with a record that cannot be understood.
pub(crate) fn corrupt<T>(content: &Content<T>) -> Option<String> {
    match content {
        Content::Corrupt(corrupt) => Some(corrupt.to_string()),
        Content::Unread | Content::Missing | Content::Record(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests;

    #[test]
    fn a_quorum_that_seems_well_and_gives_no_answer_has_a_leader_to_restart() {
        let local = Local {
            folder: String::new(),
            permit: Ok(None),
            closed: Ok(None),
            daemons: Ok(Vec::new()),
        };
        let away = Quorum::Away { why: String::new(), local };
        let leader = |answers: [Result<&str, &str>; 3], quorum: &Quorum| {
            let mut view = View::new(&tests::config(), tests::BEGIN, quorum.clone());
            view.servers = (0..)
                .zip(answers)
                .map(|(n, answer)| Server {
                    address: format!("zk{n}:2181"),
                    answer: answer.map(str::to_owned).map_err(str::to_owned),
                })
                .collect();
            view.stuck_leader().map(str::to_owned)
        };
        let well = [Ok("follower"), Ok("leader"), Err("it does not answer")];
        assert_eq!(leader(well, &away).as_deref(), Some("zk1:2181"));
        assert_eq!(leader(well, &Quorum::InSight(Box::new(tests::records()))), None);
        let alone = [Err("it does not answer"), Ok("leader"), Err("it does not answer")];
        assert_eq!(leader(alone, &away), None);
        assert_eq!(leader([Ok("unknown"); 3], &away), None);
    }
}
