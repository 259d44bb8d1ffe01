//! slave-fc is killed a hundred times between its two steps, on every node but the headnodes, while the office goes to and
//! fro: each time the alias ends right, and the agent is restarted once, whatever died when.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use headship_tests::lab::{Host, Role, Signal};
use rustix::process::{Pid, kill_process};

use super::cluster::{Cluster, FAILOVER};
use super::followers::{self, AGENT, SLAVE_FC};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const MORE: [Test; 1] =
    [("slave_fc_killed_a_hundred_times_between_its_two_steps_always_ends_right", a_hundred_kills)];

/// How many kills there are at least.
const KILLS: usize = 100;

/// How often a condition is looked at that holds for milliseconds only. A look costs one call of the kernel.
const GLANCE: Duration = Duration::from_millis(1);

/// The agent's start takes a moment, as a real one's does, so that there is a middle of it.
const SLOW_START: &str = "mkdir --parents /run/systemd/system/ambari-agent.service.d
    printf '[Service]\\nExecStartPre=/bin/sleep 0.2\\n' >/run/systemd/system/ambari-agent.service.d/slow.conf
    systemctl daemon-reload";
const NO_SLOW_START: &str =
    "rm --recursive /run/systemd/system/ambari-agent.service.d; systemctl daemon-reload";

/// Up to where a node's slave-fc has come when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The alias has just moved.
    AliasMoved,
    /// The agent that knew the old one has ended.
    AgentGone,
    /// The next one is being started.
    AgentStarting,
    /// It runs.
    AgentThere,
}

impl Moment {
    const ALL: [Self; 4] =
        [Self::AliasMoved, Self::AgentGone, Self::AgentStarting, Self::AgentThere];

    /// The moments of a node in a round: one or several of them, and others each time.
    fn of(round: usize, node: usize) -> Vec<Self> {
        let picked = (round * 5 + node) * 7 % 15 + 1;
        let all = Self::ALL.into_iter().enumerate();
        all.filter(|(bit, _)| picked >> bit & 1 == 1).map(|(_, moment)| moment).collect()
    }
}

/// A node whose slave-fc is killed at some moments of this round.
struct Victim {
    host: Host,
    moments: Vec<Moment>,
    /// Where the alias goes.
    address: String,
    /// The agent that is to be replaced, as this machine numbers it.
    agent: Pid,
}

impl Victim {
    /// Kills at each moment, and tells how often.
    fn kill_at_all(&self) -> Result<usize, String> {
        for moment in &self.moments {
            let slave_fc = self.wait("slave-fc runs", || self.process(SLAVE_FC))?;
            self.wait(&format!("{moment:?}"), || self.is_there(*moment).then_some(()))?;
            // It may have been about to end by itself only if it was killed before, and then it is another process.
            kill_process(slave_fc, Signal::KILL).map_err(|error| format!("no kill: {error}"))?;
            self.wait("it is dead", || (!exists(slave_fc)).then_some(()))?;
        }
        Ok(self.moments.len())
    }

    fn wait<T>(&self, sentence: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        let end = Instant::now() + FAILOVER;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if Instant::now() > end {
                return Err(format!("waited in vain on {}: {sentence}", self.host.name()));
            }
            thread::sleep(GLANCE);
        }
    }

    fn is_there(&self, moment: Moment) -> bool {
        match moment {
            Moment::AliasMoved => {
                let text = fs::read_to_string(self.host.root().join("etc/hosts"));
                let own = format!("{} {}", self.address, followers::ALIAS);
                text.is_ok_and(|text| text.lines().any(|line| line.starts_with(&own)))
            }
            Moment::AgentGone => !exists(self.agent),
            Moment::AgentStarting => !exists(self.agent) && self.process(AGENT).is_some(),
            Moment::AgentThere => {
                let agents = self.host.find_processes("lab-agent").unwrap_or_default();
                agents.iter().any(|agent| *agent != self.agent)
            }
        }
    }

    /// The first process of a unit.
    fn process(&self, unit: &str) -> Option<Pid> {
        self.host.find_processes(unit).ok()?.into_iter().next()
    }
}

fn exists(pid: Pid) -> bool {
    fs::metadata(format!("/proc/{}", pid.as_raw_nonzero())).is_ok()
}

/// How often systemd has started the agent of each node since the node's boot.
fn starts(nodes: &[Host]) -> Answer<BTreeMap<&'static str, usize>> {
    let starts = nodes.iter().map(|node| {
        let line = ["journalctl", "--no-pager", "--boot", "--output", "cat", "--unit", AGENT];
        let said = node.run(&line)?;
        Ok((node.name(), said.lines().filter(|line| line.starts_with("Started ")).count()))
    });
    starts.collect()
}

// B-19, B-20.
fn a_hundred_kills(cluster: &Cluster<'_>) -> Outcome {
    followers::in_order(cluster)?;
    let nodes = cluster.lab().hosts();
    for node in &nodes {
        node.run(&["sh", "-c", SLOW_START])?;
        node.run(&["sh", "-c", "printf '10.9.9.9\\tforeign # kept\\r\\n  \\n' >> /etc/hosts"])?;
    }
    let foreign: Vec<String> = nodes.iter().map(followers::foreign).collect::<Answer<_>>()?;
    let before = starts(&nodes)?;
    let (mut kills, mut rounds) = (0, 0);
    while kills < KILLS {
        kills += round(cluster, &nodes, rounds)?;
        rounds += 1;
    }
    let after: Vec<String> = nodes.iter().map(followers::foreign).collect::<Answer<_>>()?;
    assert_eq!(foreign, after, "lines of others, after {kills} kills");
    for (node, count) in starts(&nodes)? {
        let since = before.get(node).map_or(0, |before| count - before);
        assert_eq!(since, rounds, "starts of the agent on {node} in {rounds} switchovers");
    }
    for node in &nodes {
        node.run(&["sh", "-c", NO_SLOW_START])?;
        node.run(&["sed", "--in-place", "/foreign/,+1d", "/etc/hosts"])?;
    }
    Ok(())
}

/// One switchover, with the kills that belong to it; tells how many there were.
fn round(cluster: &Cluster<'_>, nodes: &[Host], round: usize) -> Answer<usize> {
    let (active, standby) = cluster.pair()?;
    let others = nodes.iter().filter(|node| node.spec().role != Role::Headnode).enumerate();
    let victims = others.map(|(number, node)| {
        let agent = node.find_processes("lab-agent")?.into_iter().next();
        Ok(Victim {
            host: node.clone(),
            moments: Moment::of(round, number),
            address: standby.address(),
            agent: agent.ok_or("no agent runs")?,
        })
    });
    let victims: Vec<Victim> = victims.collect::<Answer<_>>()?;
    let kills = thread::scope(|scope| {
        let killers: Vec<_> =
            victims.iter().map(|victim| scope.spawn(|| victim.kill_at_all())).collect();
        let moved = followers::switch_over(cluster, &active, &standby);
        let kills = killers
            .into_iter()
            .map(|killer| killer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let kills: Result<Vec<usize>, String> = kills.collect();
        moved.and_then(|()| Ok(kills?.into_iter().sum::<usize>()))
    })?;
    followers::wait_followed(cluster, nodes, &standby)?;
    Ok(kills)
}
