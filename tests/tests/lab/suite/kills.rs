//! slave-fc is killed a hundred times between its two steps, on every node but the headnodes, while the office goes to and
//! fro: each time the alias ends right, and the agent is restarted once, whatever died when.
//!
//! When to kill is found by looking, which may be a moment late. What counts is what the node's systemd says afterwards: it
//! tells of the death of slave-fc and of the agent's stop and start in the order in which they came to it.

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

/// How many kills there are at least after the alias has moved and before the agent is there that knows it.
const KILLS: usize = 100;
/// How many of these there are at least before the agent's stop, so that slave-fc had not begun its second step.
const KILLS_BEFORE_STOP: usize = 25;
/// A round has some eight of them. Where there are not half as many, the kills miss.
const ROUNDS_MAX: usize = 30;

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
    /// It runs. This is no kill between the steps, and must not undo the second one.
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
    /// Kills at each moment.
    fn kill_at_all(&self) -> Result<(), String> {
        for moment in &self.moments {
            let slave_fc = self.wait("slave-fc runs", || self.process(SLAVE_FC))?;
            self.wait(&format!("{moment:?}"), || self.is_there(*moment).then_some(()))?;
            // It may have been about to end by itself only if it was killed before, and then it is another process.
            kill_process(slave_fc, Signal::KILL).map_err(|error| format!("no kill: {error}"))?;
            self.wait("it is dead", || (!exists(slave_fc)).then_some(()))?;
        }
        Ok(())
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

/// Kills by where the log of a node's systemd has them.
#[derive(Clone, Copy, Debug, Default)]
struct Kills {
    /// Before the agent's stop: who was killed there had not asked for it.
    before_stop: usize,
    /// Before its next start was done.
    before_start: usize,
}

impl Kills {
    /// Those of a round, in which the agent is stopped and started once.
    fn of(log: &str) -> Self {
        let before = |word: &str| {
            let lines = log.lines();
            let lines =
                lines.take_while(|line| !line.starts_with(word) || line.contains("slave-fc"));
            lines.filter(|line| line.starts_with(KILLED)).count()
        };
        Self { before_stop: before("Stopping "), before_start: before("Started ") }
    }

    fn add(&mut self, more: Self) {
        self.before_stop += more.before_stop;
        self.before_start += more.before_start;
    }
}

/// How systemd tells of a kill.
const KILLED: &str = "slave-fc.service: Main process exited, code=killed";

/// Where the journal of a node ends now.
fn cursor(node: &Host) -> Answer<String> {
    let line = ["journalctl", "--sync", "--quiet"];
    node.run(&line)?;
    let said =
        node.run(&["journalctl", "--quiet", "--lines=1", "--output=cat", "--show-cursor"])?;
    let cursor = said.lines().find_map(|line| line.strip_prefix("-- cursor: "));
    Ok(cursor.ok_or("the journal has a cursor")?.to_owned())
}

/// What systemd has said since then about slave-fc and the agent, in its order.
fn said_since(node: &Host, cursor: &str) -> Answer<String> {
    node.run(&["journalctl", "--sync", "--quiet"])?;
    let since = format!("--after-cursor={cursor}");
    let units = ["--unit", SLAVE_FC, "--unit", AGENT];
    let line =
        [&["journalctl", "--quiet", "--no-pager", "--output=cat", &since, "_PID=1"], &units[..]];
    Ok(node.run(&line.concat())?)
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
    let (mut kills, mut rounds) = (Kills::default(), 0);
    while kills.before_start < KILLS || kills.before_stop < KILLS_BEFORE_STOP {
        assert!(rounds < ROUNDS_MAX, "only {kills:?} in {rounds} switchovers");
        kills.add(round(cluster, &nodes, rounds)?);
        rounds += 1;
    }
    let after: Vec<String> = nodes.iter().map(followers::foreign).collect::<Answer<_>>()?;
    assert_eq!(foreign, after, "lines of others, after {kills:?}");
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

/// One switchover, with the kills that belong to it; tells how many came between the steps.
fn round(cluster: &Cluster<'_>, nodes: &[Host], round: usize) -> Answer<Kills> {
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
    let cursors: Vec<String> =
        victims.iter().map(|victim| cursor(&victim.host)).collect::<Answer<_>>()?;
    thread::scope(|scope| {
        let killers: Vec<_> =
            victims.iter().map(|victim| scope.spawn(|| victim.kill_at_all())).collect();
        let moved = followers::switch_over(cluster, &active, &standby);
        let killed = killers
            .into_iter()
            .map(|killer| killer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let killed: Result<Vec<()>, String> = killed.collect();
        moved.and_then(|()| Ok(killed.map(drop)?))
    })?;
    followers::wait_followed(cluster, nodes, &standby)?;
    let mut kills = Kills::default();
    for (victim, cursor) in victims.iter().zip(&cursors) {
        kills.add(Kills::of(&said_since(&victim.host, cursor)?));
    }
    Ok(kills)
}
