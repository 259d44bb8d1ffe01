//! What lies in the database, and on the hosts: one file, which whoever changes it holds alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// How fast things happen, in milliseconds. The defaults are what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// After how long without a sign of its agent a host with a command outstanding is lost.
    pub lost: u64,
    /// How often an agent reports what runs.
    pub report: u64,
    /// How long a request takes to fail while the database is away.
    pub database: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { lost: 60_000, report: 20_000, database: 10_000 }
    }
}

/// Everything that outlives a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(super) pace: Pace,
    pub(super) cluster: String,
    /// Passwords by user.
    pub(super) users: BTreeMap<String, String>,
    pub(super) last_id: u64,
    pub(super) requests: Vec<Request>,
    pub(super) components: Vec<Component>,
    /// Hosts and services in maintenance as a whole.
    pub(super) in_maintenance: Vec<String>,
    pub(super) hosts: BTreeMap<String, Host>,
    /// Whether the database is away.
    pub database_is_away: bool,
}

/// A component on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Component {
    pub(super) host: String,
    pub(super) service: String,
    pub(super) name: String,
    pub(super) desired: String,
    pub(super) maintenance: bool,
}

/// A host, as its agent shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The agent does nothing: it is frozen, or its cable is cut.
    pub is_frozen: bool,
    /// How long a command takes before its script does anything.
    pub delay: u64,
    /// Whether its scripts fail.
    pub fails: bool,
    /// When the agent last gave a sign.
    pub(super) beat: u64,
    /// The server that it has registered with.
    pub(super) server: u64,
    /// When.
    pub(super) registered: u64,
    /// The number of its last report, and what ran then.
    pub(super) report: u64,
    pub(super) runs: Vec<String>,
}

/// A request, with one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) context: String,
    /// The server whose scheduler queued it.
    pub(super) server: u64,
    pub(super) host: String,
    pub(super) role: String,
    pub(super) command: String,
    /// What the agent is to do, in order.
    pub(super) steps: Vec<String>,
    pub(super) status: String,
    /// What the request itself is called, if not by its task.
    pub(super) aborted: bool,
    pub(super) stderr: String,
}

impl Request {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "PENDING" | "QUEUED" | "IN_PROGRESS")
    }
}

impl State {
    /// A cluster with this component of this service on each of these hosts, installed and stopped, and one administrator.
    pub fn new(cluster: &str, (service, name): (&str, &str), hosts: &[&str], pace: Pace) -> Self {
        let component = |host: &&str| Component {
            host: (*host).to_owned(),
            service: service.to_owned(),
            name: name.to_owned(),
            desired: "INSTALLED".to_owned(),
            maintenance: false,
        };
        Self {
            pace,
            cluster: cluster.to_owned(),
            users: [("admin".to_owned(), "secret".to_owned())].into(),
            components: hosts.iter().map(component).collect(),
            hosts: hosts.iter().map(|host| ((*host).to_owned(), Host::default())).collect(),
            ..Self::default()
        }
    }

    /// A host's agent and scripts, to make trouble there.
    pub fn host(&mut self, host: &str) -> &mut Host {
        self.hosts.entry(host.to_owned()).or_default()
    }

    /// Each task: its request, host, command and status.
    pub fn tasks(&self) -> Vec<(u64, String, String, String)> {
        let told = |it: &Request| (it.id, it.host.clone(), it.command.clone(), it.status.clone());
        self.requests.iter().map(told).collect()
    }
}

/// Where the state is.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// A store in this file, with this state.
    pub fn new(path: &Path, state: &State) -> io::Result<Self> {
        fs::write(path, serde_json::to_vec(state)?)?;
        Ok(Self { path: path.to_owned() })
    }

    /// One that somebody made.
    pub fn open(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Reads the state, changes it, and writes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let lock = File::create(self.path.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut state: State = serde_json::from_slice(&fs::read(&self.path)?)?;
        let before = state.clone();
        let result = change(&mut state);
        if state != before {
            fs::write(&self.path, serde_json::to_vec(&state)?)?;
        }
        Ok(result)
    }
}

/// Milliseconds of the clock on the wall, as Ambari counts.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
