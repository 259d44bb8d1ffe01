//! What happens to whole headnodes: power, cable, reboot, shutdown, boot.

use std::time::Duration;

use headship_tests::lab::ensemble;
use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{HA_UNITS, HUNG_MOUNT, Host};

use super::cluster::{Cluster, DAEMONS, FAILOVER, SERVICES, SOON};
use super::{Answer, Test, bystander};
use crate::Outcome;

/// On the clock of the service log.
const MILLISECOND: u64 = 1_000_000;

/// How long before D the last sign of life of what lives until D may be: some beats, on a busy machine.
const ALMOST: u64 = 200 * MILLISECOND;

pub(super) const NORMAL: [Test; 6] = [
    ("after_a_power_loss_all_services_run_on_the_other_headnode", power_loss),
    ("a_cut_headnode_has_stopped_everything_by_its_deadline_and_the_other_takes_over", cut_cable),
    (
        "what_refuses_to_stop_on_a_cut_headnode_is_killed_at_its_deadline_and_no_taker_is_earlier",
        refuses_to_stop,
    ),
    ("a_reboot_of_the_active_hands_the_services_over_in_order", reboot),
    ("stopping_master_fc_hands_the_services_over_in_order", clean_stop),
    ("two_headnodes_that_boot_at_once_make_one_active", cold_boot),
];

/// With a process that no kill ends: skipped where this machine cannot make one.
pub(super) const BEYOND_KILL: [Test; 1] = [(
    "a_cut_headnode_that_cannot_kill_a_service_has_gone_down_before_the_other_starts",
    survives_its_kill,
)];

/// With a file system that hangs: skipped where this machine cannot make one.
pub(super) const HUNG_MOUNTS: [Test; 1] = [(
    "a_cut_headnode_with_a_service_that_waits_for_a_hung_mount_has_gone_down_before_the_other_starts",
    waits_for_a_mount,
)];

pub(super) const MORE: [Test; 4] = [
    ("the_office_comes_and_goes_ten_times_without_an_overlap", to_and_fro),
    ("a_headnode_that_is_cut_again_and_again_harms_nobody", flapping_cable),
    ("headnodes_that_boot_before_their_quorum_wait_for_it_and_one_is_active", boot_before_quorum),
    ("a_shutdown_of_the_active_hands_the_services_over_in_order", shutdown),
];

// B-01, B-07, B-28 (the stop half fails, for the standby is dead), B-34, B-39 (crash), and no preemption.
fn power_loss(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let pulled = service_log::now();
    active.power_off()?;
    let next = cluster.wait_active(&standby, epoch)?;
    assert_eq!(next, epoch + 1);
    cluster.assert_started_in_order(&standby, pulled)?;
    returns_as_standby(cluster, &active, &standby, next)
}

// B-26 (the loser stops by its own decision), B-39 (network loss of the active), B-40.
fn cut_cable(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    active.cut()?;
    let cut = service_log::now();
    cluster.wait_active(&standby, epoch)?;
    let (lease, kill) = cluster.lease_and_kill();
    // No renewal was sent after the cut.
    assert!(cluster.deadline(&active).is_ok_and(|deadline| deadline <= cut + lease));
    let last = cluster.last_sign(&active, cut)?;
    assert!(
        last <= cut + lease + kill,
        "services lived for {} ms after the cut",
        (last - cut) / 1_000_000
    );
    assert!(cluster.runs_none(&active));
    // Grace lies inside the lease: they were asked to stop, in order, before they would have been killed.
    cluster.assert_stopped_in_order(&active, cut)?;
    cluster.assert_started_in_order(&standby, cut)?;
    active.heal()?;
    cluster.wait_role(&active, "standby")
}

/// Cuts the active's cable, and returns when that was, and D: no renewal is acknowledged any more, so it is the last one.
pub(super) fn cut_and_read_deadline(cluster: &Cluster<'_>, active: &Host) -> Answer<(u64, u64)> {
    active.cut()?;
    let cut = service_log::now();
    // What had arrived before is on disk by then.
    cluster.last(Duration::from_millis(500));
    let deadline = cluster.deadline(active)?;
    let (lease, _) = cluster.lease_and_kill();
    assert!(deadline <= cut + lease, "D lies {} ms after the cut", (deadline - cut) / MILLISECOND);
    Ok((cut, deadline))
}

/// Fails if the taker of a host that could not say a word began before D and the kill time had passed.
fn assert_waited(cluster: &Cluster<'_>, taker: &Host, cut: u64, deadline: u64) -> Answer<u64> {
    let (_, kill) = cluster.lease_and_kill();
    let first = cluster.first(taker, "ambari-server", What::Start, cut)?;
    assert!(
        first >= deadline + kill,
        "started {} ms before D and the kill time had passed",
        (deadline + kill).saturating_sub(first) / MILLISECOND
    );
    Ok(first)
}

// B-39 (network loss of the active), B-40: the kill at D, and the length of the taker's wait.
fn refuses_to_stop(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let (epoch, boot) = (cluster.epoch(&active)?, active.boot_id()?);
    cluster.lab().set_behaviour(active.name(), "livy", "refuse_term = true")?;
    let (cut, deadline) = cut_and_read_deadline(cluster, &active)?;
    cluster.wait_active(&standby, epoch)?;
    assert_waited(cluster, &standby, cut, deadline)?;
    // It was asked, in its turn, while there was time.
    assert!(cluster.first(&active, "livy", What::Term, cut)? < deadline);
    let (last, (_, kill)) = (cluster.last_sign(&active, cut)?, cluster.lease_and_kill());
    assert!(
        last + ALMOST >= deadline,
        "it lived for {} ms less than it may: nothing is shown",
        (deadline - last) / MILLISECOND
    );
    assert!(
        last <= deadline + kill,
        "it lived on for {} ms after D",
        (last - deadline) / MILLISECOND
    );
    // By its kill, and not by what comes if that does not help.
    assert_eq!(active.boot_id()?, boot, "the host went down");
    assert_eq!(cluster.deadline(&active)?, deadline, "D moved after the cut");
    assert!(cluster.runs_none(&active));
    active.heal()?;
    cluster.wait_role(&active, "standby")
}

// B-40, and the last resort: what cannot be killed within the kill time takes its host down with it.
fn survives_its_kill(cluster: &Cluster<'_>) -> Outcome {
    goes_down(cluster, |active| Ok(active.freeze_beyond_kill("livy.service")?))
}

// The same, and livy beats on until it is killed, and is not gone then: it waits in the kernel, as for a disk.
fn waits_for_a_mount(cluster: &Cluster<'_>) -> Outcome {
    goes_down(cluster, |active| {
        active.mount_hung()?;
        let behaviour = format!("refuse_term = true\nlooks_at = \"{HUNG_MOUNT}/file\"");
        cluster.lab().set_behaviour(active.name(), "livy", &behaviour)?;
        cluster.wait("livy waits for what no kill ends", SOON, || {
            active.waits_beyond_kill("livy.service").ok()?.then_some(())
        })
    })
}

/// Cuts the active, on which no kill ends livy, and sees that its host has gone down before the other one starts.
fn goes_down(cluster: &Cluster<'_>, make_unkillable: impl FnOnce(&Host) -> Answer<()>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let (epoch, boot) = (cluster.epoch(&active)?, active.boot_id()?);
    make_unkillable(&active)?;
    let (cut, deadline) = cut_and_read_deadline(cluster, &active)?;
    cluster.wait("the host goes down", FAILOVER, || (!active.has_power()).then_some(()))?;
    let down = service_log::now();
    assert!(down >= deadline, "the host went down {} ms early", (deadline - down) / MILLISECOND);
    cluster.wait_active(&standby, epoch)?;
    let first = assert_waited(cluster, &standby, cut, deadline)?;
    assert!(first >= down, "started {} ms before the host was down", (down - first) / MILLISECOND);
    active.wait_booted()?;
    assert_ne!(active.boot_id()?, boot);
    active.heal()?;
    cluster.wait_role(&active, "standby")
}

// B-39 (reboot).
fn reboot(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let asked = service_log::now();
    active.reboot()?;
    let next = cluster.wait_active(&standby, epoch)?;
    cluster.assert_stopped_in_order(&active, asked)?;
    cluster.assert_started_in_order(&standby, asked)?;
    stays_standby(cluster, &active, &standby, next)
}

// B-41 (a shutdown cedes, which takes no wait).
fn shutdown(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let deadline = cluster.deadline(&active)?;
    let asked = service_log::now();
    active.output(&["systemctl", "poweroff"])?;
    let next = cluster.wait_active(&standby, epoch)?;
    cluster.assert_stopped_in_order(&active, asked)?;
    cluster.assert_started_in_order(&standby, asked)?;
    let first = cluster.first(&standby, "ambari-server", What::Start, asked)?;
    assert!(first < deadline, "it was not ceded but waited for");
    cluster.wait("the host is off", FAILOVER, || (!active.has_power()).then_some(()))?;
    returns_as_standby(cluster, &active, &standby, next)
}

// B-26 (the loser stops by its own decision), B-35 (stopped there before started here).
fn clean_stop(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let asked = service_log::now();
    active.run(&["systemctl", "stop", "master-fc"])?;
    assert!(cluster.runs_none(&active), "systemctl returned before everything had stopped");
    assert!(cluster.permit(&active).is_none());
    let next = cluster.wait_active(&standby, epoch)?;
    assert_eq!(next, epoch + 1);
    cluster.assert_stopped_in_order(&active, asked)?;
    cluster.assert_started_in_order(&standby, asked)?;
    assert!(!active.runs("master-ha-service.service"));
    active.run(&["systemctl", "start", "master-fc"])?;
    stays_standby(cluster, &active, &standby, next)
}

/// Powers `host` on and sees it become standby, while the active stays as it is.
fn returns_as_standby(cluster: &Cluster<'_>, host: &Host, active: &Host, epoch: u64) -> Outcome {
    host.power_on()?;
    stays_standby(cluster, host, active, epoch)
}

fn stays_standby(cluster: &Cluster<'_>, host: &Host, active: &Host, epoch: u64) -> Outcome {
    cluster.wait_role(host, "standby")?;
    cluster.wait_ready()?;
    let before = cluster.before()?;
    assert_eq!(cluster.epoch(active)?, epoch);
    cluster.wait_renewed(active, Duration::from_secs(1))?;
    cluster.assert_untouched(&before)
}

// B-02, B-41: what starts at boot, and what does not.
fn cold_boot(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    for host in [&active, &standby] {
        host.power_off()?;
    }
    let off = service_log::now();
    for host in [&active, &standby] {
        host.switch_on()?;
    }
    for host in [&active, &standby] {
        host.wait_booted()?;
        for unit in DAEMONS {
            assert_eq!(host.run(&["systemctl", "is-enabled", unit])?.trim(), "enabled");
        }
        for unit in HA_UNITS {
            let answer = host.output(&["systemctl", "is-enabled", unit])?;
            assert_eq!(String::from_utf8(answer.stdout)?.trim(), "disabled");
        }
    }
    // An epoch ends with its boot.
    let host = cluster.wait_any_active(epoch)?;
    one_start_each(cluster, &host, off)
}

// B-41: in any order.
fn boot_before_quorum(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let (headnodes, servers) = ([active, standby], cluster.lab().servers());
    for host in headnodes.iter().chain(&servers) {
        host.power_off()?;
    }
    let off = service_log::now();
    for host in &headnodes {
        host.switch_on()?;
    }
    for host in &headnodes {
        host.wait_booted()?;
        cluster.wait_role(host, "out")?;
        assert!(DAEMONS.into_iter().all(|unit| host.runs(unit)), "daemons of {}", host.name());
    }
    let told = cluster.told(off)?;
    assert!(told.is_empty(), "without a quorum: {told:?}");
    let on = service_log::now();
    for server in &servers {
        server.switch_on()?;
    }
    let host = cluster.wait_any_active(epoch)?;
    one_start_each(cluster, &host, on)?;
    Ok(ensemble::wait_serving(&servers, FAILOVER)?)
}

/// Fails unless since `since` all services were started on `host`, in order, and only once.
pub(super) fn one_start_each(cluster: &Cluster<'_>, host: &Host, since: u64) -> Outcome {
    cluster.assert_started_in_order(host, since)?;
    let starts = cluster.told(since)?.iter().filter(|event| event.what == What::Start).count();
    assert_eq!(starts, SERVICES.len(), "each service was started once");
    Ok(())
}

// B-03 (20 failovers in the long run: these, and all others), B-04.
fn to_and_fro(cluster: &Cluster<'_>) -> Outcome {
    for round in 0..10 {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        let bystanders =
            [bystander::start(cluster, &active)?, bystander::start(cluster, &standby)?];
        match round % 3 {
            0 => active.power_off()?,
            1 => active.cut()?,
            _ => active.output(&["systemctl", "reboot", "--force", "--force"]).map(drop)?,
        }
        // A host that is back before its session has run out may be the next itself: its own promise is as good.
        let next = match round % 3 {
            0 | 1 => standby.clone(),
            _ => cluster.wait_any_active(epoch)?,
        };
        assert_eq!(cluster.wait_active(&next, epoch)?, epoch + 1);
        active.heal()?;
        if !active.has_power() {
            active.power_on()?;
        }
        cluster.settle()?;
        // A cut, unlike the other two, leaves the active's own processes alone.
        let still = [&active, &standby].map(|host| bystander::pid(cluster, host));
        assert_eq!(still[1], Some(bystanders[1]), "on {} in round {round}", standby.name());
        if round % 3 == 1 {
            assert_eq!(still[0], Some(bystanders[0]), "on {} in round {round}", active.name());
        }
    }
    cluster
        .lab()
        .headnodes()
        .iter()
        .filter(|host| bystander::pid(cluster, host).is_some())
        .try_for_each(bystander::stop)
}

fn flapping_cable(cluster: &Cluster<'_>) -> Outcome {
    let host = cluster.lab().host("hn0")?;
    for round in 0..12 {
        host.cut()?;
        cluster.last(Duration::from_millis(700 * round));
        host.heal()?;
        cluster.last(Duration::from_millis(300));
    }
    cluster.settle()
}
