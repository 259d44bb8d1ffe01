//! What slave-fc works on: a node's hosts file, its agent, and the notes of both; and what must be true of them.

use std::net::IpAddr;
use std::time::Duration;

use headship_core::config::checked::{Config, Driver};
use headship_core::follower::{self, AGENT, AgentNote, Followed, Follower, Found};
use headship_core::hosts_file;
use headship_core::node::Identity;
use headship_core::quorum::ActionId;
use headship_core::services::{Ended, Observed, Order, Report, ServiceAction};

use super::host::{DaemonId, HostId, Input, Kind};
use super::machine::Heard;
use super::world::World;

/// The alias of the simulation's configuration.
const ALIAS: &str = "headnodehost";

/// How our lines begin and end in a hosts file.
const MARKERS: [&[u8]; 2] = [b"# headship begin", b"# headship end"];

/// A start of an agent and a move of the alias may overtake each other by this much: a start takes a moment.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What slave-fc finds on its host.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something else that happens or does not"
)]
pub(super) struct Follow {
    /// The hosts file.
    pub(super) hosts: Vec<u8>,
    /// Why it cannot be written, if so.
    fault: Option<&'static str>,
    /// `/run/headship/agent`.
    pub(super) note: Option<AgentNote>,
    /// It could not be written last: a slave-fc that is started then cannot know what the agent was started with.
    pub(super) note_failed: bool,
    /// And that one was started: what the agent runs with is not known to anybody, which was said before.
    blind: bool,
    /// `/var/lib/headship/followed`.
    pub(super) followed: Option<Followed>,
    running: bool,
    cannot_start: bool,
    /// What the alias was when the agent started.
    started_with: Option<IpAddr>,
    /// When it started.
    started_at: Duration,
    /// When the alias last changed.
    moved_at: Duration,
    /// The lines of others in the hosts file.
    foreign: Vec<Vec<u8>>,
    /// slave-fc dies right after it next changed the hosts file.
    dies_after_hosts: bool,
}

impl Default for Follow {
    fn default() -> Self {
        let hosts = b"127.0.0.1 localhost\n10.0.0.10 hn0\n10.0.0.11 hn1\n".to_vec();
        Self {
            foreign: foreign(&hosts),
            hosts,
            fault: None,
            note: None,
            note_failed: false,
            blind: false,
            followed: None,
            running: false,
            cannot_start: false,
            started_with: None,
            started_at: Duration::ZERO,
            moved_at: Duration::ZERO,
            dies_after_hosts: false,
        }
    }
}

impl Follow {
    /// Memory and processes are gone; files are there.
    pub(super) fn power_lost(&mut self) {
        (self.note, self.note_failed) = (None, false);
        (self.running, self.blind) = (false, false);
        self.started_with = None;
    }

    /// Where the alias points.
    pub(super) fn alias(&self) -> Option<IpAddr> {
        hosts_file::current(&self.hosts, ALIAS)
    }

    /// Somebody else writes the file.
    fn edit(&mut self, now: Duration, hosts: Vec<u8>) {
        let before = self.alias();
        self.foreign = foreign(&hosts);
        self.hosts = hosts;
        if self.alias() != before {
            self.moved_at = now;
        }
    }

    /// The file without our lines.
    fn without_ours(&self) -> Vec<u8> {
        let lines = foreign(&self.hosts).into_iter();
        lines.flat_map(|line| line.into_iter().chain([b'\n'])).collect()
    }
}

/// The lines of a hosts file that are not between our markers, without what ends them.
fn foreign(hosts: &[u8]) -> Vec<Vec<u8>> {
    let mut ours = false;
    let mut lines = Vec::new();
    for line in hosts.split_inclusive(|byte| *byte == b'\n') {
        ours |= line.starts_with(MARKERS[0]);
        if !ours {
            lines.push(line.strip_suffix(b"\n").unwrap_or(line).to_vec());
        }
        ours &= !line.starts_with(MARKERS[1]);
    }
    lines
}

impl World {
    /// A slave-fc that starts: it reads what lies on its host. systemd itself keeps slave-ha-service running here.
    pub(super) fn new_follower(&mut self, id: DaemonId, config: &Config, me: Identity) -> Follower {
        let follow = &mut self.host_mut(id.host).follow;
        follow.blind |= follow.note_failed;
        let found = Found {
            followed: follow.followed.clone(),
            note: follow.note.clone(),
            alias: follow.alias(),
        };
        let driver = Driver::Systemd { unit: "agent.service".to_owned() };
        let agent = follower::as_service(AGENT, driver);
        let seed = u64::try_from(id.host.0).unwrap_or_default() + self.process(id);
        Follower::new(config, me, found, Some(agent), None, seed)
    }

    /// The hosts file is rewritten.
    pub(super) fn put_hosts(
        &mut self,
        id: DaemonId,
        action: ActionId,
        address: IpAddr,
        only_look: bool,
    ) {
        let now = self.now;
        let follow = &mut self.host_mut(id.host).follow;
        let before = follow.alias();
        let new = hosts_file::rewrite(&follow.hosts, ALIAS, address).map_err(|why| why.to_string());
        if only_look {
            let outcome = new.map(|new| new.diff);
            return self.file_done(id, Heard::HostsPut { id: action, outcome });
        }
        let outcome = match follow.fault {
            Some(fault) => Err(fault.to_owned()),
            None => new.map(|new| {
                follow.hosts = new.text;
                new.diff
            }),
        };
        if follow.alias() != before {
            follow.moved_at = now;
        }
        let (dies, kept) = (follow.dies_after_hosts, foreign(&follow.hosts) == follow.foreign);
        if !kept {
            self.violation(format!("slave-fc changed lines of others on {}", self.who(id)));
        }
        if outcome.as_ref().is_ok_and(|diff| !diff.is_empty()) {
            self.notice(&self.who(id), format!("hosts file: {ALIAS} is {address}"));
            if dies {
                self.host_mut(id.host).follow.dies_after_hosts = false;
                return self.kill_daemon(id, "killed");
            }
        }
        self.file_done(id, Heard::HostsPut { id: action, outcome });
    }

    /// slave-fc orders something of the agent.
    pub(super) fn agent_order(&mut self, by: DaemonId, action: ServiceAction) {
        let ServiceAction { id, service, order } = action;
        let (who, now) = (self.who(by), self.now);
        let follow = &mut self.host_mut(by.host).follow;
        let mut said = None;
        let mut needless = false;
        let report = match order {
            Order::Look => {
                let observed = match follow.running {
                    true => Observed::Running,
                    false => Observed::Stopped,
                };
                Report::Observed { service, asked: Some(id), observed }
            }
            Order::Start if follow.cannot_start => {
                let why = "its process exited with status 1".to_owned();
                Report::Ended { id, ended: Ended::Failed { why, by_gate: false } }
            }
            Order::Start => {
                (follow.running, follow.started_with) = (true, follow.alias());
                (follow.started_at, follow.blind) = (now, false);
                let with =
                    follow.started_with.map_or_else(|| "no alias".to_owned(), |it| it.to_string());
                said = Some(format!("agent started with {with}"));
                Report::Ended { id, ended: Ended::Done }
            }
            Order::Stop | Order::Kill | Order::Probe(_) => {
                said = follow.running.then(|| "agent stopped".to_owned());
                let right = follow.started_with.is_some() && follow.started_with == follow.alias();
                needless = follow.running
                    && right
                    && !follow.note_failed
                    && follow.started_at > follow.moved_at + AT_ONCE;
                follow.running = false;
                Report::Ended { id, ended: Ended::Done }
            }
        };
        if let Some(said) = said {
            self.notice(&who, said);
        }
        if needless {
            self.violation(format!("the agent on {who} is restarted though it knows the alias"));
        }
        let takes = self.between(20_000, 400_000);
        let process = self.process(by);
        self.input_at(self.now + takes, by, process, Input::Told(Heard::Report(report)));
    }

    /// The simulation's own orders about them.
    ///
    /// # Errors
    ///
    /// Why the words are no order.
    pub(super) fn follow_command(&mut self, host: HostId, words: &[&str]) -> Result<(), String> {
        let now = self.now;
        let follow = &mut self.host_mut(host).follow;
        match words {
            ["hosts", _, "read-only"] => follow.fault = Some("read-only file system"),
            ["hosts", _, "writable"] => follow.fault = None,
            ["hosts", _, "edited"] => follow.edit(now, follow.without_ours()),
            ["hosts", _, "gains", "a", "line"] => {
                let count = follow.foreign.len();
                // Some editors leave out the last line's end, and some write another one.
                let end = ["\n", "\r\n", ""].get(count % 3).copied().unwrap_or_default();
                let line = format!("10.1.0.{count}\tother-{count} # kept{end}");
                let glue: &[u8] = if follow.hosts.ends_with(b"\n") { b"" } else { b"\n" };
                follow.edit(now, [follow.hosts.as_slice(), glue, line.as_bytes()].concat());
            }
            ["hosts", _, "kills", "slave-fc"] => follow.dies_after_hosts = true,
            ["agent", _, "cannot", "start"] => follow.cannot_start = true,
            ["agent", _, "well"] => follow.cannot_start = false,
            ["agent", _, "dies"] => {
                follow.running = false;
                let id = DaemonId { host, kind: Kind::Follower };
                let why = "its process was killed by signal 9".to_owned();
                let (service, observed) = (AGENT.to_owned(), Observed::Failed { why });
                let report = Report::Observed { service, asked: None, observed };
                let process = self.process(id);
                self.input(id, process, Input::Told(Heard::Report(report)));
            }
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    /// What is not as it should be once a cluster has settled on `active`: hosts file and agent of each host follow it.
    pub(super) fn not_following(&self, host: HostId, active: HostId) -> Option<String> {
        let state = self.host(host);
        if !self.setup.follow {
            return None;
        }
        let name = self.host(active).name.clone();
        let address = self.config_for(host).headnodes.into_iter().find(|it| it.name == name)?.ip();
        let follow = &state.follow;
        if follow.alias() != address {
            return Some(format!("{ALIAS} on {} is not {name}", state.name));
        }
        (!follow.running || follow.started_with != address && !follow.blind)
            .then(|| format!("the agent on {} does not follow {name}", state.name))
    }
}
