//! What is done to the suite's programs and to systemd while services run: restarts, an upgrade, systemd's own re-execution.
//! Services keep their processes, and the office its epoch.

use std::fs;

use headship_tests::lab::Host;

use super::Test;
use super::cluster::{Cluster, DAEMONS, SOON};
use super::quorum::unnoticed;
use crate::Outcome;

pub(super) const MORE_FAST: [Test; 1] =
    [("systemd_executes_itself_anew_on_both_headnodes_and_no_service_notices", reexecuted)];

pub(super) const MORE: [Test; 2] = [
    ("restarting_each_daemon_twenty_times_in_a_row_touches_no_service", twenty_restarts),
    ("an_upgrade_of_the_suites_files_on_all_nodes_touches_no_service", upgraded),
];

const DUTY: &str = "master-ha-service.service";

/// What dpkg and rpm do: the new file gets the name, and whoever runs the old one keeps it.
const REPLACE: &str = "for file in /usr/bin/headship /usr/lib/headship/* \
    /usr/lib/systemd/system-generators/headship-generator /usr/lib/systemd/system/*-fc.service \
    /usr/lib/systemd/system/*-ha-service.service /usr/lib/systemd/system/health-monitor.service; do
        [ -e \"$file\" ] || continue
        cp --preserve \"$file\" \"$file.new\" && mv \"$file.new\" \"$file\" || exit
    done";

/// What the packages' scripts do behind that.
const RESTART: &str = "systemctl daemon-reload
    for unit in slave-ha-service slave-fc master-fc master-ha-service health-monitor; do
        [ -e /usr/lib/systemd/system/$unit.service ] || continue
        systemctl try-restart $unit || exit
    done";

/// The active's daemons.
fn units() -> Vec<&'static str> {
    [&DAEMONS[..], &[DUTY]].concat()
}

// B-44.
fn twenty_restarts(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    for unit in units() {
        for _ in 0..20 {
            let old = cluster.pid(&active, unit);
            active.run(&["systemctl", "restart", unit])?;
            cluster.wait_back(&active, unit, old)?;
        }
    }
    unnoticed(cluster, &before)
}

fn reexecuted(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    for host in cluster.lab().headnodes() {
        for _ in 0..3 {
            host.run(&["systemctl", "daemon-reexec"])?;
            host.wait_booted()?;
        }
    }
    unnoticed(cluster, &before)
}

// B-44.
fn upgraded(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    for host in cluster.lab().hosts() {
        host.run(&["sh", "-c", REPLACE])?;
        assert!(old_programs(cluster, &host).len() >= 2, "nothing was replaced on {}", host.name());
        host.run(&["sh", "-c", RESTART])?;
        cluster.wait("every daemon runs the new program", SOON, || {
            let runs_new = |unit: &&str| {
                let wanted = host.name() == before.active || *unit != DUTY;
                !wanted || cluster.pid(&host, unit).is_some()
            };
            let headnode = cluster.lab().headnodes().iter().any(|it| it.name() == host.name());
            let all = if headnode { units() } else { DAEMONS[..2].to_vec() };
            (all.iter().all(runs_new) && old_programs(cluster, &host).is_empty()).then_some(())
        })?;
    }
    unnoticed(cluster, &before)
}

/// The daemons of a host whose program has no name any more.
fn old_programs(cluster: &Cluster<'_>, host: &Host) -> Vec<&'static str> {
    let is_old = |unit: &&str| {
        let exe =
            cluster.pid(host, unit).and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
        exe.is_some_and(|exe| exe.to_string_lossy().ends_with(" (deleted)"))
    };
    units().into_iter().filter(is_old).collect()
}
