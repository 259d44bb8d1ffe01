//! Services that are a component of Ambari: which request comes next, and what an answer means.
//!
//! A [`Course`] starts or stops one component on this host. It trusts no answer: before each decision it reads everything
//! anew (the newest requests, the host, the component here and on the other headnodes), looks on the host, and only then
//! orders one thing. What a real server answered, and why neither 200 nor 500 nor ABORTED is believed, is told beside the
//! rules that follow from it. HTTP, processes and files are carried out in `headship-drivers`.
//!
//! Three things would else make two actives, and are settled here:
//!
//! - A start that is queued for another headnode's component outlives a failover: it is aborted, and read back as gone,
//!   before anything starts here (`start`); and no stop is believed while a start of the component is pending (`stop`).
//! - What was handed to an agent is a matter of its host, not of a service: there is one record of it a host, [`Agent`], and
//!   whoever orders anything holds the host's one lock.
//! - Nothing rests on an agent that is stopped, as others start it again. A stop ends in what runs on the host being killed,
//!   and seen gone. That it stays gone is the gate's matter where the component runs in a unit; where it is found by its
//!   process only, it rests on no start of ours being open and none being pending, and a start that somebody else orders
//!   later is found and stopped, not refused: there the driver is advisory.

mod agent;
mod answer;
mod course;
mod login;
mod request;
mod start;
mod stop;
mod survey;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::agent::Agent;
pub use self::answer::{Answer, cookie};
pub use self::course::{Course, Goal, Heard, Step, Why};
pub use self::login::Login;
pub use self::request::{Method, Request};

/// One component on this host, with all that is needed to start and stop it. It holds no secret: everybody may read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Component {
    /// The server that is asked.
    pub server: Server,
    /// Ambari's name of the component, such as `HISTORYSERVER`.
    pub name: String,
    /// Ambari's name of this host.
    pub host: String,
    /// Ambari's names of the other headnodes.
    pub others: Vec<String>,
    /// What runs on the host while the component does.
    pub body: Body,
}

/// An Ambari server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Server {
    /// Scheme, host and port, without a slash at the end.
    pub url: String,
    /// Ambari's name of the cluster.
    pub cluster: String,
    /// Where user and password are.
    pub credentials: Credentials,
    /// The file with the certificates that vouch for the server; none for plain HTTP.
    pub ca_file: Option<String>,
    /// How long one request may take: a server whose database is away answers after 10 s.
    pub limit_ms: u64,
    /// How long after a start was aborted an agent that lives has surely reported what it really runs.
    pub settle_ms: u64,
}

/// Where user and password of an Ambari server are: `user=` and `password=`, each on a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// In a file that only its owner may read.
    File(String),
    /// In a credential of systemd, by its name.
    Credential(String),
}

/// What runs on the host while a component does. Ambari's word is not enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// A unit, which the component's scripts start. The gate stands before it, so a start that comes late is refused.
    Unit(String),
    /// Each process that has this word in its command line. Nothing refuses a start that comes late.
    Process(String),
}

impl Component {
    /// Whether the gate stands before what runs: whatever an agent carries out late, it refuses.
    pub fn is_gated(&self) -> bool {
        match self.body {
            Body::Unit(_) => true,
            Body::Process(_) => false,
        }
    }

    /// This host and the other headnodes.
    fn is_on_headnode(&self, host: &str) -> bool {
        self.host == host || self.others.iter().any(|other| other == host)
    }
}
