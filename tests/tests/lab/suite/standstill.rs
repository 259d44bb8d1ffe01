//! Hosts that are half dead: daemons, D-Bus or PID 1 hang, disks are full, memory runs out. Whatever it is, services run on
//! two headnodes never, and on one soon.

use std::time::Duration;

use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Disk, Host, Signal};

use super::cluster::{Cluster, DAEMONS, FAILOVER, SOON};
use super::daemons::{assert_watchdogs, watchdogs};
use super::hosts::cut_and_read_deadline;
use super::{Answer, Test};
use crate::Outcome;

pub(super) const MORE: [Test; 9] = [
    ("each_daemon_of_the_active_hangs_in_turn_and_no_service_notices", each_hangs),
    ("all_daemons_of_the_active_hang_together_and_no_service_notices", all_hang),
    ("while_the_actives_dbus_hangs_services_run_on", bus_hangs),
    ("a_cut_headnode_whose_dbus_hangs_has_stopped_everything_in_time", cut_without_bus),
    ("while_the_actives_pid_1_hangs_services_run_on", pid1_hangs),
    ("a_cut_headnode_whose_pid_1_hangs_has_stopped_everything_in_time", cut_without_pid1),
    ("with_a_full_run_one_headnode_runs_the_services_and_never_two", run_full),
    ("with_a_full_disk_no_service_notices", state_full),
    ("a_service_that_runs_out_of_memory_is_started_again", out_of_memory),
];

/// With a process that no kill ends.
pub(super) const BEYOND_KILL: [Test; 1] = [(
    "without_a_guard_a_cut_headnode_that_cannot_kill_a_service_goes_down_in_time",
    unkillable_without_guard,
)];

/// With a watchdog that stands in for the hardware's.
pub(super) const WATCHDOG: [Test; 1] = [(
    "a_host_that_stands_still_is_without_power_before_the_other_starts_if_it_has_a_watchdog",
    hardware_watchdog,
)];

/// As short as the kill time of the preset `normal`.
const SET_WATCHDOG: &str = "[Manager]\nRuntimeWatchdogSec=2s\n";
const WATCHDOG_FILE: &str = "/etc/systemd/system.conf.d/watchdog.conf";

const GUARD: &str = "slave-ha-service.service";
const DUTY: &str = "master-ha-service.service";

/// Hangs units of the active until each has another process, and sees that no service noticed.
fn hang(cluster: &Cluster<'_>, units: &[&str]) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    let old: Vec<Option<i32>> = units.iter().map(|unit| cluster.pid(&active, unit)).collect();
    let ended = watchdogs(&active, units)?;
    for unit in units {
        active.freeze(unit)?;
    }
    for (unit, old) in units.iter().zip(old) {
        cluster.wait_back(&active, unit, old)?;
    }
    cluster.wait_renewed(&active, Duration::from_millis(1500))?;
    cluster.wait_role(&active, "active")?;
    cluster.assert_untouched(&before)?;
    assert_watchdogs(cluster, &active, units, ended)?;
    // Two failures of the guard within lease and kill time would take the host down.
    Ok(active.run(&["rm", "--force", "/run/headship/guard-failed"]).map(drop)?)
}

fn each_hangs(cluster: &Cluster<'_>) -> Outcome {
    for unit in DAEMONS.into_iter().chain([DUTY]) {
        hang(cluster, &[unit])?;
    }
    Ok(())
}

fn all_hang(cluster: &Cluster<'_>) -> Outcome {
    hang(cluster, &[&DAEMONS[..], &[DUTY]].concat())
}

/// For longer than lease and kill time.
fn for_long(cluster: &Cluster<'_>) -> Duration {
    let (lease, kill) = cluster.lease_and_kill();
    Duration::from_nanos(lease + 2 * kill)
}

fn bus_hangs(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    active.freeze("dbus.service")?;
    cluster.last(for_long(cluster));
    let seen = cluster.assert_untouched(&before);
    active.thaw("dbus.service")?;
    seen
}

fn pid1_hangs(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    active.freeze_pid1()?;
    cluster.last(for_long(cluster));
    let seen = cluster.assert_untouched(&before);
    active.thaw_pid1()?;
    seen
}

/// Cuts the active, on which something hangs, and sees that everything there is gone in time and the other takes over.
fn cut_half_dead(cluster: &Cluster<'_>, active: &Host, standby: &Host) -> Answer<u64> {
    let epoch = cluster.epoch(active)?;
    let (cut, deadline) = cut_and_read_deadline(cluster, active)?;
    let next = cluster.wait_active(standby, epoch)?;
    let (_, kill) = cluster.lease_and_kill();
    let last = cluster.last_sign(active, cut)?;
    assert!(
        last <= deadline + kill,
        "services lived for {} ms after D",
        last.saturating_sub(deadline) / 1_000_000
    );
    assert!(cluster.runs_none(active));
    Ok(next)
}

/// The clock of the lab's hosts goes on while they stand still, so that the wait of the other headnode is over while this one
/// would still run its services from its thaw to their SIGKILL. It has no power by then.
fn hardware_watchdog(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    active.plug_watchdog()?;
    active.write_file(WATCHDOG_FILE, SET_WATCHDOG)?;
    active.run(&["systemctl", "daemon-reexec"])?;
    let covered = "its hardware watchdog resets it within 2s";
    cluster.wait("check says that the watchdog covers it", SOON, || {
        let page = active.output(&["headship", "check"]).ok()?;
        String::from_utf8_lossy(&page.stdout).contains(covered).then_some(())
    })?;
    // It is read when systemd starts only.
    active.run(&["rm", WATCHDOG_FILE])?;
    // Somebody asks it to wait.
    cluster.last(Duration::from_secs(5));
    assert!(active.has_power());
    active.freeze_all()?;
    cluster.wait("the host that stands still is without power", SOON, || {
        (!active.has_power()).then_some(())
    })?;
    assert!(cluster.epoch(&standby).is_err(), "it holds a permit already");
    cluster.wait_active(&standby, epoch)?;
    active.power_on()?;
    cluster.wait_role(&active, "standby")
}

fn cut_without_bus(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    active.freeze("dbus.service")?;
    cut_half_dead(cluster, &active, &standby)?;
    active.thaw("dbus.service")?;
    active.heal()?;
    cluster.wait_role(&active, "standby")
}

fn cut_without_pid1(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    active.freeze_pid1()?;
    let next = cut_half_dead(cluster, &active, &standby)?;
    active.thaw_pid1()?;
    active.heal()?;
    cluster.wait_role(&active, "standby")?;
    // What it had queued must not come to anything now.
    assert!(cluster.runs_none(&active));
    assert_eq!(cluster.epoch(&standby)?, next);
    Ok(())
}

fn run_full(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    active.fill(Disk::Run)?;
    cluster.last(for_long(cluster));
    let running = cluster.wait("one headnode runs all services", FAILOVER, || {
        let hosts = cluster.lab().headnodes();
        let runs: Vec<&Host> =
            hosts.iter().filter(|host| headship_tests::suite::runs_all(host)).collect();
        (runs.len() == 1).then_some(())
    });
    active.empty(Disk::Run)?;
    running?;
    cluster.wait_any_active(epoch.saturating_sub(1)).map(drop)
}

fn state_full(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, standby) = cluster.pair()?;
    for host in [&active, &standby] {
        host.fill(Disk::State)?;
    }
    cluster.wait_renewed(&active, for_long(cluster))?;
    let seen = cluster.assert_untouched(&before);
    for host in [&active, &standby] {
        host.empty(Disk::State)?;
    }
    seen
}

fn out_of_memory(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    active.limit_memory("livy.service", 16)?;
    cluster.lab().set_behaviour(active.name(), "livy", "eat_mib = 64")?;
    let old = cluster.pid_of(&active, "livy.service", "lab-service");
    cluster.wait("the kernel ends livy", SOON, || {
        (cluster.pid_of(&active, "livy.service", "lab-service") != old).then_some(())
    })?;
    cluster.lab().set_behaviour(active.name(), "livy", "")?;
    cluster.wait("livy serves again", FAILOVER, || {
        cluster.first(&active, "livy", What::Ready, before.at).ok()
    })?;
    assert_eq!(cluster.role(&active), "active");
    Ok(())
}

// The last resort belongs to both that stop services; here master-fc is the only one.
fn unkillable_without_guard(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let (epoch, boot) = (cluster.epoch(&active)?, active.boot_id()?);
    active.run(&["systemctl", "mask", "--runtime", "--quiet", GUARD])?;
    active.kill(GUARD, Signal::KILL)?;
    active.freeze_beyond_kill("livy.service")?;
    let (cut, deadline) = cut_and_read_deadline(cluster, &active)?;
    cluster.wait("the host goes down", FAILOVER, || (!active.has_power()).then_some(()))?;
    let (down, (_, kill)) = (service_log::now(), cluster.lease_and_kill());
    // The container takes a moment to be gone.
    assert!(
        down <= deadline + kill + 500_000_000,
        "it went down {} ms late",
        (down - deadline - kill) / 1_000_000
    );
    cluster.wait_active(&standby, epoch)?;
    let first = cluster.first(&standby, "ambari-server", What::Start, cut)?;
    assert!(first >= down, "started {} ms before the host was down", (down - first) / 1_000_000);
    active.wait_booted()?;
    assert_ne!(active.boot_id()?, boot);
    active.heal()?;
    cluster.wait_role(&active, "standby")
}
