//! Many nodes at one quorum, each with its own slave-fc: their agents are restarted a few at a time, and nobody holds up the
//! others for long.

use std::collections::BTreeSet;

use super::super::*;
use super::world::{config, identity, name, office};
use crate::config::checked::Driver;
use crate::hosts_file;
use crate::quorum::{Found as Read, Op, Outcome, Refusal, Request, SessionId, Version};
use crate::record;
use crate::services::{Ended, Observed, Order};

/// When the office passes to hn1, in milliseconds. Everybody is at rest by then.
const MOVED_AT: u64 = 5_000;
/// How long the quorum keeps the session of a node that died.
const SESSION_MS: u64 = 4_000;

/// What happens to whom.
enum Due {
    Hears(usize, Event),
    Wakes(usize, u64),
    Expires(SessionId),
}

/// What is the matter with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Well,
    /// It loses its power in the middle of its agent's restart.
    DiesInItsTurn,
    /// Its agent stops, and never starts again.
    NeverStarts,
}

struct Node {
    name: String,
    follower: Follower,
    manner: Manner,
    dead: bool,
    /// When it is woken next.
    wake: Option<u64>,
    hosts: Vec<u8>,
    runs: bool,
    /// When its agent was up again with the alias of hn1.
    followed_at: Option<u64>,
}

/// The cluster: nodes, a quorum that answers after a moment, and what was seen of them.
struct Herd {
    now: u64,
    seq: u64,
    queue: BTreeMap<(u64, u64), Due>,
    nodes: Vec<Node>,
    records: BTreeMap<Key, (String, SessionId)>,
    /// Whose agents were stopped, in this order.
    stops: Vec<String>,
    /// The nodes other than headnodes whose agents are away now, and the most there ever were.
    away: BTreeSet<usize>,
    most_away: usize,
    /// Reads and writes of slots, by tenths of a second.
    asked: BTreeMap<u64, u32>,
}

fn session(node: usize) -> SessionId {
    SessionId(i64::try_from(node).unwrap() + 100)
}

impl Herd {
    /// Two headnodes and `others`, all of which follow hn0.
    fn new(others: usize, slots: u32, manner: impl Fn(usize) -> Manner) -> Self {
        let names = ["hn0".to_owned(), "hn1".to_owned()].into_iter();
        let names: Vec<String> = names.chain((0..others).map(|n| format!("wn{n}"))).collect();
        let mut config = config("wn0");
        config.follow.as_mut().unwrap().restart_slots = slots;
        let address = "10.0.0.10".parse().unwrap();
        let hosts = hosts_file::rewrite(b"127.0.0.1 localhost\n", "headnodehost", address);
        let hosts = hosts.unwrap().text;
        let nodes = names.into_iter().enumerate().map(|(number, node)| {
            config.node = name(&node);
            let found = Found {
                followed: Some(Followed {
                    incarnation: Incarnation("i".into()),
                    epoch: Epoch(1),
                    node: name("hn0"),
                    address,
                }),
                note: Some(AgentNote { address: Some(address), epoch: Epoch(1) }),
                alias: Some(address),
            };
            let agent = as_service(AGENT, Driver::Systemd { unit: "agent.service".into() });
            let seed = u64::try_from(number).unwrap();
            let me = identity(&node);
            Node {
                name: node,
                follower: Follower::new(&config, me, found, Some(agent), None, seed),
                manner: manner(number),
                dead: false,
                wake: None,
                hosts: hosts.clone(),
                runs: true,
                followed_at: None,
            }
        });
        let mut herd = Self {
            now: 0,
            seq: 0,
            queue: BTreeMap::new(),
            nodes: nodes.collect(),
            records: BTreeMap::new(),
            stops: vec![],
            away: BTreeSet::new(),
            most_away: 0,
            asked: BTreeMap::new(),
        };
        herd.set_active(&office(1, "hn0", Phase::Active));
        for node in 0..herd.nodes.len() {
            let timeout = Duration::from_millis(SESSION_MS);
            let session = session(node);
            herd.tell(node, 1, Event::Quorum(QuorumEvent::Connected { session, timeout }));
        }
        herd.run(MOVED_AT);
        herd.asked.clear();
        herd.set_active(&office(2, "hn1", Phase::BecomingActive));
        herd
    }

    fn set_active(&mut self, active: &Active) {
        self.records.insert(Key::Active, (record::write(active), SessionId(0)));
        for node in 0..self.nodes.len() {
            self.tell(node, 2, Event::Quorum(QuorumEvent::Changed(Key::Active)));
        }
    }

    fn plan(&mut self, after: u64, due: Due) {
        self.seq += 1;
        self.queue.insert((self.now + after, self.seq), due);
    }

    fn tell(&mut self, node: usize, after: u64, event: Event) {
        self.plan(after, Due::Hears(node, event));
    }

    /// Lets it go on until `end`, in milliseconds.
    fn run(&mut self, end: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), due) = entry.remove_entry();
            self.now = at;
            let now = Time::from_millis(at);
            match due {
                Due::Hears(node, event) if !self.nodes[node].dead => {
                    self.nodes[node].follower.handle(now, event);
                    self.carry_out_all(node);
                }
                Due::Wakes(node, at) if self.nodes[node].wake == Some(at) => {
                    self.nodes[node].wake = None;
                    self.nodes[node].follower.handle_timeout(now);
                    self.carry_out_all(node);
                }
                Due::Hears(..) | Due::Wakes(..) => {}
                Due::Expires(session) => self.records.retain(|_, (_, owner)| *owner != session),
            }
        }
        self.now = end;
    }

    fn carry_out_all(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].follower.poll_action() {
            if !self.nodes[node].dead {
                self.carry_out(node, action);
            }
        }
        let at = self.nodes[node].follower.poll_timeout().filter(|_| !self.nodes[node].dead);
        let at = at.map(|at| at.as_micros().div_ceil(1000).max(self.now + 1));
        if let Some(at) = at.filter(|at| self.nodes[node].wake != Some(*at)) {
            self.plan(at - self.now, Due::Wakes(node, at));
        }
        self.nodes[node].wake = at;
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        match action {
            Action::Ask(Ask { id, request, .. }) => {
                let event = match request {
                    Request::Read(key) => {
                        self.count(&key);
                        let found =
                            self.records.get(&key).map_or(Read::Missing, |(data, owner)| {
                                let (data, owner) = (data.clone(), Some(*owner));
                                Read::Data { data, version: Version(0), changed: 0, owner }
                            });
                        QuorumEvent::Read { id, key, found }
                    }
                    Request::Write(ops) => {
                        self.count(ops[0].key());
                        QuorumEvent::Wrote { id, outcome: self.write(node, &ops[0]) }
                    }
                };
                self.tell(node, 2 + self.spread(node, 3), Event::Quorum(event));
            }
            Action::PutHosts { id, alias, address, only_look } => {
                let new = hosts_file::rewrite(&self.nodes[node].hosts, &alias, address).unwrap();
                if !only_look {
                    self.nodes[node].hosts = new.text;
                }
                let outcome = Ok(new.diff);
                self.tell(node, 1, Event::HostsPut { id, outcome });
            }
            Action::NoteAgent { id, .. } => {
                self.tell(node, 1, Event::AgentNoted { id, error: None });
            }
            Action::Service(action) => self.order(node, action),
            Action::Remember(_) | Action::Say(_) => {}
        }
    }

    /// Some number below `below` that differs from node to node.
    fn spread(&self, node: usize, below: u64) -> u64 {
        (u64::try_from(node).unwrap() * 7919 + self.now) % below
    }

    fn count(&mut self, key: &Key) {
        if matches!(key, Key::Restart(_)) {
            *self.asked.entry(self.now / 100).or_default() += 1;
        }
    }

    fn write(&mut self, node: usize, op: &Op) -> Outcome {
        match op {
            Op::Create { key, .. } if self.records.contains_key(key) => {
                return Outcome::Refused { step: 0, why: Refusal::Exists };
            }
            Op::Create { key, data } | Op::Set { key, data, .. } => {
                self.records.insert(key.clone(), (data.clone(), session(node)));
            }
            Op::Delete { key, .. } => {
                let owner = self.records.remove(key).map(|(_, owner)| owner);
                assert_eq!(owner, Some(session(node)), "{key:?} is another's");
            }
            Op::Check { .. } => panic!("nothing is checked"),
        }
        Outcome::Done { versions: vec![Version(0)] }
    }

    fn order(&mut self, number: usize, ServiceAction { id, service, order }: ServiceAction) {
        let takes = 100 + self.spread(number, 400);
        let node = &mut self.nodes[number];
        let done = Report::Ended { id, ended: Ended::Done };
        let report = match order {
            Order::Look => {
                let observed = if node.runs { Observed::Running } else { Observed::Stopped };
                let asked = Some(id);
                return self.tell(
                    number,
                    1,
                    Event::Service(Report::Observed { service, asked, observed }),
                );
            }
            Order::Start if node.manner == Manner::NeverStarts => {
                let why = "exited with status 1".to_owned();
                Report::Ended { id, ended: Ended::Failed { why, by_gate: false } }
            }
            Order::Start => {
                node.runs = true;
                self.away.remove(&number);
                let alias = hosts_file::current(&node.hosts, "headnodehost").unwrap();
                assert_eq!(alias.to_string(), "10.0.0.11", "{} is started for nothing", node.name);
                assert_eq!(node.followed_at, None, "{} is restarted twice", node.name);
                node.followed_at = Some(self.now + takes);
                done
            }
            Order::Stop | Order::Kill | Order::Probe(_) => {
                if std::mem::take(&mut node.runs) {
                    self.stops.push(node.name.clone());
                    if number > 1 {
                        self.away.insert(number);
                    }
                    self.most_away = self.most_away.max(self.away.len());
                }
                done
            }
        };
        if self.nodes[number].manner == Manner::DiesInItsTurn {
            self.nodes[number].dead = true;
            self.away.remove(&number);
            return self.plan(SESSION_MS, Due::Expires(session(number)));
        }
        self.tell(number, takes, Event::Service(report));
    }

    /// How long after the office passed each node followed that is well.
    fn took(&self) -> Vec<Option<u64>> {
        let well = self.nodes.iter().filter(|node| node.manner == Manner::Well);
        well.map(|node| Some(node.followed_at? - MOVED_AT)).collect()
    }

    fn slots_held(&self) -> usize {
        self.records.keys().filter(|key| matches!(key, Key::Restart(_))).count()
    }
}

/// Four nodes die while it is their turn, and one's agent never comes back: each of them keeps a slot for a while.
fn with_trouble(number: usize) -> Manner {
    match number {
        4 | 9 | 14 | 19 => Manner::DiesInItsTurn,
        24 => Manner::NeverStarts,
        _ => Manner::Well,
    }
}

/// Lets `others` follow with the slots that a configuration has that does not say how many. Headnodes are first, no more
/// agents are away at once than there are slots, and all that can follow have done so after `limit` milliseconds.
fn follow(others: usize, limit: u64) {
    let mut herd = Herd::new(others, 10, with_trouble);
    herd.run(MOVED_AT + limit);
    let took = herd.took();
    let late = herd.nodes.iter().filter(|node| node.manner == Manner::Well);
    let late = late.filter(|node| node.followed_at.is_none());
    let late: Vec<_> = late.map(|node| (&node.name, node.follower.status())).collect();
    assert_eq!(late, [], "they do not follow after {limit} ms");
    assert!(took.iter().take(2).all(|took| took.is_some_and(|took| took < 1100)), "{took:?}");
    let mut first = herd.stops.iter().take(2).map(String::as_str).collect::<Vec<_>>();
    first.sort_unstable();
    assert_eq!(first, ["hn0", "hn1"]);
    assert!((8..=10).contains(&herd.most_away), "{} agents were away at once", herd.most_away);
    let most = herd.asked.values().max().copied().unwrap_or_default();
    assert!(usize::try_from(most).unwrap() <= 4 * others, "{most} were asked within 100 ms");
    // Whoever's agent never comes back gives its slot to the others.
    herd.run(MOVED_AT + limit + 61_000);
    assert_eq!(herd.slots_held(), 0);
}

#[test]
fn forty_nodes_restart_their_agents_in_turn_though_some_die_meanwhile() {
    follow(40, 15_000);
}

#[test]
fn four_hundred_nodes_restart_their_agents_in_turn_though_some_die_meanwhile() {
    follow(400, 60_000);
}
