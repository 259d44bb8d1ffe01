//! The nodes' agents, where they cannot be restarted as they should: one that will not start, and few that may restart at once.

use std::time::Duration;

use headship_tests::lab::{Host, Role};

use super::cluster::{Cluster, FAILOVER};
use super::followers::{self, AGENT, DEGRADED, SLAVE_FC};
use super::upkeep::worker;
use super::{Answer, Test};
use crate::Outcome;

/// What takes long.
pub(super) const MORE: [Test; 2] = [
    ("an_agent_that_will_not_restart_is_said_in_status_and_tried_again_with_back_off", will_not),
    ("with_one_restart_slot_agents_restart_one_after_the_other_and_the_headnodes_first", one_slot),
];

/// The folder for a test's own lines in the agent's unit.
const DROP_IN: &str = "/run/systemd/system/ambari-agent.service.d";

/// Where a test has one restart slot only.
const FRAGMENT: &str = "/etc/headship/conf.d/70-slots.toml";

/// How long a restart of an agent takes at least, so that two at once would show.
const SLOW: Duration = Duration::from_secs(1);

/// The first pauses between tries, as `core/follower` has them.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// Adds a line to the agent's unit.
fn change_unit(host: &Host, lines: &str) -> Outcome {
    let write =
        format!("mkdir -p {DROP_IN} && printf '[Service]\\n{lines}\\n' >{DROP_IN}/50-test.conf");
    host.run(&["sh", "-c", &format!("{write} && systemctl daemon-reload")])?;
    Ok(())
}

fn restore_unit(host: &Host) -> Outcome {
    host.run(&["sh", "-c", &format!("rm -r {DROP_IN} && systemctl daemon-reload")])?;
    Ok(())
}

/// A moment of an agent's life, in microseconds on the clock that all hosts of the lab have in common.
fn moment(host: &Host, which: &str) -> Answer<u64> {
    let property = format!("--property={which}");
    Ok(host.run(&["systemctl", "show", &property, "--value", AGENT])?.trim().parse()?)
}

/// When systemd began to start the agent, each time since the host booted, in seconds.
fn starts(host: &Host) -> Answer<Vec<f64>> {
    let line = ["journalctl", "--boot", "--no-pager", "--output=short-monotonic", "--unit", AGENT];
    let text = host.run(&line)?;
    let starts = text.lines().filter(|line| line.contains("]: Starting "));
    let at =
        |line: &str| line.trim_start_matches(['[', ' ']).split(']').next()?.parse::<f64>().ok();
    Ok(starts.filter_map(at).collect())
}

/// Waits until `headship status`, said on `host`, finds nothing missing.
fn wait_well(cluster: &Cluster<'_>, host: &Host) -> Outcome {
    cluster.wait("status finds nothing missing", FAILOVER, || {
        (host.output(&["headship", "status"]).ok()?.status.code() == Some(0)).then_some(())
    })
}

fn will_not(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = followers::in_order(cluster)?;
    let worker = worker(cluster)?;
    change_unit(&worker, "ExecStart=\\nExecStart=/bin/false")?;
    let outcome = said_and_tried_again(cluster, &active, &standby, &worker);
    restore_unit(&worker)?;
    outcome?;
    wait_well(cluster, &active)?;
    followers::wait_followed(cluster, &cluster.lab().hosts(), &standby)
}

fn said_and_tried_again(
    cluster: &Cluster<'_>,
    active: &Host,
    standby: &Host,
    worker: &Host,
) -> Outcome {
    let before = starts(worker)?.len();
    followers::switch_over(cluster, active, standby)?;
    let mut others = cluster.lab().hosts();
    others.retain(|node| node.name() != worker.name());
    followers::wait_followed(cluster, &others, standby)?;
    let (some, all) = (others.len(), others.len() + 1);
    let epoch = cluster.epoch(standby)?;
    let behind = format!("{some} of {all} nodes follow epoch {epoch}; {}: ", worker.name());
    let begun = cluster.wait("it is tried again and again", FAILOVER, || {
        let begun = starts(worker).ok()?.split_off(before);
        (begun.len() > PAUSES.len()).then_some(begun)
    })?;
    for ((one, next), pause) in begun.iter().zip(begun.iter().skip(1)).zip(PAUSES) {
        assert!(next - one >= pause.as_secs_f64(), "tried again too soon: at {begun:?} s");
    }
    let output = active.output(&["headship", "status"])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(DEGRADED), "{text}");
    assert!(text.contains(&behind) && text.contains("; the agent is down: "), "{text}");
    // Its first step was done: only the second one is missing.
    assert_eq!(followers::alias(worker).as_deref(), Some(standby.address().as_str()), "its alias");
    Ok(())
}

fn one_slot(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = followers::in_order(cluster)?;
    let nodes = cluster.lab().hosts();
    for node in &nodes {
        node.write_file(FRAGMENT, "[follow]\nrestart_slots = 1\n")?;
        if node.spec().role != Role::Headnode {
            change_unit(node, &format!("ExecStartPre=/bin/sleep {}", SLOW.as_secs()))?;
        }
        node.run(&["systemctl", "restart", SLAVE_FC])?;
    }
    let outcome = in_turn(cluster, &active, &standby, &nodes);
    for node in &nodes {
        node.run(&["rm", FRAGMENT])?;
        if node.spec().role != Role::Headnode {
            restore_unit(node)?;
        }
        node.run(&["systemctl", "restart", SLAVE_FC])?;
    }
    outcome?;
    followers::wait_followed(cluster, &nodes, &standby)
}

fn in_turn(cluster: &Cluster<'_>, active: &Host, standby: &Host, nodes: &[Host]) -> Outcome {
    wait_well(cluster, active)?;
    followers::switch_over(cluster, active, standby)?;
    followers::wait_followed(cluster, nodes, standby)?;
    let (mut headnodes, mut others) = (Vec::new(), Vec::new());
    for node in nodes {
        let away = (moment(node, "ActiveExitTimestampMonotonic")?, node.name());
        let back = moment(node, "ActiveEnterTimestampMonotonic")?;
        let is_headnode = node.spec().role == Role::Headnode;
        if is_headnode { &mut headnodes } else { &mut others }.push((away, back));
    }
    others.sort_unstable();
    for pair in others.windows(2) {
        let [(_, back), ((away, _), _)] = pair else { return Err("no pair".into()) };
        assert!(back <= away, "two agents restarted at once: {others:?}");
    }
    for ((away, name), back) in &others {
        let took = Duration::from_micros(back - away);
        assert!(took >= SLOW, "nothing is shown: {name} restarted in {took:?}");
    }
    let first = others.first().ok_or("no nodes but headnodes")?.1;
    let last = headnodes.iter().map(|(_, back)| *back).max().ok_or("no headnodes")?;
    assert!(last <= first, "a headnode was not first: {headnodes:?}, {others:?}");
    // Everybody registered in that order, too.
    let registered = cluster.lab().registrations();
    let since = cluster.since();
    let in_turn: Vec<&str> = others.iter().map(|((_, name), _)| *name).collect();
    let mut order: Vec<&str> = Vec::new();
    for one in registered.iter().filter(|one| one.at >= since && one.server == standby.name()) {
        if in_turn.contains(&one.host.as_str()) && !order.contains(&one.host.as_str()) {
            order.push(&one.host);
        }
    }
    assert_eq!(order, in_turn, "who registered in which order");
    Ok(())
}
