//! What is done to the suite's daemons and to systemd while services run: restarts, and systemd's own re-execution.
//! Services keep their processes, and the office its epoch.

use super::Test;
use super::cluster::{Cluster, DAEMONS};
use super::quorum::unnoticed;
use crate::Outcome;

pub(super) const MORE_FAST: [Test; 1] =
    [("systemd_executes_itself_anew_on_both_headnodes_and_no_service_notices", reexecuted)];

pub(super) const MORE: [Test; 1] =
    [("restarting_each_daemon_twenty_times_in_a_row_touches_no_service", twenty_restarts)];

const DUTY: &str = "master-ha-service.service";

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
