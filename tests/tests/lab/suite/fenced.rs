//! With a fence agent that really takes a host's power away: who lost its power is succeeded without waiting for its lease,
//! who is cut off is switched off first, an agent that lies is found out, and nobody is fenced without need.

use std::time::Duration;

use headship_core::say::Kind;
use headship_tests::lab::overlap::End;
use headship_tests::lab::power::{Manner, Obeyed};
use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Host, Signal, ensemble};
use headship_tests::suite;

use super::cluster::{Cluster, FAILOVER, SOON};
use super::{Answer, Test, quorum};
use crate::Outcome;

pub(super) const FENCED: [Test; 2] = [
    ("a_power_loss_with_a_fence_agent_is_taken_over_before_its_lease_is_over", power_loss),
    ("a_cut_active_is_switched_off_by_the_fence_agent_before_the_other_starts", cut_cable),
];

pub(super) const MORE: [Test; 6] = [
    ("a_dead_health_monitor_fences_nobody", health_monitor),
    ("a_new_leader_of_the_ensemble_fences_nobody", new_leader),
    ("an_isolated_standby_fences_nobody", isolated),
    ("headnodes_that_see_nothing_of_each_other_fence_nobody", apart),
    ("headnodes_that_both_doubt_the_other_and_cannot_write_fence_nobody", both_doubt),
    ("a_fence_agent_that_lies_is_found_out_and_everything_stopped", lies),
];

const MILLISECOND: u64 = 1_000_000;

/// The most that the first start order may take after a power loss, beside the agent's own time.
const TARGET: Duration = Duration::from_millis(1500);

/// Everything is in order, and the standby knows that the active answers while it lives: its silence says something.
fn acquainted(cluster: &Cluster<'_>) -> Answer<(Host, Host)> {
    let pair = cluster.pair()?;
    cluster.wait_renewed(&pair.0, Duration::from_secs(2))?;
    Ok(pair)
}

/// The device's order to switch a host off.
fn switched_off(cluster: &Cluster<'_>, host: &Host, since: u64) -> Answer<Obeyed> {
    let mut log = cluster.lab().power_log(since).into_iter();
    let off = log.find(|it| it.is_off() && it.host == host.name());
    off.ok_or_else(|| format!("{} was not switched off", host.name()).into())
}

/// When a headnode said something of this kind since `since`, and what it said.
fn said(host: &Host, kind: Kind, since: u64) -> Answer<(u64, String)> {
    let said = suite::said(host, kind)?.into_iter().find(|(at, _)| *at >= since);
    said.ok_or_else(|| format!("{} did not say {kind:?}", host.name()).into())
}

/// That `standby` took office because the agent said that `lost` is off, which it was before anything started; prints what
/// it took. `began` is when the power was lost, or the cable cut.
fn assert_fenced(cluster: &Cluster<'_>, lost: &Host, standby: &Host, began: u64) -> Outcome {
    let first = cluster.first(standby, "ambari-server", What::Start, began)?;
    let off = switched_off(cluster, lost, began)?;
    assert!(off.done < first, "started {} us before it was off", (off.done - first) / 1000);
    let (_, how) = said(standby, Kind::OfficeTaken, began)?;
    let proof = format!("fenced: {} is off by the word of `power`", lost.name());
    assert!(how.contains(&proof), "{how}");
    let (lease, kill) = cluster.lease_and_kill();
    assert!(first < began + lease, "it was waited out: {} ms", (first - began) / MILLISECOND);
    let (asked, _) = said(standby, Kind::FenceAsked, began)?;
    let (yes, _) = said(standby, Kind::FenceYes, began)?;
    let order = suite::ordered_at(standby, "ambari-server")?.ok_or("it was never ordered")?;
    let agent = yes - asked;
    eprintln!(
        "{} is gone: first start order after {} ms; the agent took {} ms of that, all else {} ms (target {}); by waiting it would be {} ms",
        lost.name(),
        (order - began) / MILLISECOND,
        agent / MILLISECOND,
        (order - began).saturating_sub(agent) / MILLISECOND,
        TARGET.as_millis(),
        (lease + kill) / MILLISECOND
    );
    Ok(())
}

// C-13.
fn power_loss(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = acquainted(cluster)?;
    let epoch = cluster.epoch(&active)?;
    let pulled = service_log::now();
    active.power_off()?;
    assert_eq!(cluster.wait_active(&standby, epoch)?, epoch + 1);
    cluster.assert_started_in_order(&standby, pulled)?;
    assert_fenced(cluster, &active, &standby, pulled)?;
    active.power_on()?;
    cluster.wait_role(&active, "standby")
}

// C-13, and what a fence is there for: nothing runs there any more, whatever its own daemons would have done.
fn cut_cable(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = acquainted(cluster)?;
    let epoch = cluster.epoch(&active)?;
    active.cut()?;
    let cut = service_log::now();
    assert_eq!(cluster.wait_active(&standby, epoch)?, epoch + 1);
    assert!(!active.has_power(), "it was not switched off");
    assert_fenced(cluster, &active, &standby, cut)?;
    let off = switched_off(cluster, &active, cut)?;
    let last = cluster.last_sign(&active, cut)?;
    assert!(last <= off.done, "a service lived on without power");
    // It was in the middle of its lease: nothing there had stopped by itself.
    let lives = cluster.log()?.intervals().into_iter();
    let mut own = lives.filter(|life| life.host == active.name() && life.to > cut);
    assert!(own.all(|life| life.end == End::LastSeen), "a service stopped by itself");
    active.heal()?;
    active.power_on()?;
    cluster.wait_role(&active, "standby")
}

// C-13: the word was wrong. Both run services until the other one shows itself: no protocol can help that.
fn lies(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = acquainted(cluster)?;
    let epoch = cluster.epoch(&active)?;
    // Nobody there may promise, or the lie would harm nobody any more when it is found.
    active.run(&["systemctl", "mask", "--runtime", "--quiet", "slave-ha-service"])?;
    active.kill("slave-ha-service.service", Signal::KILL)?;
    cluster.lab().set_power_manner(&Manner { lies: true, ..Manner::default() })?;
    let from = service_log::now();
    let outcome = lied_to(cluster, &active, &standby);
    cluster.was_on_purpose(from);
    cluster.lab().set_power_manner(&Manner::default())?;
    active.run(&["systemctl", "unmask", "--runtime", "--quiet", "slave-ha-service"])?;
    active.run(&["systemctl", "start", "slave-ha-service"])?;
    outcome?;
    cluster.wait_any_active(epoch)?;
    // Whose master-fc was lied to asks that agent never again.
    Ok(standby.run(&["systemctl", "restart", "master-fc"]).map(drop)?)
}

fn lied_to(cluster: &Cluster<'_>, active: &Host, standby: &Host) -> Outcome {
    let (cut, deadline) = super::hosts::cut_and_read_deadline(cluster, active)?;
    cluster.wait("the other one starts by the agent's word", FAILOVER, || {
        cluster.first(standby, "ambari-server", What::Start, cut).ok()
    })?;
    let mended = service_log::now();
    assert!(mended < deadline, "the lie came too late to be one");
    active.heal()?;
    let (found, text) =
        cluster.wait("the lie is found", FAILOVER, || said(standby, Kind::FenceLied, cut).ok())?;
    let alarm =
        format!("{} is not powered off, though fence method `power` said so", active.name());
    assert!(text.starts_with(&alarm) && text.ends_with("; everything is stopped here"), "{text}");
    cluster
        .wait("everything is stopped again", SOON, || cluster.runs_none(standby).then_some(()))?;
    let stopped = service_log::now();
    let (_, kill) = cluster.lease_and_kill();
    // It is killed, not asked.
    let last = cluster.last_sign(standby, found)?;
    assert!(last <= found + kill, "it ran for {} ms more", (last - found) / MILLISECOND);
    eprintln!(
        "{}: a lie was found {} ms after the cable was mended, and everything was stopped {} ms later",
        standby.name(),
        found.saturating_sub(mended) / MILLISECOND,
        last.saturating_sub(found) / MILLISECOND
    );
    // Nobody succeeds it before the lied-about office is surely over.
    cluster.wait("D and kill time have passed", FAILOVER, || {
        (service_log::now() > deadline + kill).then_some(())
    })?;
    let told = cluster.told(stopped)?;
    let early = told.iter().find(|it| it.what == What::Start && it.at < deadline + kill);
    assert!(early.is_none(), "{early:?}");
    Ok(())
}

/// That the device was told nothing since then.
fn assert_nobody_fenced(cluster: &Cluster<'_>, since: u64) {
    let told = cluster.lab().power_log(since);
    assert!(told.is_empty(), "{}", told.iter().map(|it| format!("{it}; ")).collect::<String>());
}

/// For longer than lease and kill time, and so than anybody is doubted.
fn for_long(cluster: &Cluster<'_>) -> Duration {
    let (lease, kill) = cluster.lease_and_kill();
    Duration::from_nanos(lease + 2 * kill)
}

// C-18.
fn health_monitor(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = acquainted(cluster)?;
    let before = cluster.before()?;
    active.run(&["systemctl", "mask", "--runtime", "--quiet", "health-monitor"])?;
    active.kill("health-monitor.service", Signal::KILL)?;
    let renewed = cluster.wait_renewed(&active, for_long(cluster));
    active.run(&["systemctl", "unmask", "--runtime", "--quiet", "health-monitor"])?;
    active.run(&["systemctl", "start", "health-monitor"])?;
    renewed?;
    assert_nobody_fenced(cluster, before.at);
    cluster.assert_untouched(&before)
}

// C-18: a quorum that commits nothing for a while makes everybody silent, however long that takes on a busy machine.
fn new_leader(cluster: &Cluster<'_>) -> Outcome {
    acquainted(cluster)?;
    let since = service_log::now();
    for _ in 0..3 {
        let leader = cluster.lab().leader().ok_or("no server leads")?;
        leader.kill(ensemble::UNIT, Signal::KILL)?;
        cluster.wait("another server leads", FAILOVER, || cluster.lab().leader())?;
        quorum::start(&leader)?;
        quorum::all_serve(cluster)?;
        cluster.wait_ready()?;
    }
    assert_nobody_fenced(cluster, since);
    Ok(())
}

// C-18.
fn isolated(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = acquainted(cluster)?;
    let before = cluster.before()?;
    standby.cut()?;
    cluster.wait_renewed(&active, for_long(cluster))?;
    standby.heal()?;
    cluster.wait_role(&standby, "standby")?;
    cluster.wait_renewed(&active, Duration::from_secs(2))?;
    assert_nobody_fenced(cluster, before.at);
    cluster.assert_untouched(&before)
}

// C-18: the records move, so each knows of the other.
fn apart(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = acquainted(cluster)?;
    let before = cluster.before()?;
    active.cut_from(&standby)?;
    let renewed = cluster.wait_renewed(&active, for_long(cluster));
    active.heal()?;
    renewed?;
    assert_nobody_fenced(cluster, before.at);
    cluster.assert_untouched(&before)
}

// C-18: neither sees anything of the other, and both are the ones that are cut off.
fn both_doubt(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = acquainted(cluster)?;
    let (since, epoch) = (service_log::now(), cluster.epoch(&active)?);
    for host in [&active, &standby] {
        host.cut()?;
    }
    cluster.last(for_long(cluster));
    for host in [&active, &standby] {
        host.mend()?;
    }
    cluster.wait_any_active(epoch.saturating_sub(1))?;
    cluster.wait_ready()?;
    assert_nobody_fenced(cluster, since);
    Ok(())
}
