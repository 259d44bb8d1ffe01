//! A node with its disk, its agent and a quorum that answers at once.

use super::super::*;
use crate::config::checked::{Config, Driver};
use crate::hosts_file;
use crate::quorum::{Found as Read, Op, Outcome, Refusal, Request, SessionId, Version};
use crate::record::{self, FORMAT, NodeState, Rest};
use crate::services::{Ended, Observed, Order};
use crate::time::WallTime;

pub(super) const SESSION: SessionId = SessionId(1);
const CONFIG: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181", "zk1:2181", "zk2:2181"]
[[headnode]]
name = "hn0"
address = "10.0.0.10"
[[headnode]]
name = "hn1"
address = "10.0.0.11"
[follow]
agent_unit = "agent.service"
restart_slots = 2
[[service]]
name = "ambari-server"
unit = "ambari-server.service"
started_by = "master-fc"
"#;

pub(super) fn name(node: &str) -> NodeName {
    NodeName::try_from(node).unwrap()
}

pub(super) fn identity(node: &str) -> Identity {
    Identity { node: name(node), machine: node.into(), boot: "b".into(), process: "p".into() }
}

pub(super) fn config(node: &str) -> Config {
    crate::config::load(&[("headship.toml".into(), CONFIG.into())], name(node)).unwrap()
}

pub(super) fn office(epoch: u64, node: &str, phase: Phase) -> Active {
    Active {
        format: FORMAT,
        incarnation: Incarnation("i".into()),
        epoch: Epoch(epoch),
        holder: Some(identity(node)),
        phase,
        claimant: None,
        lease_ms: 1,
        kill_ms: 1,
        services: vec![],
        addresses: vec![],
        since: WallTime(0),
        taken_on: None,
        rest: Rest::new(),
    }
}

/// The node of a test.
pub(super) struct World {
    name: &'static str,
    pub(super) config: Config,
    pub(super) follower: Follower,
    now: u64,
    pub(super) hosts: Vec<u8>,
    pub(super) hosts_fault: Option<&'static str>,
    pub(super) note: Option<AgentNote>,
    pub(super) followed: Option<Followed>,
    pub(super) records: BTreeMap<Key, (String, SessionId)>,
    pub(super) running: BTreeMap<String, bool>,
    pub(super) agent_fault: Option<&'static str>,
    away: bool,
    /// Somebody takes our lines out of the hosts file right before the next start of the agent.
    pub(super) edited_before_start: bool,
    /// Dies right after this action, before anything comes of it.
    pub(super) dies_after: Option<&'static str>,
    /// And right after the next one of these that follows that edit.
    pub(super) dies_after_edit: Option<&'static str>,
    pub(super) dead: bool,
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new(node: &'static str) -> Self {
        let config = config(node);
        let mut world = Self {
            name: node,
            follower: follower(&config, node, Found::default()),
            config,
            now: 1000,
            hosts: b"127.0.0.1 localhost\n".to_vec(),
            hosts_fault: None,
            note: None,
            followed: None,
            records: BTreeMap::new(),
            running: BTreeMap::from([(AGENT.into(), true), (GUARD.into(), true)]),
            agent_fault: None,
            away: true,
            edited_before_start: false,
            dies_after: None,
            dies_after_edit: None,
            dead: false,
            log: vec![],
        };
        world.connect();
        world
    }

    /// A new process on the same node.
    pub(super) fn restart(&mut self) {
        let found = Found {
            followed: self.followed.clone(),
            note: self.note.clone(),
            alias: hosts_file::current(&self.hosts, "headnodehost"),
        };
        self.follower = follower(&self.config, self.name, found);
        (self.dead, self.away) = (false, true);
        self.connect();
    }

    fn time(&self) -> Time {
        Time::from_millis(self.now)
    }

    pub(super) fn connect(&mut self) {
        self.away = false;
        let timeout = Duration::from_secs(4);
        self.tell(Event::Quorum(QuorumEvent::Connected { session: SESSION, timeout }));
    }

    pub(super) fn disconnect(&mut self) {
        self.away = true;
        self.tell(Event::Quorum(QuorumEvent::Disconnected));
    }

    pub(super) fn set(&mut self, key: Key, data: String, owner: SessionId) {
        self.records.insert(key.clone(), (data, owner));
        if !self.away {
            self.tell(Event::Quorum(QuorumEvent::Changed(key)));
        }
    }

    pub(super) fn office(&mut self, active: &Active) {
        self.set(Key::Active, record::write(active), SessionId(0));
    }

    pub(super) fn take_slots(&mut self) {
        for slot in 0..2 {
            self.set(Key::Restart(slot), "other".into(), SessionId(9));
        }
    }

    pub(super) fn service(&mut self, service: &str, running: bool) {
        self.running.insert(service.into(), running);
        let observed =
            if running { Observed::Running } else { Observed::Failed { why: "killed".into() } };
        let service = service.to_owned();
        self.tell(Event::Service(Report::Observed { service, asked: None, observed }));
    }

    fn tell(&mut self, event: Event) {
        self.follower.handle(self.time(), event);
        self.settle();
    }

    fn settle(&mut self) {
        // A disk takes its time: the hosts file is written when all else has happened that is ordered meanwhile.
        let mut late: Option<Action> = None;
        loop {
            let next = self.follower.poll_action();
            let writes = |it: &Action| matches!(it, Action::PutHosts { only_look: false, .. });
            if next.as_ref().is_some_and(writes) {
                late = next;
                continue;
            }
            let (Some(action), false) = (next.or_else(|| late.take()), self.dead) else { return };
            let Some((word, event)) = self.carry_out(action) else { continue };
            if self.dies_after == Some(word) {
                (self.dead, self.dies_after) = (true, None);
                return;
            }
            self.follower.handle(self.time(), event);
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now + seconds * 1000;
        let mut turns = 0;
        while let Some(at) = self.follower.poll_timeout().filter(|at| *at <= Time::from_millis(end))
        {
            turns += 1;
            assert!(turns < 40_000, "it spins");
            self.now = self.now.max(at.as_micros().div_ceil(1000));
            self.follower.handle_timeout(self.time());
            self.settle();
        }
        self.now = end;
        self.follower.handle_timeout(self.time());
        self.settle();
    }

    fn carry_out(&mut self, action: Action) -> Option<(&'static str, Event)> {
        Some(match action {
            Action::Ask(ask) if self.away => panic!("asked while disconnected: {ask:?}"),
            Action::Ask(Ask { id, request: Request::Read(key), .. }) => {
                let found = self.records.get(&key).map_or(Read::Missing, |(data, owner)| {
                    let (data, owner) = (data.clone(), Some(*owner));
                    Read::Data { data, version: Version(0), changed: 0, owner }
                });
                ("read", Event::Quorum(QuorumEvent::Read { id, key, found }))
            }
            Action::Ask(Ask { id, request: Request::Write(ops), .. }) => {
                let outcome = self.write(&ops[0]);
                ("write", Event::Quorum(QuorumEvent::Wrote { id, outcome }))
            }
            Action::PutHosts { id, alias, address, only_look } => {
                let new = hosts_file::rewrite(&self.hosts, &alias, address);
                let outcome = match self.hosts_fault.filter(|_| !only_look) {
                    Some(fault) => Err(fault.to_owned()),
                    None => new.map_err(|why| why.to_string()).map(|new| {
                        if !only_look {
                            self.hosts = new.text;
                        }
                        new.diff
                    }),
                };
                if only_look {
                    return Some(("look at hosts", Event::HostsPut { id, outcome }));
                }
                if outcome.as_ref().is_ok_and(|diff| !diff.is_empty()) {
                    self.log.push(format!("hosts {address}"));
                }
                ("hosts", Event::HostsPut { id, outcome })
            }
            Action::NoteAgent { id, note } => {
                self.note = Some(note);
                ("note", Event::AgentNoted { id, error: None })
            }
            Action::Remember(followed) => {
                self.followed = Some(followed);
                return None;
            }
            Action::Service(action) => self.order(action),
            Action::Say(line) => {
                self.log.push(line.text);
                return None;
            }
        })
    }

    fn write(&mut self, op: &Op) -> Outcome {
        let refused = |why| Outcome::Refused { step: 0, why };
        match op {
            Op::Create { key, .. } if self.records.contains_key(key) => {
                return refused(Refusal::Exists);
            }
            Op::Create { key, data } | Op::Set { key, data, .. } => {
                self.records.insert(key.clone(), (data.clone(), SESSION));
                if let Key::Restart(slot) = key {
                    self.log.push(format!("slot {slot} taken"));
                }
            }
            Op::Delete { key, .. } => {
                self.records.remove(key);
                if let Key::Restart(slot) = key {
                    self.log.push(format!("slot {slot} freed"));
                }
            }
            Op::Check { .. } => panic!("nothing is checked"),
        }
        Outcome::Done { versions: vec![Version(0)] }
    }

    fn order(
        &mut self,
        ServiceAction { id, service, order }: ServiceAction,
    ) -> (&'static str, Event) {
        let is_agent = service == AGENT;
        let fault = self.agent_fault.filter(|_| is_agent);
        let (word, ended) = match order {
            Order::Look => {
                let running = self.running.get(&service) == Some(&true);
                let observed = if running { Observed::Running } else { Observed::Stopped };
                let report = Report::Observed { service, asked: Some(id), observed };
                return ("look", Event::Service(report));
            }
            Order::Start => {
                if service == AGENT && std::mem::take(&mut self.edited_before_start) {
                    self.hosts = b"127.0.0.1 localhost\n".to_vec();
                    self.dies_after = self.dies_after_edit.take();
                }
                self.log.push(format!("start {service}"));
                self.running.insert(service, fault.is_none());
                let failed = |why: &str| Ended::Failed { why: why.into(), by_gate: false };
                ("start", fault.map_or(Ended::Done, failed))
            }
            Order::Stop | Order::Kill | Order::Probe(_) => {
                self.log.push(format!("stop {service}"));
                self.running.insert(service, false);
                ("stop", Ended::Done)
            }
        };
        (word, Event::Service(Report::Ended { id, ended }))
    }

    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn shown(&self) -> NodeState {
        let key = Key::Node(name(self.name));
        record::parse(&key, &self.records.get(&key).expect("it shows itself").0).unwrap()
    }

    pub(super) fn alias(&self) -> Option<String> {
        hosts_file::current(&self.hosts, "headnodehost").map(|address| address.to_string())
    }
}

fn follower(config: &Config, node: &str, found: Found) -> Follower {
    let driver = |unit: &str| Driver::Systemd { unit: unit.into() };
    let agent = as_service(AGENT, driver("agent.service"));
    let guard = as_service(GUARD, driver("slave-ha-service.service"));
    Follower::new(config, identity(node), found, Some(agent), Some(guard), 7)
}
