//! What an operator can do while a claim waits: see what it waits for, and say that the other headnode is powered off.

use std::thread;

use super::cluster::{Cluster, FAILOVER};
use super::upkeep::{done, said, worker};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const NORMAL: [Test; 1] =
    [("a_confirmed_power_loss_is_taken_over_on_that_word", confirmed)];

pub(super) const MORE: [Test; 1] = [("a_headnode_that_lives_is_not_confirmed_to_be_off", refused)];

/// How often an operator may come too late: between the end of the sessions and that of the wait lie some 4 s.
const TRIES: usize = 3;

// protocol.md, 7.
fn confirmed(cluster: &Cluster<'_>) -> Outcome {
    for _ in 0..TRIES {
        if taken_over_on_a_word(cluster)? {
            return Ok(());
        }
    }
    Err(format!("in {TRIES} tries nobody's word was believed before the wait was over").into())
}

/// Whether the way was free by somebody's word, and not by the wait.
fn taken_over_on_a_word(cluster: &Cluster<'_>) -> Answer<bool> {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    active.power_off()?;
    // Refused until its sessions have ended and the other one claims.
    cluster.wait("somebody's word is believed, or the wait is over", FAILOVER, || {
        let (code, _) = said(cluster, &["fence", "confirm", active.name(), "--yes"]).ok()?;
        let late = cluster.epoch(&standby).is_ok_and(|held| held > epoch);
        (code == Some(0) || late).then_some(())
    })?;
    let next = cluster.wait_active(&standby, epoch)?;
    let by_word = done(cluster, &["history"])?.contains("confirmed by");
    active.power_on()?;
    cluster.wait_role(&active, "standby")?;
    // Another boot is no sign of life of the one that was off.
    assert_eq!(cluster.epoch(&standby)?, next);
    Ok(by_word)
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
