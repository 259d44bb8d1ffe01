//! What happens to the failover quorum.

use headship_core::quorum::Op;
use headship_core::record::{Key, Lock};
use headship_tests::lab::ensemble::{self, Mode, UNIT};
use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Host, Signal};

use std::time::Duration;

use super::cluster::{Before, Cluster, FAILOVER, SERVICES, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const NORMAL: [Test; 2] = [
    ("the_leader_of_the_ensemble_loses_its_power_and_no_service_notices", leader_without_power),
    ("the_lock_is_deleted_by_hand_and_no_service_notices", lock_deleted),
];

pub(super) const MORE_NORMAL: [Test; 5] = [
    ("a_zookeeper_server_is_killed_and_no_service_notices", follower_killed),
    ("the_leader_of_the_ensemble_hangs_and_no_service_notices", leader_hangs),
    ("without_a_majority_nobody_takes_office", no_majority),
    ("the_leader_of_the_ensemble_is_killed_and_no_service_notices", leader_killed),
    ("the_ensemble_is_away_for_longer_than_the_lease_and_comes_back", ensemble_away),
];

pub(super) const MORE_FAST: [Test; 3] = [
    ("with_fast_figures_the_ensembles_leader_is_killed_and_no_service_notices", leader_killed),
    (
        "with_fast_figures_the_ensembles_leader_loses_its_power_and_no_service_notices",
        leader_without_power,
    ),
    ("with_fast_figures_the_ensembles_leader_hangs_and_no_service_notices", leader_hangs),
];

pub(super) const MORE_TOLERANT: [Test; 2] = [
    (
        "with_tolerant_figures_the_ensembles_leader_loses_its_power_and_no_service_notices",
        leader_without_power,
    ),
    ("with_tolerant_figures_the_ensembles_leader_is_killed_and_no_service_notices", leader_killed),
];

/// The daemons of an active headnode that have a session each.
const SESSIONS: usize = 5;

/// Waits for what shows that the headnodes got over it, then that no service noticed.
pub(super) fn unnoticed(cluster: &Cluster<'_>, before: &Before) -> Outcome {
    let active = cluster.lab().host(before.active)?;
    let (lease, _) = cluster.lease_and_kill();
    cluster.wait_renewed(&active, Duration::from_nanos(lease))?;
    cluster.wait_role(&active, "active")?;
    cluster.assert_untouched(before)
}

pub(super) fn start(server: &Host) -> Outcome {
    Ok(server.run(&["systemctl", "start", UNIT]).map(drop)?)
}

pub(super) fn all_serve(cluster: &Cluster<'_>) -> Outcome {
    Ok(ensemble::wait_serving(&cluster.lab().servers(), FAILOVER)?)
}

// B-12.
fn follower_killed(cluster: &Cluster<'_>) -> Outcome {
    let mut followers = cluster.lab().servers();
    followers.retain(|server| ensemble::mode(server) == Some(Mode::Follower));
    assert_eq!(followers.len(), 2, "followers of an ensemble of three");
    served_only_by(cluster, &followers)?;
    let before = cluster.before()?;
    // Each in turn: every daemon of the active is connected to one of the two.
    for server in &followers {
        server.kill(UNIT, Signal::KILL)?;
        unnoticed(cluster, &before)?;
        start(server)?;
        all_serve(cluster)?;
    }
    unnoticed(cluster, &before)
}

/// Makes all daemons of the active go to these servers: the end of one to which none is connected would prove nothing.
fn served_only_by(cluster: &Cluster<'_>, servers: &[Host]) -> Outcome {
    let (host, _) = cluster.pair()?;
    let mut others = cluster.lab().servers();
    others.retain(|other| servers.iter().all(|server| server.name() != other.name()));
    for other in &others {
        host.cut_from(other)?;
    }
    let moved =
        cluster.wait("the servers wanted serve each daemon of the active", FAILOVER, || {
            let listed = |servers: &[Host]| -> Option<Vec<String>> {
                servers
                    .iter()
                    .map(|server| sessions_of(server, &host))
                    .collect::<Option<Vec<_>>>()
                    .map(|all| all.concat())
            };
            // Nobody tells a server that its client is gone to another one: it may list the session still.
            let (left, served) = (listed(&others)?, listed(servers)?);
            let all = left.iter().all(|session| served.contains(session));
            (all && served.len() >= SESSIONS).then_some(())
        });
    host.heal()?;
    moved
}

/// The sessions of a host's daemons that a server lists.
fn sessions_of(server: &Host, host: &Host) -> Option<Vec<String>> {
    let client = format!("/{}:", host.address());
    let lines = ensemble::word(server, "cons")?;
    let own = lines.lines().filter(|line| line.contains(&client));
    let session = |line: &str| Some(line.split_once("sid=")?.1.split_once(',')?.0.to_owned());
    Some(own.filter_map(session).collect())
}

fn leader(cluster: &Cluster<'_>) -> Answer<Host> {
    cluster.lab().leader().ok_or_else(|| "no server leads".into())
}

// B-12.
fn leader_killed(cluster: &Cluster<'_>) -> Outcome {
    let leader = leader(cluster)?;
    served_only_by(cluster, std::slice::from_ref(&leader))?;
    let before = cluster.before()?;
    leader.kill(UNIT, Signal::KILL)?;
    unnoticed(cluster, &before)?;
    start(&leader)?;
    all_serve(cluster)
}

// B-12. A lost power is worse than a killed process: no connection is closed, and each of the active's leads there.
fn leader_without_power(cluster: &Cluster<'_>) -> Outcome {
    let leader = leader(cluster)?;
    served_only_by(cluster, std::slice::from_ref(&leader))?;
    let before = cluster.before()?;
    leader.power_off()?;
    unnoticed(cluster, &before)?;
    leader.power_on()?;
    all_serve(cluster)
}

// B-12. A host that hangs is worse still: its kernel goes on taking connections.
fn leader_hangs(cluster: &Cluster<'_>) -> Outcome {
    let leader = leader(cluster)?;
    served_only_by(cluster, std::slice::from_ref(&leader))?;
    let before = cluster.before()?;
    leader.freeze(UNIT)?;
    unnoticed(cluster, &before)?;
    leader.thaw(UNIT)?;
    all_serve(cluster)
}

// B-40: everything stops by D, and nobody promotes itself.
fn ensemble_away(cluster: &Cluster<'_>) -> Outcome {
    let servers = cluster.lab().servers();
    stopped_until_the_quorum_is_back(cluster, &servers)
}

// B-12, B-40.
fn no_majority(cluster: &Cluster<'_>) -> Outcome {
    let servers = cluster.lab().servers();
    stopped_until_the_quorum_is_back(cluster, servers.get(..2).ok_or("the lab has three servers")?)
}

fn stopped_until_the_quorum_is_back(cluster: &Cluster<'_>, servers: &[Host]) -> Outcome {
    let (active, standby) = cluster.pair()?;
    for server in servers {
        server.kill(UNIT, Signal::KILL)?;
    }
    let away = service_log::now();
    cluster.wait("nothing runs on either headnode", FAILOVER, || {
        (cluster.runs_none(&active) && cluster.runs_none(&standby)).then_some(())
    })?;
    let (lease, kill) = cluster.lease_and_kill();
    let last = cluster.last_sign(&active, away)?;
    assert!(
        last <= away + lease,
        "services lived for {} ms without a quorum",
        (last - away) / 1_000_000
    );
    cluster.assert_stopped_in_order(&active, away)?;
    // Beyond the time after which a standby that saw the quorum would have taken office.
    let waited = away + 2 * (lease + kill);
    cluster.wait("the standby had time to make a mistake", FAILOVER, || {
        (service_log::now() > waited).then_some(())
    })?;
    let started = cluster.told(away)?.into_iter().find(|event| event.what == What::Start);
    assert!(started.is_none(), "started without a quorum: {started:?}");
    let back = service_log::now();
    for server in servers {
        start(server)?;
    }
    let host = cluster.wait_any_active(0)?;
    cluster.assert_started_in_order(&host, back)?;
    let starts = cluster.told(back)?.iter().filter(|event| event.what == What::Start).count();
    assert_eq!(starts, SERVICES.len(), "each service was started once");
    all_serve(cluster)
}

// The lock says who may claim next, no more; its holder creates it anew.
fn lock_deleted(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, _) = cluster.pair()?;
    for _ in 0..3 {
        cluster.write(Op::Delete { key: Key::Lock, version: None })?;
        let lock: Lock =
            cluster.wait("the lock is there again", SOON, || cluster.read(&Key::Lock).ok())?;
        assert_eq!(lock.by.node.as_str(), active.name());
    }
    unnoticed(cluster, &before)
}
