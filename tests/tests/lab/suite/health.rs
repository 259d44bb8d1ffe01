//! Who may hold office: what health-monitor says, and what its silence means.

use std::time::Duration;

use headship_core::record::{Active, HeadnodeState, Health, Key, Verdict};
use headship_tests::lab::Host;
use headship_tests::lab::service_log::{self, What};

use super::Test;
use super::cluster::{Cluster, FAILOVER, node};
use super::orders::{hide_unit, show_unit};
use crate::Outcome;

/// What takes long.
pub(super) const MORE: [Test; 3] = [
    ("an_ineligible_standby_never_takes_office_and_does_once_it_is_well", ineligible_standby),
    (
        "a_standby_whose_health_monitor_is_silent_joins_when_nobody_is_active_for_long",
        silent_on_standby,
    ),
    ("an_active_that_another_would_be_better_than_keeps_its_office", reluctant_active),
];

pub(super) const FAST: [Test; 4] = [
    ("each_headnode_sends_heartbeats_with_one_verdict", heartbeats),
    ("a_silent_health_monitor_on_the_active_moves_nothing", silent_on_active),
    ("an_ineligible_active_yields_to_a_ready_peer_and_competes_again", ineligible_active),
    ("a_killed_health_monitor_of_the_standby_is_back_before_anyone_minds", killed_on_standby),
];

fn health(cluster: &Cluster<'_>, host: &Host) -> Option<Health> {
    cluster.read(&Key::Health(node(host))).ok()
}

fn wait_verdict(cluster: &Cluster<'_>, host: &Host, verdict: Verdict) -> Outcome {
    cluster.wait(&format!("{} is {verdict:?}", host.name()), FAILOVER, || {
        health(cluster, host).is_some_and(|health| health.verdict == verdict).then_some(())
    })
}

// B-25, B-29, B-30, B-31 (the checks), B-32.
fn heartbeats(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        let first = health(cluster, &host).ok_or("no heartbeat")?;
        assert_eq!((first.by.node.as_str(), first.verdict), (host.name(), Verdict::Eligible));
        assert_eq!(first.by.machine, host.read_file("/etc/machine-id")?.trim());
        assert!(
            first.checks.keys().any(|check| check == "units") && first.reasons.is_empty(),
            "{first:?}"
        );
        cluster.wait("two more heartbeats", Duration::from_secs(5), || {
            health(cluster, &host).is_some_and(|health| health.seq >= first.seq + 2).then_some(())
        })?;
        let state: HeadnodeState = cluster.read(&Key::Headnode(node(&host)))?;
        assert_eq!(state.by.node.as_str(), host.name());
        assert_eq!(state.role.as_str(), cluster.role(&host));
    }
    Ok(())
}

// No data is never a reason that forbids.
fn silent_on_active(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, standby) = cluster.pair()?;
    // With no peer that is ready the active stays, however little is known of it.
    for host in [&standby, &active] {
        host.run(&["systemctl", "stop", "health-monitor"])?;
    }
    cluster.wait_role(&standby, "out")?;
    cluster.wait_renewed(&active, Duration::from_secs(6))?;
    cluster.assert_untouched(&before)
}

// B-33 (quits), protocol.md, 8: nobody active for `lonely_after`.
fn silent_on_standby(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    standby.run(&["systemctl", "stop", "health-monitor"])?;
    cluster.wait_role(&standby, "out")?;
    let off = service_log::now();
    active.power_off()?;
    cluster.wait_active(&standby, epoch)?;
    let first = cluster.first(&standby, "ambari-server", What::Start, off)?;
    // Not before the six seconds of this lab's `lonely_after` since the last renewal, which came at most 200 ms before.
    assert!(first >= off + 5_700_000_000, "it joined after {} ms", (first - off) / 1_000_000);
    Ok(())
}

// B-33: quits only after the services have stopped, and competes again.
fn ineligible_active(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let since = service_log::now();
    // Nothing can be written there any more; what is open stays open.
    active.run(&["mount", "--bind", "/var", "/var"])?;
    active.run(&["mount", "-o", "remount,bind,ro", "/var"])?;
    let next = cluster.wait_active(&standby, epoch)?;
    cluster.assert_stopped_in_order(&active, since)?;
    cluster.assert_started_in_order(&standby, since)?;
    cluster.wait_role(&active, "out")?;
    assert!(cluster.status(&active, "master-fc").contains("/var is mounted read-only"));
    active.run(&["umount", "/var"])?;
    wait_verdict(cluster, &active, Verdict::Eligible)?;
    cluster.wait_role(&active, "standby")?;
    // It does not take the office back.
    cluster.wait_renewed(&standby, Duration::from_secs(2))?;
    assert_eq!((cluster.role(&standby), cluster.epoch(&standby)?), ("active".to_owned(), next));
    Ok(())
}

// Office that works is not handed round for a better headnode.
fn reluctant_active(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    let fragment = "/etc/headship/conf.d/70-test.toml";
    active.write_file(fragment, "[health]\nmemory_available_mib = 100000000\n")?;
    active.run(&["systemctl", "restart", "health-monitor"])?;
    wait_verdict(cluster, &active, Verdict::Reluctant)?;
    cluster.wait_renewed(&active, Duration::from_secs(3))?;
    cluster.assert_untouched(&before)?;
    active.run(&["rm", fragment])?;
    Ok(active.run(&["systemctl", "restart", "health-monitor"]).map(drop)?)
}

// B-32, B-33.
fn ineligible_standby(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    hide_unit(&standby, "livy.service")?;
    wait_verdict(cluster, &standby, Verdict::Ineligible)?;
    cluster.wait_role(&standby, "out")?;
    let off = service_log::now();
    active.power_off()?;
    cluster
        .wait("the lock stands free", FAILOVER, || cluster.is_missing(&Key::Lock).then_some(()))?;
    // Counted by its own heartbeats, one a second: longer than a failover takes, and half as long again as this lab's
    // `lonely_after`.
    let free = health(cluster, &standby).ok_or("no heartbeat")?.seq;
    let later = cluster.wait("nine heartbeats beside a free lock", FAILOVER, || {
        health(cluster, &standby).filter(|health| health.seq >= free + 9)
    })?;
    assert_eq!(later.verdict, Verdict::Ineligible);
    assert!(cluster.is_missing(&Key::Lock));
    let office: Active = cluster.read(&Key::Active)?;
    let (holder, claimant) = (office.holder.map(|holder| holder.node), office.claimant);
    assert_eq!((office.epoch.0, holder), (epoch, Some(node(&active))));
    assert!(claimant.is_none(), "{claimant:?}");
    assert!(cluster.told(off)?.is_empty());
    assert!(cluster.status(&standby, "master-fc").contains("no such unit: livy"));
    show_unit(&standby, "livy.service")?;
    cluster.wait_active(&standby, epoch)?;
    cluster.assert_started_in_order(&standby, off)
}

fn killed_on_standby(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    for _ in 0..3 {
        let old = cluster.pid(&standby, "health-monitor.service");
        standby.kill("health-monitor.service", headship_tests::lab::Signal::KILL)?;
        cluster.wait_back(&standby, "health-monitor.service", old)?;
    }
    cluster.wait_ready()?;
    assert_eq!(cluster.role(&standby), "standby");
    cluster.assert_untouched(&before)
}
