//! What an operator does while working on the cluster: pause, maintenance, a failover by order, both headnodes in turn. All
//! is said from a worker, as any node will do.

use std::time::Duration;

use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Host, Signal, ensemble};

use super::cluster::{Cluster, FAILOVER, SOON};
use super::{Answer, Test, hosts, quorum};
use crate::Outcome;

/// What takes long.
pub(super) const MORE: [Test; 2] = [
    ("with_a_keep_the_whole_ensemble_goes_away_and_no_service_notices", keep),
    ("both_headnodes_are_rebooted_in_turn_for_one_switchover_each", both_in_turn),
];

pub(super) const FAST: [Test; 4] = [
    ("while_failover_is_paused_nobody_takes_over_and_then_somebody_does", pause),
    ("a_service_in_maintenance_is_left_alone_and_stopped_where_the_office_is_lost", service),
    ("an_active_is_given_up_by_order_for_a_standby_that_takes_over_at_once", failover),
    ("any_node_says_who_is_active_and_who_follows", from_a_worker),
];

pub(super) fn worker(cluster: &Cluster<'_>) -> Answer<Host> {
    cluster.lab().workers().pop().ok_or_else(|| "the lab has workers".into())
}

/// Says it on a worker, and wants it done.
pub(super) fn done(cluster: &Cluster<'_>, line: &[&str]) -> Answer<String> {
    Ok(worker(cluster)?.run(&[&["headship"], line].concat())?)
}

/// Says it on a worker, and tells the exit code and all that was printed.
pub(super) fn said(cluster: &Cluster<'_>, line: &[&str]) -> Answer<(Option<i32>, String)> {
    let output = worker(cluster)?.output(&[&["headship"], line].concat())?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

// protocol.md, 8.
fn pause(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    done(cluster, &["pause", "a test"])?;
    let (code, text) = said(cluster, &["pause", "another"])?;
    assert!(code == Some(6) && text.contains("a test"), "{code:?} {text}");
    active.power_off()?;
    let lost = service_log::now();
    let (lease, kill) = cluster.lease_and_kill();
    cluster.wait("a standby had time to make a mistake", FAILOVER, || {
        (service_log::now() > lost + 2 * (lease + kill)).then_some(())
    })?;
    assert!(cluster.runs_none(&standby), "somebody took over while failover is paused");
    done(cluster, &["resume"])?;
    cluster.wait_active(&standby, epoch)?;
    active.power_on()?;
    cluster.wait_role(&active, "standby")
}

// protocol.md, 8: for work on the ensemble.
fn keep(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let outcome = kept_without_a_quorum(cluster, &active, &standby);
    // Whatever came of it: the next test must not find it paused.
    for server in cluster.lab().servers() {
        quorum::start(&server)?;
    }
    quorum::all_serve(cluster)?;
    done(cluster, &["resume"])?;
    outcome?;
    let text = done(cluster, &["history"])?;
    assert!(
        text.contains("keeps its services") && text.contains("its lease counts again"),
        "{text}"
    );
    // Its D is back, and with it the failover.
    cluster.wait_renewed(&active, Duration::from_secs(4))?;
    active.power_off()?;
    cluster.wait_active(&standby, epoch)?;
    active.power_on()?;
    cluster.wait_role(&active, "standby")
}

fn kept_without_a_quorum(cluster: &Cluster<'_>, active: &Host, standby: &Host) -> Outcome {
    let before = cluster.before()?;
    let text = done(cluster, &["pause", "--keep", "new disks for the quorum"])?;
    assert!(text.contains(&format!("{} keeps its services", active.name())), "{text}");
    let (code, text) = said(cluster, &["failover", "--from", active.name(), "--yes"])?;
    assert!(code == Some(6) && text.contains("keeps its services"), "{code:?} {text}");
    for server in cluster.lab().servers() {
        server.kill(ensemble::UNIT, Signal::KILL)?;
    }
    let away = service_log::now();
    let (lease, kill) = cluster.lease_and_kill();
    // Daemons may come and go meanwhile: the permit says what holds.
    let old = cluster.pid(active, "master-fc.service");
    active.kill("master-fc.service", Signal::KILL)?;
    cluster.wait_back(active, "master-fc.service", old)?;
    let old = cluster.pid(active, "slave-ha-service.service");
    active.kill("slave-ha-service.service", Signal::KILL)?;
    cluster.wait_back(active, "slave-ha-service.service", old)?;
    cluster.wait("D and kill time would have passed twice", FAILOVER, || {
        (service_log::now() > away + 2 * (lease + kill)).then_some(())
    })?;
    assert!(cluster.runs_none(standby), "somebody took over");
    let told = cluster.told(before.at)?;
    assert!(told.is_empty(), "services noticed: {told:?}");
    let output = active.output(&["headship", "status"])?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    assert!(text.contains("until `headship resume`"), "{text}");
    for server in cluster.lab().servers() {
        quorum::start(&server)?;
    }
    quorum::all_serve(cluster)?;
    cluster.wait_role(active, "active")?;
    let text = done(cluster, &["resume"])?;
    assert!(text.contains("automatic failover is resumed"), "{text}");
    cluster.assert_untouched(&before)
}

// Invariant 3 has no exception for what is in maintenance.
fn service(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let began = service_log::now();
    done(cluster, &["maintenance", "livy", "on", "a test"])?;
    let outcome = service_in_maintenance(cluster, &active, &standby, epoch, began);
    done(cluster, &["maintenance", "livy", "off"])?;
    outcome?;
    cluster.wait_active(&standby, epoch).map(drop)
}

fn service_in_maintenance(
    cluster: &Cluster<'_>,
    active: &Host,
    standby: &Host,
    epoch: u64,
    began: u64,
) -> Outcome {
    active.kill("livy.service", Signal::KILL)?;
    active.kill("job-history.service", Signal::KILL)?;
    cluster.wait("what is not in maintenance is back", SOON, || {
        cluster.first(active, "job-history", What::Ready, began).ok()
    })?;
    assert!(!active.runs("livy.service"), "it was started");
    // Whoever works on it may mask it: that is no reason to move the office, however often it is measured.
    active.run(&["systemctl", "mask", "--runtime", "--quiet", "livy"])?;
    let renewed = cluster.wait_renewed(active, Duration::from_secs(4));
    active.run(&["systemctl", "unmask", "--runtime", "--quiet", "livy"])?;
    renewed?;
    assert_eq!(cluster.role(active), "active");
    assert!(said(cluster, &["status"])?.1.contains("in maintenance"), "status says so");
    // By hand it may, where the permit covers it; and it does not outlive that.
    active.run(&["systemctl", "start", "livy"])?;
    done(cluster, &["switchover"])?;
    cluster.wait("the other one is active", FAILOVER, || {
        let held = cluster.epoch(standby).ok()?;
        (held > epoch && cluster.role(standby) == "active").then_some(())
    })?;
    assert!(!active.runs("livy.service") && !standby.runs("livy.service"), "it runs somewhere");
    Ok(())
}

// B-46.
fn both_in_turn(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.epoch(&cluster.pair()?.0)?;
    for round in 1..=2 {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        let untouched = cluster.before()?;
        done(cluster, &["maintenance", standby.name(), "on", "a new kernel"])?;
        let (code, text) = said(cluster, &["switchover"])?;
        assert!(code == Some(6) && text.contains("maintenance"), "{code:?} {text}");
        standby.reboot()?;
        done(cluster, &["maintenance", standby.name(), "off"])?;
        cluster.wait_ready()?;
        cluster.assert_untouched(&untouched)?;
        let moved = service_log::now();
        done(cluster, &["switchover"])?;
        assert_eq!(cluster.wait_active(&standby, epoch)?, before + round);
        cluster.wait_role(&active, "standby")?;
        cluster.wait_ready()?;
        hosts::one_start_each(cluster, &standby, moved)?;
    }
    assert_eq!(cluster.epoch(&cluster.pair()?.0)?, before + 2, "one switchover each");
    Ok(())
}

// K-4: what renews and does not work cannot be told by a lease.
fn failover(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let (code, text) = said(cluster, &["failover", "--from", standby.name(), "--yes"])?;
    assert!(code == Some(6), "{code:?} {text}");
    done(cluster, &["failover", "--from", active.name(), "--yes"])?;
    cluster.wait_active(&standby, epoch)?;
    cluster.wait_role(&active, "standby")?;
    assert!(done(cluster, &["history"])?.contains("a failover was ordered by"));
    Ok(())
}

// K-5, B-15.
fn from_a_worker(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    cluster.wait("status calls the cluster healthy", FAILOVER, || {
        said(cluster, &["status"]).ok().filter(|(code, _)| *code == Some(0))
    })?;
    let epoch = cluster.epoch(&active)?;
    let text = done(cluster, &["status"])?;
    let nodes = cluster.lab().hosts().len();
    let all = format!("{nodes} of {nodes} nodes follow epoch {epoch}");
    assert!(text.contains(&all), "{text}");
    assert_eq!(said(cluster, &["is-active", active.name()])?.0, Some(0));
    assert_eq!(said(cluster, &["is-active", standby.name()])?.0, Some(7));
    assert_eq!(done(cluster, &["active"])?.trim(), active.name());
    Ok(())
}
