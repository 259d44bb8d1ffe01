//! Every node follows: the alias first, the agent second. The lab's agents look the alias up once, when they start: one that
//! is registered at the active was started after the alias moved there.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_tests::lab::ensemble::UNIT as ZOOKEEPER;
use headship_tests::lab::{Host, Signal};
use headship_tests::suite;

use super::cluster::{Cluster, FAILOVER, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const AGENT: &str = "ambari-agent.service";
pub(super) const SLAVE_FC: &str = "slave-fc.service";
/// What stands in every line of ours, between the markers.
pub(super) const ALIAS: &str = "headnodehost";

/// How long after becoming-active a node that watches has moved its alias, in nanoseconds. It takes some ten milliseconds.
const WATCHED: u64 = 1_000_000_000;

/// What takes long.
pub(super) const MORE: [Test; 5] = [
    ("what_an_editor_undid_is_put_right_and_the_agent_is_left_alone", editor),
    ("without_a_quorum_the_alias_stays_and_the_agents_are_left_alone", quorum_away),
    ("a_hosts_file_that_is_a_bind_mount_is_written_in_place", bind_mount),
    ("an_agent_that_dies_is_started_again", agent_dies),
    ("each_node_follows_after_a_power_loss", power_loss),
];

pub(super) const FAST: [Test; 4] = [
    ("each_node_follows_a_switchover_the_alias_first_and_the_agent_second", switchover),
    ("a_hosts_file_that_cannot_be_written_is_said_and_the_agent_is_left_alone", read_only),
    ("a_restarted_slave_fc_leaves_the_agent_alone", restarted),
    ("a_guard_that_is_stopped_on_a_worker_is_started_again", guard_stopped),
];

/// Exit code of `headship status` where something is missing.
pub(super) const DEGRADED: i32 = 11;

/// Every node, the ZooKeeper servers' among them.
fn nodes(cluster: &Cluster<'_>) -> Vec<Host> {
    cluster.lab().hosts()
}

fn worker(cluster: &Cluster<'_>) -> Answer<Host> {
    cluster.lab().workers().pop().ok_or_else(|| "the lab has workers".into())
}

/// Where a host looks for the active headnode.
pub(super) fn alias(host: &Host) -> Option<String> {
    let found = host.run(&["getent", "hosts", ALIAS]).ok()?;
    found.split_whitespace().next().map(str::to_owned)
}

/// Waits until each of these nodes looks for the alias at `active`, and its agent has registered there.
pub(super) fn wait_followed(cluster: &Cluster<'_>, nodes: &[Host], active: &Host) -> Outcome {
    cluster.wait(&format!("each node follows {}", active.name()), FAILOVER, || {
        let registrations = cluster.lab().registrations();
        let follows = |node: &Host| {
            let last = registrations.iter().rfind(|one| one.host == node.name());
            let there = last.is_some_and(|last| last.server == active.name());
            there && alias(node).as_deref() == Some(&active.address())
        };
        nodes.iter().all(follows).then_some(())
    })
}

/// A cluster in which everybody follows: who is active, and who is not.
pub(super) fn in_order(cluster: &Cluster<'_>) -> Answer<(Host, Host)> {
    for node in nodes(cluster) {
        node.run(&["systemctl", "start", SLAVE_FC])?;
    }
    let (active, standby) = cluster.pair()?;
    wait_followed(cluster, &nodes(cluster), &active)?;
    Ok((active, standby))
}

fn agent(host: &Host) -> Option<u32> {
    let pid = host.run(&["systemctl", "show", "--property=MainPID", "--value", AGENT]).ok()?;
    pid.trim().parse().ok().filter(|pid| *pid != 0)
}

fn agents(cluster: &Cluster<'_>) -> BTreeMap<&'static str, Option<u32>> {
    nodes(cluster).iter().map(|node| (node.name(), agent(node))).collect()
}

/// The lines of a hosts file that are not ours.
pub(super) fn foreign(host: &Host) -> Answer<String> {
    let text = host.read_file("/etc/hosts")?;
    let lines = text.split_inclusive('\n');
    Ok(lines.filter(|line| !line.contains(ALIAS) && !line.contains("headship")).collect())
}

pub(super) fn switch_over(cluster: &Cluster<'_>, from: &Host, to: &Host) -> Outcome {
    let epoch = cluster.epoch(from)?;
    from.run(&["headship", "switchover", "--to", to.name()])?;
    cluster.wait_active(to, epoch).map(drop)
}

// B-15, B-18 to B-20.
fn switchover(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = in_order(cluster)?;
    let edited = worker(cluster)?;
    edited.run(&["sh", "-c", "printf '10.9.9.9\\tforeign # kept\\r\\n  \\n' >> /etc/hosts"])?;
    let before: Vec<String> = nodes(cluster).iter().map(foreign).collect::<Answer<_>>()?;
    let old = agents(cluster);
    switch_over(cluster, &active, &standby)?;
    wait_followed(cluster, &nodes(cluster), &standby)?;
    let after: Vec<String> = nodes(cluster).iter().map(foreign).collect::<Answer<_>>()?;
    assert_eq!(before, after, "lines of others");
    for (node, pid) in agents(cluster) {
        assert_ne!(Some(&pid), old.get(node), "the agent of {node} was started anew");
    }
    let began = suite::office_began(&standby)?.ok_or("it does not say since when it is active")?;
    for node in nodes(cluster) {
        let late = suite::hosts_changed_at(&node)?.saturating_sub(began);
        assert!(late < WATCHED, "{} followed after {} ms", node.name(), late / 1_000_000);
    }
    edited.run(&["sed", "--in-place", "/foreign/,+1d", "/etc/hosts"])?;
    Ok(())
}

// B-15, B-18 to B-20, B-41.
fn power_loss(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = in_order(cluster)?;
    let epoch = cluster.epoch(&active)?;
    active.power_off()?;
    cluster.wait_active(&standby, epoch)?;
    let mut left = nodes(cluster);
    left.retain(|node| node.name() != active.name());
    wait_followed(cluster, &left, &standby)?;
    active.power_on()?;
    wait_followed(cluster, &nodes(cluster), &standby)
}

// B-20.
fn editor(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = in_order(cluster)?;
    let worker = worker(cluster)?;
    let old = agent(&worker);
    let line = |address: &str| format!("{address} {ALIAS} # headship");
    let (right, wrong) = (line(&active.address()), line(&standby.address()));
    let edits = [
        // What was removed, and what was changed.
        ("/headnodehost/d".to_owned(), format!("+{right}")),
        (format!("s/{}/{}/", active.address(), standby.address()), format!("-{wrong} | +{right}")),
    ];
    for (edit, diff) in edits {
        worker.run(&["sed", "--in-place", &edit, "/etc/hosts"])?;
        wait_followed(cluster, std::slice::from_ref(&worker), &active)?;
        let told = format!("somebody changed `/etc/hosts`; put right again: {diff}");
        cluster.wait(&format!("its journal has the line `{told}`"), SOON, || {
            let said = cluster.journal(&worker, SLAVE_FC).ok()?;
            said.lines().any(|line| line == told).then_some(())
        })?;
    }
    assert_eq!(agent(&worker), old, "the agent knows the right headnode all the while");
    Ok(())
}

// B-20: containers have it so.
fn bind_mount(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = in_order(cluster)?;
    let worker = worker(cluster)?;
    worker.run(&[
        "sh",
        "-c",
        "cp -p /etc/hosts /root/hosts && mount --bind /root/hosts /etc/hosts",
    ])?;
    switch_over(cluster, &active, &standby)?;
    let followed = wait_followed(cluster, &nodes(cluster), &standby);
    let mounted = worker.run(&["findmnt", "--noheadings", "/etc/hosts"]);
    let text = worker.read_file("/root/hosts")?;
    worker.run(&["umount", "/etc/hosts"])?;
    followed?;
    assert!(mounted.is_ok(), "it is mounted still");
    assert!(text.contains(&standby.address()), "{text}");
    wait_followed(cluster, &nodes(cluster), &standby)
}

// B-19: (2) not without (1).
fn read_only(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = in_order(cluster)?;
    let worker = worker(cluster)?;
    let old = agent(&worker);
    // The file system, as slave-fc has mounts of its own: what a mount alone forbids on the host it does not see.
    worker.run(&[
        "sh",
        "-c",
        "mkdir --parents /run/read-only && mount -t tmpfs read-only /run/read-only \
            && cp -p /etc/hosts /run/read-only/hosts && mount -o remount,ro /run/read-only \
            && mount --bind /run/read-only/hosts /etc/hosts",
    ])?;
    let moved = read_only_switchover(cluster, &active, &standby, &worker);
    let left_alone = agent(&worker) == old;
    worker.run(&["umount", "/etc/hosts", "/run/read-only"])?;
    moved?;
    assert!(left_alone, "its agent was started anew though the alias did not move");
    wait_followed(cluster, &nodes(cluster), &standby)
}

fn read_only_switchover(
    cluster: &Cluster<'_>,
    active: &Host,
    standby: &Host,
    worker: &Host,
) -> Outcome {
    switch_over(cluster, active, standby)?;
    let mut others = nodes(cluster);
    others.retain(|node| node.name() != worker.name());
    wait_followed(cluster, &others, standby)?;
    let (epoch, name) = (cluster.epoch(standby)?, worker.name());
    let (some, all) = (others.len(), others.len() + 1);
    let behind = format!(
        "{some} of {all} nodes follow epoch {epoch}; {name}: `/etc/hosts` cannot be written for epoch {epoch}: "
    );
    cluster.wait("status says that it cannot write the file", SOON, || {
        let output = active.output(&["headship", "status"]).ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let said = text.contains(&behind) && text.to_lowercase().contains("read-only");
        (said && output.status.code() == Some(DEGRADED)).then_some(())
    })?;
    assert_eq!(alias(worker).as_deref(), Some(active.address().as_str()), "the old alias stays");
    Ok(())
}

// B-22.
fn quorum_away(cluster: &Cluster<'_>) -> Outcome {
    in_order(cluster)?;
    let workers = cluster.lab().workers();
    let files: Vec<String> =
        workers.iter().map(|node| Ok(node.read_file("/etc/hosts")?)).collect::<Answer<_>>()?;
    let old: Vec<Option<u32>> = workers.iter().map(agent).collect();
    for server in cluster.lab().servers() {
        server.kill(ZOOKEEPER, Signal::KILL)?;
    }
    cluster.wait("nothing runs on either headnode", FAILOVER, || {
        cluster.lab().headnodes().iter().all(|host| cluster.runs_none(host)).then_some(())
    })?;
    // Longer than a period of the nodes' own.
    cluster.last(Duration::from_secs(12));
    for (node, (file, pid)) in workers.iter().zip(files.iter().zip(&old)) {
        assert_eq!(&node.read_file("/etc/hosts")?, file, "hosts file of {}", node.name());
        assert_eq!(&agent(node), pid, "agent of {}", node.name());
    }
    for server in cluster.lab().servers() {
        server.run(&["systemctl", "start", ZOOKEEPER])?;
    }
    let active = cluster.wait_any_active(0)?;
    wait_followed(cluster, &nodes(cluster), &active)
}

// B-19: nothing changed, so the agent stays.
fn restarted(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = in_order(cluster)?;
    let old = agents(cluster);
    for node in nodes(cluster) {
        for _ in 0..3 {
            node.run(&["systemctl", "restart", SLAVE_FC])?;
        }
    }
    wait_followed(cluster, &nodes(cluster), &active)?;
    assert_eq!(agents(cluster), old, "agents");
    Ok(())
}

// B-16.
fn agent_dies(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = in_order(cluster)?;
    for node in nodes(cluster) {
        let old = agent(&node);
        node.kill(AGENT, Signal::KILL)?;
        cluster.wait(&format!("the agent of {} is there again", node.name()), FAILOVER, || {
            agent(&node).filter(|pid| Some(*pid) != old)
        })?;
    }
    wait_followed(cluster, &nodes(cluster), &active)
}

// B-17.
fn guard_stopped(cluster: &Cluster<'_>) -> Outcome {
    in_order(cluster)?;
    for node in cluster.lab().workers() {
        node.run(&["systemctl", "stop", "slave-ha-service"])?;
        cluster.wait(&format!("the guard of {} is there again", node.name()), FAILOVER, || {
            node.runs("slave-ha-service.service").then_some(())
        })?;
    }
    Ok(())
}
