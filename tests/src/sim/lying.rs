//! A quorum that lies: it answers whatever it likes, in whatever order, and so does everybody else whom a daemon hears.
//!
//! Nothing follows for the cluster then. But no daemon may panic or spin, and on its own host each keeps to what is its own to
//! keep: nothing is started without a permit that lies on the disk, and a permit is never one of another boot.

use headship_core::config::checked::{Driver, Service};
use headship_core::config::{self, Config};
use headship_core::controller::{Controller, Found as Files};
use headship_core::duty;
use headship_core::fencing::Answer;
use headship_core::fencing::knock::{Back, Knocked};
use headship_core::follower::{self, Follower};
use headship_core::guard::Guard;
use headship_core::lease::{Closed, Permit};
use headship_core::node::{Identity, NodeName};
use headship_core::quorum::{
    ActionId, Event, Found, Outcome, Refusal, Request, SessionId, Version,
};
use headship_core::record::Key;
use headship_core::services::{Ended, Observed, Order, Report, ServiceAction};
use headship_core::time::{Time, WallTime};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert};
use proptest::test_runner::TestCaseResult;

use super::machine::{Deed, Heard, Machine, Sight};
use crate::hostile::{RECORDS, Spoiled, spoiled, try_all};

const CONFIG: &str = r#"
cluster = "main"
[failover_quorum]
servers = ["zk0:2181", "zk1:2181", "zk2:2181"]
tick_ms = 500
[follow]
agent_unit = "agent.service"
[[headnode]]
name = "hn0"
address = "10.0.0.10"
[[headnode]]
name = "hn1"
address = "10.0.0.11"
[[fence]]
name = "pdu"
method = "fence_agent"
agent = "fence_apc"
node.hn0 = { plug = "0" }
node.hn1 = { plug = "1" }
[[service]]
name = "ambari-server"
unit = "ambari-server.service"
started_by = "master-fc"
[[service]]
name = "livy"
unit = "livy.service"
after = ["ambari-server"]
"#;

/// How many things a daemon may want done about one that it has heard.
const ENOUGH: usize = 400;

fn configuration() -> Config {
    let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
    let node = NodeName::try_from("hn0").expect("a name");
    config::load(&fragments, node).unwrap_or_else(|faults| panic!("{faults}"))
}

fn me() -> Identity {
    let id = |what: &str| format!("{what}0");
    let node = NodeName::try_from("hn0").expect("a name");
    Identity { node, machine: id("m"), boot: id("b"), process: id("p") }
}

/// What is drawn for one case: figures that are used up one by one, and texts of which each may be read as any record.
type Drawn = (Vec<u32>, Vec<Spoiled>);

fn drawn() -> impl Strategy<Value = Drawn> {
    let records: Vec<&str> = RECORDS.iter().map(|(_, record)| *record).collect();
    (vec(any::<u32>(), 0..400), vec(spoiled(&records), 1..12))
}

/// One daemon among liars.
struct Liars {
    machine: Machine,
    figures: std::vec::IntoIter<u32>,
    texts: Vec<Spoiled>,
    now: Time,
    permit: Option<Permit>,
    closed: Option<Closed>,
    asked: Vec<(ActionId, Request)>,
    ordered: Vec<ServiceAction>,
    others: Vec<Deed>,
    ended: bool,
}

impl Liars {
    fn new(machine: Machine, (figures, texts): Drawn) -> Self {
        Self {
            machine,
            figures: figures.into_iter(),
            texts,
            now: Time::from_millis(5000),
            permit: None,
            closed: None,
            asked: Vec::new(),
            ordered: Vec::new(),
            others: Vec::new(),
            ended: false,
        }
    }

    /// A figure below `limit`, as long as there are any.
    fn draw(&mut self, limit: u32) -> Option<u32> {
        self.figures.next().map(|figure| figure.checked_rem(limit).unwrap_or_default())
    }

    fn pick<T>(&mut self, from: impl Fn(&mut Self) -> &mut Vec<T>) -> Option<T> {
        let count = u32::try_from(from(self).len()).ok().filter(|count| *count > 0)?;
        let at = self.draw(count)?;
        Some(from(self).remove(usize::try_from(at).ok()?))
    }

    fn hear(&mut self, heard: Heard) -> TestCaseResult {
        let (permit, closed) = (self.permit.clone(), self.closed.clone());
        let wall = WallTime(1_795_838_600_000);
        let sight = Sight { now: self.now, wall, permit, closed, closed_damaged: false };
        self.machine.hear(sight, heard);
        for _ in 0..ENOUGH {
            let Some(deed) = self.machine.poll_deed() else {
                // Whoever wants to be woken in the past would be woken without end.
                prop_assert!(self.machine.poll_timeout().is_none_or(|at| at > self.now));
                return Ok(());
            };
            self.note(deed)?;
        }
        prop_assert!(false, "it spins");
        Ok(())
    }

    fn note(&mut self, deed: Deed) -> TestCaseResult {
        match deed {
            Deed::Ask(ask) => self.asked.push((ask.id, ask.request)),
            Deed::Service(action) => {
                let own = matches!(self.machine, Machine::Controller(_));
                if own && action.order == Order::Start {
                    let covers = self.permit.as_ref().is_some_and(|it| self.now < it.end());
                    prop_assert!(covers, "{} is started without a permit", action.service);
                }
                self.ordered.push(action);
            }
            Deed::WritePermit { ref permit, .. } => {
                prop_assert!(permit.boot == me().boot, "a permit of boot {}", permit.boot);
                self.others.push(deed);
            }
            Deed::Exit => self.ended = true,
            Deed::Say(line) => prop_assert!(!line.text.contains('\n'), "{:?}", line.text),
            Deed::RemovePermit { .. }
            | Deed::WriteClosed { .. }
            | Deed::Remember(_)
            | Deed::Knock { .. }
            | Deed::Fence { .. }
            | Deed::StopFence { .. }
            | Deed::Reboot { .. }
            | Deed::Measure
            | Deed::PutHosts { .. }
            | Deed::NoteAgent { .. }
            | Deed::Follow(_) => self.others.push(deed),
        }
        Ok(())
    }

    /// The next thing that is heard; none when the figures are used up.
    fn step(&mut self) -> Option<Heard> {
        Some(match self.draw(12)? {
            0 => {
                let session = SessionId(i64::from(self.draw(3)?));
                let timeout = std::time::Duration::from_millis(u64::from(self.draw(20_000)?));
                Heard::Quorum(Event::Connected { session, timeout })
            }
            1 => match self.draw(8)? {
                0 => Heard::Quorum(Event::SessionLost),
                1 => Heard::Quorum(Event::Disconnected),
                _ => Heard::Quorum(Event::Changed(self.key()?)),
            },
            2..=6 => return self.answer(),
            7 | 8 => return self.report(),
            9 => return self.other(),
            10 => {
                let far = self.draw(40)? == 0;
                let millis = u64::from(self.draw(4000)?) * if far { 1 << 40 } else { 1 };
                self.now = self.now.after(std::time::Duration::from_millis(millis));
                Heard::Timeout
            }
            _ => {
                self.now = self.machine.poll_timeout().unwrap_or(self.now).max(self.now);
                Heard::Timeout
            }
        })
    }

    fn key(&mut self) -> Option<Key> {
        let count = u32::try_from(RECORDS.len()).ok()?;
        let at = usize::try_from(self.draw(count)?).ok()?;
        RECORDS.get(at).and_then(|(path, _)| Key::from_path(path))
    }

    /// The record that belongs to the key as it is, or any of the texts.
    fn found(&mut self, key: &Key) -> Option<Found> {
        let kind = self.draw(8)?;
        let path = key.path();
        let right = RECORDS.iter().find(|(it, _)| *it == path).map(|(_, record)| *record);
        let data = match (kind, right) {
            (0, _) => return Some(Found::Missing),
            (1, _) => return Some(Found::Unread),
            (2..=5, Some(right)) => right.to_owned(),
            _ => {
                let count = u32::try_from(self.texts.len()).ok()?;
                let at = usize::try_from(self.draw(count)?).ok()?;
                String::from_utf8_lossy(self.texts.get(at)?).into_owned()
            }
        };
        let version = Version(i32::try_from(self.draw(4)?).ok()?);
        let changed = i64::from(self.draw(100)?);
        let owner = Some(SessionId(i64::from(self.draw(3)?))).filter(|_| key.is_ephemeral());
        Some(Found::Data { data, version, changed, owner })
    }

    fn answer(&mut self) -> Option<Heard> {
        let (id, request) = self.pick(|it| &mut it.asked)?;
        Some(Heard::Quorum(match request {
            Request::Read(key) => {
                let found = self.found(&key)?;
                Event::Read { id, key, found }
            }
            Request::Write(ops) => {
                let step = usize::try_from(self.draw(4)?).ok()?;
                let outcome = match self.draw(6)? {
                    0 => Outcome::Unknown,
                    1 => Outcome::Refused { step, why: Refusal::OtherVersion },
                    2 => Outcome::Refused { step, why: Refusal::Missing },
                    3 => Outcome::Refused { step, why: Refusal::Denied("no".to_owned()) },
                    _ => Outcome::Done { versions: vec![Version(1); ops.len()] },
                };
                Event::Wrote { id, outcome }
            }
        }))
    }

    fn report(&mut self) -> Option<Heard> {
        let ServiceAction { id, service, order } = self.pick(|it| &mut it.ordered)?;
        let why = "no".to_owned();
        let observed = match self.draw(6)? {
            0 => Observed::Unknown,
            1 => Observed::Running,
            2 => Observed::Starting,
            3 => Observed::Stopping,
            4 => Observed::Failed { why: why.clone() },
            _ => Observed::Stopped,
        };
        Some(Heard::Report(match (order, self.draw(6)?) {
            (Order::Probe(_), figure) => Report::Probed {
                id,
                serving: [None, Some(true), Some(false)]
                    .get(usize::try_from(figure % 3).ok()?)
                    .copied()?,
            },
            (Order::Look, _) => Report::Observed { service, asked: Some(id), observed },
            (_, 0) => Report::Observed { service, asked: None, observed },
            (_, 1) => Report::Ended { id, ended: Ended::Unknown { why } },
            (_, 2) => Report::Ended { id, ended: Ended::Failed { why, by_gate: true } },
            (_, 3) => Report::Ended { id, ended: Ended::Failed { why, by_gate: false } },
            (_, _) => Report::Ended { id, ended: Ended::Done },
        }))
    }

    /// What the host's disk and its neighbours answer.
    fn other(&mut self) -> Option<Heard> {
        let deed = self.pick(|it| &mut it.others)?;
        let error = Some("no space left on device".to_owned()).filter(|_| self.draw(4) == Some(0));
        Some(match deed {
            Deed::WritePermit { id, permit } => {
                if error.is_none() {
                    self.permit = Some(permit);
                }
                Heard::PermitWritten { id, error }
            }
            Deed::RemovePermit { id } => {
                if error.is_none() {
                    self.permit = None;
                }
                Heard::PermitWritten { id, error }
            }
            Deed::WriteClosed { id, closed } => {
                if error.is_none() {
                    self.closed = Some(closed);
                }
                Heard::ClosedWritten { id, error }
            }
            Deed::NoteAgent { id, .. } => Heard::AgentNoted { id, error },
            Deed::PutHosts { id, .. } => {
                let outcome = error.map_or_else(|| Ok(vec!["+1.2.3.4 x".to_owned()]), Err);
                Heard::HostsPut { id, outcome }
            }
            Deed::Knock { id, .. } => {
                let silent = Knocked { tcp: Back::Nothing, echo: Back::Nothing };
                let answers = Knocked { tcp: Back::Refusal, echo: Back::Answer };
                Heard::Knocked { id, knocked: if error.is_some() { answers } else { silent } }
            }
            Deed::Fence { id, .. } => {
                let yes = Answer::Yes { how: "off".to_owned() };
                let answer = error.map_or(yes, |why| Answer::Unknown { why });
                Heard::Fenced { id, answer }
            }
            Deed::Ask(_)
            | Deed::Remember(_)
            | Deed::Service(_)
            | Deed::StopFence { .. }
            | Deed::Reboot { .. }
            | Deed::Measure
            | Deed::Follow(_)
            | Deed::Say(_)
            | Deed::Exit => Heard::Files,
        })
    }

    fn go(mut self) -> TestCaseResult {
        self.hear(Heard::Timeout)?;
        while !self.ended && self.figures.len() > 0 {
            if let Some(heard) = self.step() {
                self.hear(heard)?;
            }
        }
        Ok(())
    }
}

fn survives(machine: impl Fn() -> Machine) {
    try_all(file!(), &drawn(), |drawn| Liars::new(machine(), drawn).go());
}

fn keeper() -> Service {
    duty::as_service(&configuration(), duty::driver(true, Vec::new))
}

#[test]
fn master_fc_survives_a_quorum_that_lies_and_starts_nothing_without_a_permit() {
    survives(|| {
        let files = Files::default();
        Machine::Controller(Box::new(Controller::new(configuration(), me(), files, keeper())))
    });
}

#[test]
fn slave_ha_service_survives_a_quorum_that_lies() {
    survives(|| Machine::Guard(Box::new(Guard::new(configuration(), me(), None, None, keeper()))));
}

#[test]
fn slave_fc_survives_a_quorum_that_lies() {
    let config = configuration();
    survives(|| {
        let driver = Driver::Systemd { unit: "agent.service".to_owned() };
        let agent = follower::as_service(follower::AGENT, driver);
        let files = follower::Found::default();
        Machine::Follower(Box::new(Follower::new(&config, me(), files, Some(agent), None, 1)))
    });
}
