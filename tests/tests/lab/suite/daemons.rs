//! What happens to the suite's own daemons: killed, frozen, restarted, gone for good, alone and together.
//!
//! Invariant 9: a controller that dies and returns before D changes nothing for the services.

use std::time::Duration;

use headship_tests::lab::service_log;
use headship_tests::lab::{Host, Signal};

use super::cluster::{Before, Cluster, DAEMONS, SOON};
use super::followers::SLAVE_FC;
use super::{Answer, Test};
use crate::Outcome;

pub(super) const NORMAL: [Test; 9] = [
    ("each_daemon_of_the_active_is_killed_once_and_no_service_notices", killed_once),
    ("master_fc_is_killed_five_times_and_no_service_notices", master_fc_five_times),
    ("a_daemon_that_hangs_for_a_moment_is_left_alone", frozen_shortly),
    ("master_fc_that_hangs_is_killed_by_its_watchdog_and_no_service_notices", master_fc_frozen),
    ("slave_ha_service_that_hangs_is_killed_by_its_watchdog_and_no_service_notices", guard_frozen),
    ("guard_and_master_fc_hang_together_and_no_service_notices", frozen_together),
    (
        "without_master_fc_everything_is_gone_by_the_deadline_and_the_other_takes_over",
        master_fc_gone,
    ),
    ("each_daemon_of_the_standby_is_stopped_and_started_alone", alone),
    ("master_ha_service_is_stopped_and_started_alone_and_no_service_notices", duty_alone),
];

pub(super) const MORE: [Test; 7] = [
    (
        "master_ha_service_and_health_monitor_that_hang_are_killed_by_their_watchdogs",
        helpers_frozen,
    ),
    (
        "master_ha_service_and_health_monitor_are_killed_five_times_and_no_service_notices",
        others_five_times,
    ),
    ("without_master_ha_service_or_health_monitor_services_run_on", helpers_gone),
    ("a_guard_that_fails_twice_takes_its_headnode_down", guard_fails_twice),
    ("restarting_each_daemon_five_times_touches_no_service", restarted),
    ("without_a_guard_services_run_on_and_a_cut_headnode_still_stops_them", guard_gone),
    ("any_two_daemons_are_killed_together_and_no_service_notices", killed_in_pairs),
];

/// With figures by which the guard is forgiven soon.
pub(super) const MORE_FAST: [Test; 1] =
    [("a_guard_that_is_killed_five_times_at_intervals_is_back_each_time", guard_five_times)];

const MASTER_FC: &str = "master-fc.service";
const GUARD: &str = "slave-ha-service.service";
const DUTY: &str = "master-ha-service.service";
const MONITOR: &str = "health-monitor.service";

/// How long the guard's failures are remembered with `normal`; two within it take the host down.
const GUARD_WINDOW: Duration = Duration::from_secs(8);

/// Does something to units of the active, waits until each has another process and the office is renewed after that, and
/// sees that no service noticed.
fn unnoticed(cluster: &Cluster<'_>, units: &[&str], signal: Signal) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    lose(cluster, &active, units, signal)?;
    still_in_office(cluster, &active, &before)
}

/// Signals the units' processes at once, and waits until each has another.
fn lose(cluster: &Cluster<'_>, host: &Host, units: &[&str], signal: Signal) -> Outcome {
    let old: Vec<Option<i32>> = units.iter().map(|unit| cluster.pid(host, unit)).collect();
    for unit in units {
        host.kill(unit, signal)?;
    }
    for (unit, old) in units.iter().zip(old) {
        cluster.wait_back(host, unit, old)?;
    }
    Ok(())
}

fn still_in_office(cluster: &Cluster<'_>, active: &Host, before: &Before) -> Outcome {
    // A renewal that was decided after all this: only a master-fc in office makes it.
    cluster.wait_renewed(active, Duration::from_millis(1500))?;
    cluster.wait_role(active, "active")?;
    cluster.assert_untouched(before)
}

/// The guard may fail once in a while, and is allowed to again.
fn forgive_guard(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.run(&["rm", "--force", "/run/headship/guard-failed"])?;
    }
    Ok(())
}

// B-44, invariant 9.
fn killed_once(cluster: &Cluster<'_>) -> Outcome {
    for unit in [MASTER_FC, GUARD, DUTY, MONITOR] {
        unnoticed(cluster, &[unit], Signal::KILL)?;
    }
    Ok(())
}

fn master_fc_five_times(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    for _ in 0..5 {
        lose(cluster, &active, &[MASTER_FC], Signal::KILL)?;
    }
    still_in_office(cluster, &active, &before)
}

// The second failure within lease and kill time would take the host down, by design; none of these is one.
fn guard_five_times(cluster: &Cluster<'_>) -> Outcome {
    forgive_guard(cluster)?;
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    let (lease, kill) = cluster.lease_and_kill();
    let boot = active.boot_id()?;
    for _ in 0..5 {
        lose(cluster, &active, &[GUARD], Signal::KILL)?;
        cluster.wait_renewed(&active, Duration::from_nanos(lease + 2 * kill))?;
    }
    assert_eq!(active.boot_id()?, boot, "the host went down");
    still_in_office(cluster, &active, &before)
}

fn others_five_times(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    for _ in 0..5 {
        lose(cluster, &active, &[DUTY, MONITOR], Signal::KILL)?;
    }
    still_in_office(cluster, &active, &before)
}

fn frozen_shortly(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    let units = [MASTER_FC, GUARD, DUTY, MONITOR];
    let pids = units.map(|unit| cluster.pid(&active, unit));
    for unit in units {
        active.freeze(unit)?;
    }
    cluster.last(Duration::from_millis(300));
    for unit in units {
        active.thaw(unit)?;
    }
    still_in_office(cluster, &active, &before)?;
    assert_eq!(units.map(|unit| cluster.pid(&active, unit)), pids, "processes of the daemons");
    Ok(())
}

fn master_fc_frozen(cluster: &Cluster<'_>) -> Outcome {
    hangs(cluster, &[MASTER_FC])
}

fn guard_frozen(cluster: &Cluster<'_>) -> Outcome {
    hangs(cluster, &[GUARD])
}

fn helpers_frozen(cluster: &Cluster<'_>) -> Outcome {
    hangs(cluster, &[DUTY, MONITOR])
}

fn frozen_together(cluster: &Cluster<'_>) -> Outcome {
    hangs(cluster, &[MASTER_FC, GUARD])
}

/// Stops the units' processes as if they hung, and sees that it is systemd's watchdog that ends each, once.
fn hangs(cluster: &Cluster<'_>, units: &[&str]) -> Outcome {
    let active = cluster.pair()?.0;
    let before = watchdogs(&active, units)?;
    unnoticed(cluster, units, Signal::STOP)?;
    assert_watchdogs(cluster, &active, units, before)
}

/// How often systemd's watchdog ended each of these units since the host booted.
pub(super) fn watchdogs(host: &Host, units: &[&str]) -> Answer<Vec<usize>> {
    let times = |unit: &&str| -> Answer<usize> {
        let said = host.run(&["journalctl", "--boot", "--no-pager", "--output=cat", "-u", unit])?;
        let ended = format!("{unit}: Watchdog timeout ");
        Ok(said.lines().filter(|line| line.starts_with(&ended)).count())
    };
    units.iter().map(times).collect()
}

/// Fails unless systemd's watchdog has ended each of these units once more than `before`.
pub(super) fn assert_watchdogs(
    cluster: &Cluster<'_>,
    host: &Host,
    units: &[&str],
    before: Vec<usize>,
) -> Outcome {
    let once_more: Vec<usize> = before.iter().map(|count| count + 1).collect();
    let found = cluster.wait("the journal tells of the watchdog", SOON, || {
        watchdogs(host, units).ok().filter(|counts| *counts != before)
    });
    let found = found.unwrap_or(before);
    assert_eq!(found, once_more, "how often the watchdog ended {units:?} of {}", host.name());
    Ok(())
}

fn killed_in_pairs(cluster: &Cluster<'_>) -> Outcome {
    let daemons = [MASTER_FC, GUARD, DUTY, MONITOR, SLAVE_FC];
    for (index, one) in daemons.iter().enumerate() {
        for other in daemons.iter().skip(index + 1) {
            forgive_guard(cluster)?;
            unnoticed(cluster, &[*one, *other], Signal::KILL)?;
        }
    }
    Ok(())
}

/// Kills a unit so that systemd does not start it again.
fn lose_for_good(host: &Host, unit: &str) -> Outcome {
    host.run(&["systemctl", "mask", "--runtime", "--quiet", unit])?;
    Ok(host.kill(unit, Signal::KILL)?)
}

fn bring_back(host: &Host, unit: &str) -> Outcome {
    host.run(&["systemctl", "unmask", "--runtime", "--quiet", unit])?;
    Ok(host.run(&["systemctl", "start", unit]).map(drop)?)
}

// B-35 (the guard stops them there before they start here).
fn master_fc_gone(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let killed = service_log::now();
    lose_for_good(&active, MASTER_FC)?;
    let deadline = cluster.deadline(&active)?;
    cluster.wait_active(&standby, epoch)?;
    let last = cluster.last_sign(&active, killed)?;
    assert!(last <= deadline, "services lived on for {} ms after D", (last - deadline) / 1_000_000);
    cluster.assert_stopped_in_order(&active, killed)?;
    cluster.assert_started_in_order(&standby, killed)?;
    assert!(cluster.runs_none(&active));
    bring_back(&active, MASTER_FC)?;
    cluster.wait_role(&active, "standby")
}

fn guard_gone(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    lose_for_good(&active, GUARD)?;
    // Longer than it could be away without being missed.
    cluster.wait_renewed(&active, Duration::from_secs(3))?;
    cluster.assert_untouched(&before)?;
    active.cut()?;
    let cut = service_log::now();
    cluster.wait_active(&standby, epoch)?;
    let (last, (lease, kill)) = (cluster.last_sign(&active, cut)?, cluster.lease_and_kill());
    assert!(
        last <= cut + lease + kill,
        "services lived for {} ms after the cut",
        (last - cut) / 1_000_000
    );
    assert!(cluster.runs_none(&active));
    active.heal()?;
    bring_back(&active, GUARD)?;
    cluster.wait_role(&active, "standby")
}

fn guard_fails_twice(cluster: &Cluster<'_>) -> Outcome {
    forgive_guard(cluster)?;
    let (active, _) = cluster.pair()?;
    let (epoch, boot) = (cluster.epoch(&active)?, active.boot_id()?);
    lose(cluster, &active, &[GUARD], Signal::KILL)?;
    active.kill(GUARD, Signal::KILL)?;
    cluster.wait("the host reboots", GUARD_WINDOW, || {
        active.boot_id().is_ok_and(|id| id != boot).then_some(())
    })?;
    active.wait_booted()?;
    // Which of them is open: the lab's hosts boot faster than a lease ends.
    cluster.wait_any_active(epoch).map(drop)
}

fn helpers_gone(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    for unit in [DUTY, MONITOR] {
        lose_for_good(&active, unit)?;
    }
    // Longer than without a heartbeat there is data.
    cluster.wait_renewed(&active, Duration::from_secs(6))?;
    let looks = cluster.assert_untouched(&before);
    bring_back(&active, MONITOR)?;
    active.run(&["systemctl", "unmask", "--runtime", "--quiet", DUTY])?;
    cluster.wait_back(&active, DUTY, None)?;
    looks
}

// B-44: the article's workaround for K-2 must not be one that stops services.
fn restarted(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    for unit in [MASTER_FC, GUARD, DUTY, MONITOR] {
        for _ in 0..5 {
            let old = cluster.pid(&active, unit);
            active.run(&["systemctl", "restart", unit])?;
            cluster.wait_back(&active, unit, old)?;
        }
    }
    still_in_office(cluster, &active, &before)
}

// B-02.
fn alone(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    for unit in DAEMONS {
        // slave-fc would start the guard again at once.
        let units = if unit == GUARD { &["slave-fc.service", unit][..] } else { &[unit] };
        standby.run(&[&["systemctl", "stop"], units].concat())?;
        for other in DAEMONS {
            assert_eq!(standby.runs(other), !units.contains(&other), "{other} without {unit}");
        }
        standby.run(&[&["systemctl", "start"], units].concat())?;
        cluster.wait_back(&standby, unit, None)?;
    }
    cluster.wait_role(&standby, "standby")?;
    cluster.wait_ready()?;
    cluster.assert_untouched(&before)
}

// B-02: what starts the services is not what they live by.
fn duty_alone(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    let others = DAEMONS.map(|unit| cluster.pid(&active, unit));
    // Else master-fc would start it again at once.
    active.run(&["systemctl", "mask", "--runtime", "--quiet", DUTY])?;
    active.run(&["systemctl", "stop", DUTY])?;
    cluster.wait_renewed(&active, Duration::from_millis(1500))?;
    assert!(!active.runs(DUTY));
    assert_eq!(DAEMONS.map(|unit| cluster.pid(&active, unit)), others, "the other daemons");
    cluster.assert_untouched(&before)?;
    bring_back(&active, DUTY)?;
    cluster.wait_back(&active, DUTY, None)?;
    assert_eq!(DAEMONS.map(|unit| cluster.pid(&active, unit)), others, "the other daemons");
    still_in_office(cluster, &active, &before)
}
