//! A pinned service: on its headnode whoever is active, and nowhere else.

use headship_tests::lab::{Host, Signal};

use super::cluster::{Cluster, FAILOVER, SOON};
use super::{Answer, Test};
use crate::Outcome;

const UNIT: &str = "zeppelin.service";

pub(super) const FAST: [Test; 2] = [
    ("a_pinned_service_stays_where_it_is_when_the_office_moves", stays),
    ("a_pinned_service_is_refused_on_another_headnode_and_restarted_on_its_own", refused),
];

pub(super) const MORE: [Test; 1] = [("a_pinned_service_is_down_while_its_headnode_is", down)];

/// The headnode that it is pinned to, and the other one, once it runs there.
fn in_order(cluster: &Cluster<'_>) -> Answer<(Host, Host)> {
    let (own, other) = (cluster.lab().host("hn0")?, cluster.lab().host("hn1")?);
    wait_pid(cluster, &own, None)?;
    Ok((own, other))
}

fn pid(host: &Host) -> Option<u32> {
    let pid = host.run(&["systemctl", "show", "--property=MainPID", "--value", UNIT]).ok()?;
    pid.trim().parse().ok().filter(|pid| *pid != 0)
}

/// Waits until it runs there, as another process than `old`.
fn wait_pid(cluster: &Cluster<'_>, host: &Host, old: Option<u32>) -> Answer<u32> {
    cluster.wait(&format!("it runs on {}", host.name()), FAILOVER, || {
        pid(host).filter(|pid| Some(*pid) != old)
    })
}

// B-06.
fn stays(cluster: &Cluster<'_>) -> Outcome {
    let (own, other) = in_order(cluster)?;
    let before = pid(&own);
    for _ in 0..2 {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        active.run(&["headship", "switchover"])?;
        cluster.wait_active(&standby, epoch)?;
        cluster.wait_ready()?;
        assert_eq!(pid(&own), before, "its process");
        assert_eq!(pid(&other), None, "on the other headnode");
    }
    Ok(())
}

// B-06, B-08, K-1, K-2.
fn refused(cluster: &Cluster<'_>) -> Outcome {
    let (own, other) = in_order(cluster)?;
    other.run(&["systemctl", "start", UNIT]).expect_err("its start is refused");
    let told = other.run(&["sh", "-c", &format!("systemctl status --no-pager {UNIT} || true")])?;
    assert!(told.contains("it is pinned to hn0"), "{told}");
    let first = pid(&own);
    own.kill(UNIT, Signal::KILL)?;
    let second = wait_pid(cluster, &own, first)?;
    own.run(&["systemctl", "stop", UNIT])?;
    wait_pid(cluster, &own, Some(second))?;
    Ok(())
}

// B-06.
fn down(cluster: &Cluster<'_>) -> Outcome {
    let (own, other) = in_order(cluster)?;
    let (active, _) = cluster.pair()?;
    if active.name() == own.name() {
        let epoch = cluster.epoch(&own)?;
        own.power_off()?;
        cluster.wait_active(&other, epoch)?;
    } else {
        own.power_off()?;
    }
    cluster.wait("status says that it is down", SOON, || {
        let told = other.run(&["sh", "-c", "headship status || true"]).ok()?;
        let line = told.lines().find(|line| line.contains("zeppelin"))?;
        line.contains(" down").then_some(())
    })?;
    assert_eq!(pid(&other), None, "on the other headnode");
    own.power_on()?;
    wait_pid(cluster, &own, None).map(drop)
}
