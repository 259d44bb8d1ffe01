//! What an operator orders and asks.

use std::time::Duration;

use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::quorum::Op;
use headship_core::record::{
    self, Active, Answer as Answered, FORMAT, Health, Key, Rest, Settings, SwitchoverOrder, Verdict,
};
use headship_core::time::WallTime;
use headship_tests::lab::Host;
use headship_tests::lab::service_log::{self, What};
use serde_json::Value;

use super::cluster::{Cluster, FAILOVER, SERVICES, SOON, node};
use super::{Answer, Test, bystander};
use crate::Outcome;

/// What takes long.
pub(super) const MORE: [Test; 1] = [(
    "a_switchover_from_a_headnode_with_a_read_only_run_goes_on_once_its_permit_has_ended",
    with_read_only_run,
)];

pub(super) const FAST: [Test; 6] = [
    ("a_switchover_moves_the_office_in_order_and_back_again", both_ways),
    ("a_switchover_to_an_unknown_headnode_is_refused_and_nothing_moves", to_unknown),
    ("a_switchover_to_an_ineligible_headnode_is_refused_and_nothing_moves", to_ineligible),
    ("a_switchover_while_failover_is_paused_is_refused_and_nothing_moves", while_paused),
    ("an_order_of_an_earlier_epoch_or_time_is_refused_and_nothing_moves", outdated_orders),
    ("status_and_active_say_what_is", status_and_active),
];

/// Exit code of the command line for an order that was refused.
const REFUSED: i32 = 6;

// B-03, B-26, B-28, B-34, B-35, B-37, K-4.
fn both_ways(cluster: &Cluster<'_>) -> Outcome {
    let (first, second) = cluster.pair()?;
    let bystanders = [bystander::start(cluster, &first)?, bystander::start(cluster, &second)?];
    for (from, to) in [(&first, &second), (&second, &first)] {
        let epoch = cluster.epoch(from)?;
        let since = service_log::now();
        // From either headnode.
        first.run(&["headship", "switchover", "--to", to.name()])?;
        let next = cluster.wait_active(to, epoch)?;
        assert_eq!(next, epoch + 1);
        cluster.assert_stopped_in_order(from, since)?;
        cluster.assert_started_in_order(to, since)?;
        let stopped = cluster.first(from, "ambari-server", What::Stop, since)?;
        assert!(stopped <= cluster.first(to, "ambari-server", What::Start, since)?);
        assert!(to.runs("master-ha-service.service") && !from.runs("master-ha-service.service"));
        cluster.wait_role(from, "standby")?;
        cluster.wait_ready()?;
        let check = String::from_utf8(from.output(&["headship", "check"])?.stdout)?;
        let (_, measured) = check.split_once("measured stops").unwrap_or_default();
        assert!(SERVICES.iter().all(|service| measured.contains(service)), "{check}");
    }
    let hosts = [&first, &second];
    assert_eq!(hosts.map(|host| bystander::pid(cluster, host)), bystanders.map(Some));
    hosts.into_iter().try_for_each(bystander::stop)
}

// Invariant 4: what cannot be removed lets starts through until it ends, and whoever takes over must not begin before.
fn with_read_only_run(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    active.run(&["sh", "-c", READ_ONLY_RUN])?;
    let (since, deadline) = (service_log::now(), cluster.deadline(&active)?);
    standby.run(&["headship", "switchover", "--to", standby.name()])?;
    cluster.wait_active(&standby, epoch)?;
    cluster.assert_stopped_in_order(&active, since)?;
    cluster.assert_started_in_order(&standby, since)?;
    assert_eq!(cluster.deadline(&active)?, deadline, "the permit was still written or removed");
    let first = cluster.first(&standby, "ambari-server", What::Start, since)?;
    let early = deadline.saturating_sub(first) / 1_000_000;
    assert!(first >= deadline, "{} began {early} ms too early", standby.name());
    // Nothing else is waited for: not that services are given time to stop, nor that a lease runs out.
    let late = Duration::from_nanos(first - deadline);
    assert!(late < SOON, "{} began {late:?} after the permit had ended", standby.name());
    let by_hand = active.output(&["systemctl", "start", "livy"])?;
    assert!(!by_hand.status.success(), "the gate goes by a permit that has ended");
    active.run(&["umount", "/run/headship"])?;
    cluster.wait("the permit is removed once it can be", SOON, || {
        cluster.permit(&active).is_none().then_some(())
    })?;
    cluster.wait_role(&active, "standby")
}

/// A file system that nobody can write, as its daemons have mounts of their own: what a mount alone forbids on the host they do
/// not see.
const READ_ONLY_RUN: &str = "mkdir --parents /run/read-only && mount -t tmpfs -o mode=755 read-only /run/read-only \
    && cp --archive /run/headship/. /run/read-only && mount -o remount,ro /run/read-only \
    && mount --bind /run/read-only /run/headship && umount /run/read-only";

/// A switchover that must be refused for `reason`, with nothing moving.
fn refused(cluster: &Cluster<'_>, to: &str, reason: &str) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    let answer = active.output(&["headship", "switchover", "--to", to])?;
    let said = String::from_utf8(answer.stderr)? + &String::from_utf8(answer.stdout)?;
    assert_eq!(answer.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains(reason), "{said}");
    cluster.assert_untouched(&before)
}

fn to_unknown(cluster: &Cluster<'_>) -> Outcome {
    refused(cluster, "hn7", "hn7 is not a headnode of this cluster")?;
    // And by the active itself, whoever wrote the order.
    let before = cluster.before()?;
    let order = ordered(cluster, Some("hn7"), |order| order)?;
    assert_refused(&order, "hn7 is not a headnode of this cluster: say one of");
    cluster.assert_untouched(&before)
}

// B-33: to whom it must not be given.
fn to_ineligible(cluster: &Cluster<'_>) -> Outcome {
    let (_, standby) = cluster.pair()?;
    hide_unit(&standby, "livy.service")?;
    cluster.wait("the standby is ineligible", FAILOVER, || {
        let health: Health = cluster.read(&Key::Health(node(&standby))).ok()?;
        (health.verdict == Verdict::Ineligible).then_some(())
    })?;
    let outcome = refused(cluster, standby.name(), "no such unit: livy");
    show_unit(&standby, "livy.service")?;
    outcome
}

/// Takes a unit file away.
pub(super) fn hide_unit(host: &Host, unit: &str) -> Outcome {
    move_unit(host, &format!("/usr/lib/systemd/system/{unit}"), &format!("/root/{unit}"))
}

/// Puts it back.
pub(super) fn show_unit(host: &Host, unit: &str) -> Outcome {
    move_unit(host, &format!("/root/{unit}"), &format!("/usr/lib/systemd/system/{unit}"))
}

fn move_unit(host: &Host, from: &str, to: &str) -> Outcome {
    host.run(&["mv", from, to])?;
    Ok(host.run(&["systemctl", "daemon-reload"]).map(drop)?)
}

fn while_paused(cluster: &Cluster<'_>) -> Outcome {
    let (_, standby) = cluster.pair()?;
    pause(cluster, Some("root: work on the network"))?;
    let outcome = refused(cluster, standby.name(), "paused");
    pause(cluster, None)?;
    outcome
}

fn pause(cluster: &Cluster<'_>, paused: Option<&str>) -> Outcome {
    let settings: Settings = cluster.read(&Key::Settings)?;
    let settings = Settings { paused: paused.map(str::to_owned), ..settings };
    cluster.write(Op::Set { key: Key::Settings, version: None, data: record::write(&settings) })
}

/// Orders a switchover by writing the record, as `change` has it, and returns it when it is answered, or after a while.
fn ordered(
    cluster: &Cluster<'_>,
    to: Option<&str>,
    change: impl Fn(SwitchoverOrder) -> SwitchoverOrder,
) -> Answer<SwitchoverOrder> {
    let active: Active = cluster.read(&Key::Active)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let order = change(SwitchoverOrder {
        format: FORMAT,
        order: format!("test-{}", service_log::now()),
        by: "root at a test".to_owned(),
        epoch: active.epoch,
        to: to.map(NodeName::try_from).transpose()?,
        not_after: WallTime(u64::try_from(now.as_millis())? + 10_000),
        answer: None,
        rest: Rest::new(),
    });
    let data = record::write(&order);
    let there = cluster.read::<SwitchoverOrder>(&Key::Switchover).is_ok();
    let key = Key::Switchover;
    cluster.write(if there {
        Op::Set { key, version: None, data }
    } else {
        Op::Create { key, data }
    })?;
    let answered = cluster.wait("the order is answered", Duration::from_secs(2), || {
        cluster
            .read::<SwitchoverOrder>(&Key::Switchover)
            .ok()
            .filter(|order| order.answer.is_some())
    });
    Ok(answered.unwrap_or(order))
}

fn assert_refused(order: &SwitchoverOrder, reason: &str) {
    let answer = &order.answer;
    let refused = matches!(answer, Some(Answered::Refused { why }) if why.contains(reason));
    assert!(refused, "not refused because `{reason}`: {answer:?}");
}

fn outdated_orders(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let earlier = ordered(cluster, None, |order| SwitchoverOrder {
        epoch: Epoch(order.epoch.0 - 1),
        ..order
    })?;
    assert_refused(&earlier, "and this is epoch");
    let late = ordered(cluster, None, |order| SwitchoverOrder { not_after: WallTime(1), ..order })?;
    assert_refused(&late, "it came too late");
    cluster.assert_untouched(&before)
}

// B-30, K-5.
fn status_and_active(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    for host in [&active, &standby] {
        let shown = host.output(&["headship", "status", "--json"])?;
        let text = String::from_utf8(shown.stdout)?;
        assert_eq!(shown.status.code(), Some(0), "{text}");
        let status: Value = serde_json::from_str(&text)?;
        assert_eq!(status.get("active"), Some(&Value::from(active.name())));
        assert_eq!(status.get("epoch"), Some(&Value::from(cluster.epoch(&active)?)));
        let people = String::from_utf8(host.output(&["headship", "status"])?.stdout)?;
        assert!(people.contains(active.name()) && people.contains("standby"), "{people}");
        assert_eq!(host.run(&["headship", "active"])?.trim(), active.name());
    }
    for server in cluster.lab().servers() {
        server.cut()?;
    }
    let away = cluster.wait("the status says that the quorum is away", SOON, || {
        let shown = active.output(&["headship", "--timeout", "1", "status"]).ok()?;
        (shown.status.code() == Some(9)).then_some(shown.stdout)
    });
    for server in cluster.lab().servers() {
        server.heal()?;
    }
    // What this host knows by itself is shown all the same.
    assert!(String::from_utf8(away?)?.contains("master-fc"));
    Ok(())
}
