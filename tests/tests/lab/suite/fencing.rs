//! What an operator can do while a claim waits: see what it waits for, and say that the other headnode is powered off.

use std::thread;

use headship_tests::lab::service_log::{self, What};

use super::Test;
use super::cluster::{Cluster, FAILOVER};
use super::upkeep::{done, said, worker};
use crate::Outcome;

pub(super) const NORMAL: [Test; 2] = [
    ("a_confirmed_power_loss_is_taken_over_before_the_lease_has_run_out", confirmed),
    ("a_headnode_that_lives_is_not_confirmed_to_be_off", refused),
];

/// What a loss of power must be taken over ahead of the wait, at least, on the clock of the service log.
const AHEAD: u64 = 1_000_000_000;

// protocol.md, 7.
fn confirmed(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let pulled = service_log::now();
    active.power_off()?;
    // Refused until its sessions have ended and the other one claims.
    cluster.wait("somebody's word is believed", FAILOVER, || {
        let (code, _) = said(cluster, &["fence", "confirm", active.name(), "--yes"]).ok()?;
        (code == Some(0)).then_some(())
    })?;
    let next = cluster.wait_active(&standby, epoch)?;
    let first = cluster.first(&standby, "ambari-server", What::Start, pulled)?;
    let (lease, kill) = cluster.lease_and_kill();
    assert!(
        first + AHEAD < pulled + lease + kill,
        "the first start came {} ms after the loss of power",
        (first - pulled) / 1_000_000
    );
    assert!(done(cluster, &["history"])?.contains("confirmed by"));
    active.power_on()?;
    cluster.wait_role(&active, "standby")?;
    // Another boot is no sign of life of the one that was off.
    assert_eq!(cluster.epoch(&standby)?, next);
    Ok(())
}

fn refused(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let confirm = ["fence", "confirm", active.name(), "--yes"];
    let (code, text) = said(cluster, &confirm)?;
    assert!(code == Some(6) && text.contains("nobody claims office"), "{code:?} {text}");
    assert!(done(cluster, &["fence", "list"])?.starts_with("nobody claims office"));
    // It stops until its deadline, and is claimed over so long.
    cluster.lab().set_behaviour(active.name(), "livy", "refuse_term = true")?;
    let (operator, from) = (worker(cluster)?, active.name().to_owned());
    let order = thread::spawn(move || {
        let order = operator.output(&["headship", "failover", "--from", &from, "--yes"]);
        order.map(|output| output.status.code()).map_err(|error| error.to_string())
    });
    cluster.wait("a word about a headnode that lives is refused", FAILOVER, || {
        let (code, text) = said(cluster, &confirm).ok()?;
        (code == Some(6) && text.contains("is not off: its")).then_some(())
    })?;
    let ordered = order.join().map_err(|_panic| "the order's thread panicked")??;
    assert_eq!(ordered, Some(0));
    cluster.wait_active(&standby, epoch)?;
    cluster.wait_role(&active, "standby")?;
    cluster.lab().set_behaviour(active.name(), "livy", "")?;
    Ok(())
}
